"""Products of matrices, and factorizations, of which a CPU does one at a time.

For a stack of matrices, jaxlib's LAPACK calls (0.10) wait on a thread of XLA's pool for
other threads of it. Where a program holds as many calls that may run at the same time
as there are cores, as for several layers, all threads wait and none works: it hangs.
A call for a single matrix does not wait.

There are no gradients in reverse mode: what uses a factorization states its own.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

Matrix = Float[Array, "*n r c"]


def product(*matrices: Matrix) -> Matrix:
    """Multiply matrices in full precision, also on devices whose default is less."""
    return reduce(partial(jnp.matmul, precision="highest"), matrices)


def _one_at_a_time(factorize: Callable[[Matrix], Any]) -> Callable[[Matrix], Any]:
    """Map a function of a matrix over leading axes, by a loop on CPUs."""
    single = custom_vmap(factorize)

    @single.def_vmap
    def _map(_: int, batched: list[bool], stack: Matrix) -> tuple[Any, Any]:
        del batched  # The only argument always is.
        found = lax.platform_dependent(
            stack,
            cpu=lambda stack: lax.map(single, stack),
            default=jax.vmap(factorize),
        )
        return found, jax.tree.map(lambda _: True, found)

    def apply(matrices: Matrix) -> Any:
        mapped: Callable[[Matrix], Any] = single
        for _ in matrices.shape[:-2]:
            mapped = jax.vmap(mapped)
        return mapped(matrices)

    return apply


cholesky: Callable[[Float[Array, "*n c c"]], Float[Array, "*n c c"]]
cholesky = _one_at_a_time(jnp.linalg.cholesky)
"""Compute the lower triangular L of L L^T, for matrices ``[*n, c, c]``."""

eigh: Callable[[Float[Array, "*n c c"]], tuple[Array, Array]]
eigh = _one_at_a_time(lambda matrix: tuple(jnp.linalg.eigh(matrix)))
"""Compute eigenvalues and eigenvectors of symmetric matrices ``[*n, c, c]``."""

svd: Callable[[Float[Array, "*n c c"]], tuple[Array, Array, Array]]
svd = _one_at_a_time(lambda matrix: tuple(jnp.linalg.svd(matrix)))
"""Compute U, S and V^T of the singular values of square matrices ``[*n, c, c]``."""

singular_values: Callable[[Float[Array, "*n c c"]], Float[Array, "*n c"]]
singular_values = _one_at_a_time(lambda x: jnp.linalg.svd(x, compute_uv=False))
"""Compute the singular values of square matrices ``[*n, c, c]`` alone."""
