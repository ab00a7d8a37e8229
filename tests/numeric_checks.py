"""Comparisons of arrays that several tests share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads


def assert_close(a: Any, b: Any, *, rtol: float = 1e-5) -> None:
    """Compare trees of arrays, each relative to the largest value of the second."""
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(
            x, y, rtol=0, atol=rtol * float(np.abs(np.float64(y)).max(initial=0))
        ),
        a,
        b,
    )


def assert_gradients(f: Callable[..., Any], *arguments: Any, order: int = 1) -> None:
    """Compare derivatives in both modes with finite differences, in float64."""
    with jax.enable_x64(True):
        doubles = [jnp.asarray(np.float64(argument)) for argument in arguments]
        check_grads(jax.jit(f), doubles, order=order, modes=["fwd", "rev"])
