"""The poolings of a VGG network: 2x2 windows, side by side."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Pool: TypeAlias = Callable[[Float[Array, "*n h w c"]], Float[Array, "*n h//2 w//2 c"]]


def _windows(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 2 w//2 2 c"]:
    """Cut into 2x2 windows; an odd last row or column is left out, as in the papers."""
    n, h, w, c = x.shape
    h, w = h // 2, w // 2
    return x[:, : 2 * h, : 2 * w].reshape(n, h, 2, w, 2, c)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Take the maximum of every 2x2 window.

    Among equal maxima the gradient is shared, where other implementations give it to
    the first: on flat areas it does not depend on the order of the pixels.
    """
    return _windows(x).max((2, 4))


def average_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Take twice the mean of every 2x2 window.

    The factor is not in the paper. It keeps deeper activations about as large as
    under max pooling, for which the network was trained.
    """
    return 2 * _windows(x).mean((2, 4))


def l2_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Take 0.78 times the Euclidean norm of every 2x2 window.

    The factor serves as in `average_pool`. The square root is taken of the sum plus
    1e-12, so that the gradient of a window of zeros is zero.
    """
    return 0.78 * jnp.sqrt(jnp.square(_windows(x)).sum((2, 4)) + 1e-12)


POOLINGS: Mapping[str, Pool] = {
    "max": max_pool,
    "average": average_pool,
    "l2": l2_pool,
}
"""The poolings by name."""
