"""The encoder: VGG-16 to relu4_1, with reflection padding at every convolution.

`jaxstyle.vgg` pads with zeros, as the network was trained. Here zeros would do harm:
features along the border have statistics of their own then, which a map between
statistics amplifies. All official encoders of arbitrary style transfer reflect (Li et
al., 2017; Huang & Belongie, 2017).
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import nn
from jaxtyping import Array, Float, UInt8

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels.borders import Sizes, reflect
from jaxstyle.kernels.convolutions import Geometry, convolve
from jaxstyle.vgg.layers import VGGParams, block_number, convolutions, max_pool
from jaxstyle.vgg.network import Features

LEVELS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""The layers of the features, from level 1 to level 4."""

ORDER = (3, 4, 2, 1)
"""The levels as `jaxstyle.transport.stylize` visits them.

Begun at the highest level, pictures lose their detail; upwards from the lowest, they
keep the texture of the photo and only change their colors.
"""

SMALLEST_SIDE = 16
"""The least height and width of an image, in pixels: two positions in relu4_1."""


def level_stride(level: int) -> int:
    """Compute the distance between positions of a level in pixels; 0 are pixels."""
    return int(2 ** max(level - 1, 0))


def encode(
    params: VGGParams,
    images: Images,
    *,
    deepest: int = len(LEVELS),
    sizes: Sizes | None = None,
) -> Features:
    """Compute the features of images at all levels, or down to one.

    Source: the encoder of Li et al. (2017), "Universal style transfer via feature
    transforms", which is VGG-19's to relu5_1; this is VGG-16's to relu4_1. Maps of a
    single row or column cannot be reflected; their border is repeated.

    Args:
        params: a VGG's parameters down to relu4_1, normalized by layer.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more.
        deepest: the last level, from 1 to 4.
        sizes: the heights and widths of images ``[n, h, w, 3]`` that lie in the upper
            left of their arrays, whose sides are multiples of 8.

    Returns:
        The activations of the `LEVELS`, from level 1 to the deepest,
        ``[*n, h // 2^(k-1), w // 2^(k-1), c]`` at level k, in the precision of the
        images.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: the shape is wrong, or an image is too small.
    """
    if sizes is None:
        check_images(images, smallest=SMALLEST_SIDE)
    mean, std = (params[name].astype(images.dtype) for name in ("mean", "std"))
    x = ((images - mean) / std).reshape(-1, *images.shape[-3:])
    block, features = 1, {}
    for name in convolutions(params):
        if block_number(name) > block:
            block, x = block_number(name), max_pool(x)
        kernel, bias = (params[name][part].astype(x.dtype) for part in _PARTS)
        own = None if sizes is None else sizes // level_stride(block)
        x = nn.relu(convolve(reflect(x, own), kernel, Geometry(3)) + bias)
        layer = name.replace("conv", "relu")
        if layer in LEVELS:
            features[layer] = x.reshape(*images.shape[:-3], *x.shape[1:])
            if layer == LEVELS[deepest - 1]:
                break
    return features


def encode_photos(
    vgg: Mapping[str, Any], photos: UInt8[Array, "n h w 3"]
) -> list[Float[Array, "n _h _w _c"]]:
    """Compute pixels in [0, 1], and the features of all levels from low to high."""
    images = photos / jnp.float32(255)
    return [images, *encode(vgg, images).values()]


_PARTS = ("kernel", "bias")
