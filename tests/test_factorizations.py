"""Factorizations: their values for stacks, and that no program on a CPU can hang."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.kernels.factorizations import cholesky, eigh, singular_values, svd
from jaxstyle.kernels.gaussians import transport_map
from jaxstyle.losses.matrix_roots import eigen_root, trace_of_root_of_product

STACKED = re.compile(r'num_batch_dims = "([^0]\d*)"')
"""How a program for CPUs states that a LAPACK call takes a stack of matrices."""


def make_matrices(*shape: int) -> jax.Array:
    """Return symmetric matrices with eigenvalues of 1 or more."""
    x = np.random.default_rng(0).normal(size=shape)
    return jnp.asarray(x @ x.swapaxes(-1, -2) + np.eye(shape[-1]), jnp.float32)


def test_the_factors_of_a_stack_are_those_of_each_matrix() -> None:
    x = make_matrices(2, 3, 4, 4)
    lower, (values, vectors), (left, sizes, right) = cholesky(x), eigh(x), svd(x)
    assert lower.shape == vectors.shape == left.shape == right.shape == x.shape
    assert values.shape == sizes.shape == (2, 3, 4)
    for found in (
        lower @ lower.mT,
        (vectors * values[..., None, :]) @ vectors.mT,
        (left * sizes[..., None, :]) @ right,
    ):
        np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(lower[1, 2], np.linalg.cholesky(x[1, 2]), atol=1e-4)
    np.testing.assert_allclose(singular_values(x), sizes, rtol=1e-5)


def root_of_product(a: jax.Array, b: jax.Array) -> jax.Array:
    return trace_of_root_of_product(a, b, eigen_root(b, least=1e-6), least=1e-6)


@pytest.mark.parametrize("function", [transport_map, root_of_product])
@pytest.mark.parametrize("axes", [1, 2])
def test_no_call_of_a_program_takes_a_stack(
    function: Callable[..., jax.Array], axes: int
) -> None:
    """Where several do at once, those of jaxlib 0.10 wait for each other forever."""

    def gradients(a: jax.Array, b: jax.Array) -> Any:
        return jax.grad(lambda a, b: function(a, b).sum(), (0, 1))(a, b)

    x = make_matrices(2, 2, 4, 4)
    mapped = jax.vmap(gradients) if axes == 1 else jax.vmap(jax.vmap(gradients))
    program = jax.jit(mapped).lower(x, x).as_text()
    assert "lapack" in program
    assert not STACKED.findall(program)
    # The pattern is one of programs as they are.
    naive = jax.jit(jnp.linalg.cholesky).lower(x).as_text()
    assert STACKED.findall(naive)
