"""The layers of a VGG: their names, where they lie in an image, and the poolings.

Layers are named by block and convolution, counted from 1: ``relu4_2`` is the output of
``conv4_2``, the second convolution of the fourth block. Which there are is read off the
parameters, so VGG-16, VGG-19 and any of them cut short run through the same code.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Params, check_params

VGGParams: TypeAlias = Params
"""The parameters of a VGG; see `jaxstyle.vgg.network`."""

NETWORKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""The number of convolutions in each of a network's five blocks."""

WIDTHS = (64, 128, 256, 512, 512)
"""The number of filters of the convolutions in each block."""


def convolution_names(network: str) -> tuple[str, ...]:
    """List the names of a network's convolutions, from ``conv1_1`` on, in order."""
    if network not in NETWORKS:
        raise ValueError(f"no network {network!r}; known are {', '.join(NETWORKS)}")
    return tuple(
        f"conv{block}_{index}"
        for block, depth in enumerate(NETWORKS[network], start=1)
        for index in range(1, depth + 1)
    )


def layer_names(params: VGGParams) -> tuple[str, ...]:
    """List the names of the layers that ``params`` can compute, in order.

    Args:
        params: a VGG's parameters.

    Returns:
        ``relu{block}_{index}``, counted from 1.

    Examples:
        >>> jaxstyle.vgg.layer_names(vgg)
        ('relu1_1', 'relu1_2', 'relu2_1')
    """
    return tuple(name.replace("conv", "relu") for name in convolutions(params))


def convolutions(params: VGGParams) -> tuple[str, ...]:
    """List the names of the convolutions in ``params``, in order.

    A TypeError or a ValueError says if these are no VGG's.
    """
    check_params(params, name="conv1_1", expected="a VGG", loader="jaxstyle.load_vgg()")
    return tuple(sorted(name for name in params if name.startswith("conv")))


def smallest_side(params: VGGParams) -> int:
    """Find the smallest height and width of images for the deepest layer."""
    return stride(convolutions(params)[-1])


def stride(layer: str) -> int:
    """Compute the distance between neighboring positions of a layer, in pixels."""
    return int(2 ** (block_number(layer) - 1))


def width(convolution: str) -> int:
    """Look up the number of filters of a convolution."""
    return WIDTHS[block_number(convolution) - 1]


def block_number(name: str) -> int:
    """Look up the number of the block that a layer or convolution belongs to."""
    return int(name[4])


# --- poolings -----------------------------------------------------------------------

Pool: TypeAlias = Callable[[Float[Array, "n h w c"]], Float[Array, "n h//2 w//2 c"]]


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
    # The gradient of one maximum of four takes XLA on the CPU three times as long.
    (top_left, top_right), (bottom_left, bottom_right) = (
        (row[..., 0, :], row[..., 1, :]) for row in jnp.moveaxis(_windows(x), 2, 0)
    )
    top = jnp.maximum(top_left, top_right)
    return jnp.maximum(top, jnp.maximum(bottom_left, bottom_right))


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


POOLINGS: Mapping[str, Pool] = {"max": max_pool, "average": average_pool, "l2": l2_pool}
"""The poolings by name."""
