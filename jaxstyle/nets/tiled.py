"""Transform nets on an image that is too large for memory: the same picture.

What takes memory are activations at the image's full size. Here windows of the image go
through the net one after the other, and only what lies between the two strides and the
two upsamplings is kept whole, a sixteenth of the positions. Instance norm takes mean
and variance over all windows before the next layer is computed, for which the layers
before it are computed again: in all, about half as much work once more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax, nn
from jaxtyping import Array, Bool, Float

from jaxstyle.images.arrays import Image, check_images
from jaxstyle.kernels.convolutions import Geometry, convolve
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    STRIDE,
    Params,
    net_blocks,
    normalize,
)
from jaxstyle.scaling.windows import Window, cover_image

MARGIN = 8
"""How near to an inner side of a window pixels are not right, from one array that is
kept whole to the next: the layers between them reach 7 pixels at the most."""

Layer: TypeAlias = Callable[[Window], Float[Array, "1 h w c"]]
"""What comes out of a layer in a window."""

Own: TypeAlias = Mapping[str, Array]
"""The parameters of one convolution or norm."""


def stylize_tiled(params: Params, image: Image, *, tile: int) -> Image:
    """Return what `jaxstyle.stylize` does, but for rounding, in little memory.

    Windows of the image go through the net one after the other, for about half as much
    work once more.

    Args:
        params: a net's parameters.
        image: RGB in [0, 1], ``[h, w, 3]``, of 16x16 pixels or more.
        tile: the longest side of a window, in pixels.

    Returns:
        The stylized image, not clipped.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: the shape is wrong, or the image or the tile is too small.

    Examples:
        >>> large = jnp.tile(photo, (4, 4, 1))
        >>> stylize_tiled = jax.jit(jaxstyle.nets.stylize_tiled, static_argnames="tile")
        >>> stylize_tiled(net, large, tile=48).shape
        (64, 64, 3)
    """
    if image.ndim != 3:
        raise ValueError(f"expected one image [h, w, 3], got shape {image.shape}")
    check_images(image, smallest=SMALLEST_SIDE)
    height, width, _ = image.shape
    margins = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    x = jnp.pad(image, margins, "reflect")[None]
    size = x.shape[1], x.shape[2]
    sweep = _Sweep(cover_image(size, largest=tile, margin=MARGIN, stride=STRIDE), size)
    x = _encode(params, sweep, x)
    x = _add_residuals(params, sweep, x)
    return _decode(params, sweep, x)[0, :height, :width]


def _encode(params: Params, sweep: "_Sweep", x: Array) -> Array:
    """Apply the layers up to the second stride."""
    mean, std = (params["input"][name].astype(x.dtype) for name in ("mean", "std"))
    layer = _cut(x, stride=1)
    layer = _then(lambda x: (x - mean) / std, layer)
    layer = _convolved(params["conv1"], Geometry(9), layer)
    layer = _activated(params.get("norm1", {}), sweep.measure(layer, stride=1), layer)
    layer = _convolved(params["conv2"], Geometry(3, stride=2), layer)
    layer = _activated(params.get("norm2", {}), sweep.measure(layer, stride=2), layer)
    layer = _convolved(params["conv3"], Geometry(3, stride=2), layer)
    x, moments = sweep.store(layer, stride=4)
    return nn.relu(_normalized(params.get("norm3", {}), moments, x))


def _add_residuals(params: Params, sweep: "_Sweep", x: Array) -> Array:
    """Apply the residual blocks, in a loop whose turns share their memory."""
    blocks = [params[f"residual{1 + index}"] for index in range(net_blocks(params))]
    if not blocks:
        return x
    slope = params["negative_slope"].astype(x.dtype)

    def add(x: Array, own: Mapping[str, Own]) -> tuple[Array, None]:
        layer = _convolved(own["conv1"], Geometry(3), _cut(x, stride=4))
        y, moments = sweep.store(layer, stride=4)
        layer = _activated(own.get("norm1", {}), moments, _cut(y, stride=4))
        layer = _convolved(own["conv2"], Geometry(3), layer)
        y, moments = sweep.store(layer, stride=4)
        y = _normalized(own.get("norm2", {}), moments, y)
        return x + jnp.asarray(nn.leaky_relu(y, slope)), None

    x, _ = lax.scan(add, x, jax.tree.map(lambda *own: jnp.stack(own), *blocks))
    return x


def _decode(params: Params, sweep: "_Sweep", x: Array) -> Array:
    """Apply the layers from the first upsampling on."""
    layer = _convolved(params["conv4"], Geometry(3, upsampling=2), _cut(x, stride=4))
    layer = _activated(params.get("norm4", {}), sweep.measure(layer, stride=2), layer)
    layer = _convolved(params["conv5"], Geometry(3, upsampling=2), layer)
    layer = _activated(params.get("norm5", {}), sweep.measure(layer, stride=1), layer)
    x, _ = sweep.store(_convolved(params["conv6"], Geometry(9), layer), stride=1)
    mean, std = (params["output"][name].astype(x.dtype) for name in ("mean", "std"))
    stylized: Array = x * std + mean
    return stylized


# --- layers -------------------------------------------------------------------------


def _cut(x: Array, *, stride: int) -> Layer:
    return lambda window: window.cut(x, stride=stride)


def _then(function: Callable[[Array], Array], layer: Layer) -> Layer:
    return lambda window: function(layer(window))


def _convolved(own: Own, geometry: Geometry, layer: Layer) -> Layer:
    def convolution(x: Array) -> Array:
        kernel, bias = (own[name].astype(x.dtype) for name in ("kernel", "bias"))
        return convolve(x, kernel, geometry) + bias

    return _then(convolution, layer)


def _activated(own: Own, moments: "_Moments", layer: Layer) -> Layer:
    return _then(lambda x: nn.relu(_normalized(own, moments, x)), layer)


def _normalized(own: Own, moments: "_Moments", x: Array) -> Array:
    """Apply instance norm, or batch norm, which has moments of its own."""
    mean = own.get("mean", moments.mean)
    return normalize(x, mean, own.get("variance", moments.variance), own)


# --- windows ------------------------------------------------------------------------


class _Moments(NamedTuple):
    """Mean and variance of each channel over so many positions, in float32 or better.

    With a leading axis: those of parts.
    """

    size: Float[Array, "*n"]
    mean: Float[Array, "*n c"]
    variance: Float[Array, "*n c"]


@dataclass(frozen=True)
class _Sweep:
    """All windows of a padded image of a size, one after the other."""

    windows: Window
    size: tuple[int, int]

    def measure(self, layer: Layer, *, stride: int) -> _Moments:
        """Return the moments of what comes out of a layer, so many pixels apart."""

        def visit(_: None, window: Window) -> tuple[None, _Moments]:
            return None, _moments(layer(window), window.owned(stride))

        return _join(lax.scan(visit, None, self.windows)[1])

    def store(self, layer: Layer, *, stride: int) -> tuple[Array, _Moments]:
        """Return what comes out of a layer, whole, and its moments."""

        def visit(whole: Array, window: Window) -> tuple[Array, _Moments]:
            part = layer(window)
            moments = _moments(part, window.owned(stride))
            return window.paste(whole, part, stride), moments

        first = jax.tree.map(lambda x: x[0], self.windows)
        part = jax.eval_shape(layer, first)
        height, width = (side // stride for side in self.size)
        nothing = jnp.zeros((1, height, width, part.shape[-1]), part.dtype)
        whole, parts = lax.scan(visit, nothing, self.windows)
        return whole, _join(parts)


def _moments(x: Float[Array, "1 h w c"], owned: Bool[Array, "h w"]) -> _Moments:
    x = x[0].astype(jnp.promote_types(x.dtype, jnp.float32))
    where, size = owned[..., None], owned.sum(dtype=x.dtype)
    mean = jnp.sum(x, (0, 1), where=where) / size
    squares = jnp.sum(jnp.square(x - mean), (0, 1), where=where)
    return _Moments(size, mean, squares / size)


def _join(parts: _Moments) -> _Moments:
    """Return the moments of all parts together (Chan et al., 1979)."""
    size = parts.size.sum()
    share = parts.size[:, None] / size
    mean = jnp.sum(share * parts.mean, 0)
    spread = parts.variance + jnp.square(parts.mean - mean)
    return _Moments(size, mean, jnp.sum(share * spread, 0))
