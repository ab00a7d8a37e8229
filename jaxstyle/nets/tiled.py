"""Transform nets on an image that is too large for memory: the same picture.

Only activations at the net's coarsest stride are kept whole, a sixteenth of the
positions. Instance norm takes mean and variance over all windows before the next layer
is computed, for which the layers before it are computed again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxstyle.images.arrays import Image, check_image
from jaxstyle.kernels.convolutions import convolve
from jaxstyle.nets.net_layers import (
    STRIDE,
    Activations,
    Layer,
    Layers,
    Moments,
    Params,
    Residual,
    add_residual,
    apply_convolution,
    finish_layer,
    flatten,
    output_strides,
    running_or,
)
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    net_layers,
    pixel_moments,
    prepare,
)
from jaxstyle.scaling.windows import Window, cover_image, join_windows

Part: TypeAlias = Callable[[Window], Activations]
"""Computes activations of one image in a window."""


def stylize_tiled(params: Params, image: Image, *, tile: int) -> Image:
    """Stylize as `jaxstyle.stylize` does, except for rounding, in little memory.

    Windows of the image go through the net one after the other, for about half as much
    work once more.

    Args:
        params: a net's parameters.
        image: RGB in [0, 1], ``[h, w, 3]``, of 16x16 pixels or more.
        tile: the longest side of a window, in pixels.

    Returns:
        The stylized image, not clipped.

    Examples:
        >>> large = jnp.tile(photo, (4, 4, 1))
        >>> stylize_tiled = jax.jit(jaxstyle.nets.stylize_tiled, static_argnames="tile")
        >>> stylize_tiled(net, large, tile=48).shape
        (64, 64, 3)
    """
    check_image(image, smallest=SMALLEST_SIDE)
    height, width, _ = image.shape
    margins = ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    x = jnp.pad(image, margins, "reflect")[None]
    size = x.shape[1], x.shape[2]
    layers = net_layers(params)
    margin = _largest_reach(layers)
    sweep = _Sweep(cover_image(size, largest=tile, margin=margin, stride=STRIDE), size)
    x = _apply_all(layers, params, sweep, x)
    mean, std = pixel_moments(params["output"], x.dtype)
    return jnp.asarray(x * std + mean)[0, :height, :width]


def _largest_reach(layers: Layers) -> int:
    """Compute how far layers see, in pixels, from one array that is whole to the next.

    So near to an inner side of a window, activations are not right.
    """
    largest, reach, stride = 0, 0, 1
    for _, layer in flatten(layers):
        size, step, upsampling = layer.geometry
        stride //= upsampling
        reach += size // 2 * stride
        largest = max(largest, reach)
        stride *= step
        if stride == STRIDE:
            reach = 0
    return largest


# --- layers -------------------------------------------------------------------------


def _apply_all(layers: Layers, params: Params, sweep: "_Sweep", x: Array) -> Array:
    """Apply a whole net, except for the conversion of its output to pixels."""
    part = _cut(prepare(params, x), stride=1)
    stride = 1
    for _, group in groupby(layers, type):
        alike = list(group)
        if blocks := [x for x in alike if isinstance(x, Residual)]:
            x = _apply_residuals(blocks, params, sweep, x)
        else:
            plain = [x for x in alike if isinstance(x, Layer)]
            x = _apply_layers(plain, params, sweep, part, stride=stride)
        stride = output_strides(alike, stride)[-1]
        part = _cut(x, stride=stride)
    return x


def _apply_layers(
    layers: Sequence[Layer], params: Params, sweep: "_Sweep", part: Part, *, stride: int
) -> Array:
    """Apply layers to what comes in by parts; return what comes out whole."""
    strides = output_strides(layers, stride)
    for layer, stride in zip(layers, strides, strict=True):
        part = _then(partial(apply_convolution, layer, params, convolve=convolve), part)
        if stride == STRIDE or layer is layers[-1]:
            x, moments = sweep.store(part, stride=stride)
            part = _cut(x, stride=stride)
        else:
            moments = sweep.measure(part, stride=stride)
        finish = partial(_finish, layer, params, moments)
        part = _then(finish, part)
    return finish(x)


def _apply_residuals(
    blocks: Sequence[Residual], params: Params, sweep: "_Sweep", x: Array
) -> Array:
    """Apply residual blocks, in a loop whose turns share their memory."""
    layers = blocks[0].layers  # those of all blocks

    def add(x: Array, own: Params) -> tuple[Array, None]:
        part = _cut(x, stride=STRIDE)
        y = _apply_layers(layers, own, sweep, part, stride=STRIDE)
        return add_residual(x, y, params), None

    stacked = jax.tree.map(
        lambda *own: jnp.stack(own), *(params[block.name] for block in blocks)
    )
    return lax.scan(add, x, stacked)[0]


def _finish(layer: Layer, params: Params, moments: Moments, x: Array) -> Array:
    return finish_layer(layer, params, x, running_or(lambda _: moments))[0]


def _cut(x: Array, *, stride: int) -> Part:
    return lambda window: window.cut(x, stride=stride)


def _then(function: Callable[[Array], Array], part: Part) -> Part:
    return lambda window: function(part(window))


# --- windows ------------------------------------------------------------------------


class _Sums(NamedTuple):
    """The moments of parts of an image, and how many positions each has."""

    size: Float[Array, " n"]
    moments: Moments


@dataclass(frozen=True)
class _Sweep:
    """All windows of a padded image of a size, one after the other."""

    windows: Window
    size: tuple[int, int]

    def measure(self, part: Part, *, stride: int) -> Moments:
        """Compute the moments of activations that are ``stride`` pixels apart."""

        def visit(window: Window) -> _Sums:
            return _sums(part(window), window.owned(stride))

        return _join(lax.map(visit, self.windows))

    def store(self, part: Part, *, stride: int) -> tuple[Array, Moments]:
        """Compute activations that are ``stride`` pixels apart, and their moments."""

        def visit(window: Window) -> tuple[Array, _Sums]:
            x = part(window)
            return x, _sums(x, window.owned(stride))

        whole, sums = join_windows(visit, self.windows, size=self.size, stride=stride)
        return whole, _join(sums)


def _sums(x: Float[Array, "1 h w c"], owned: Bool[Array, "h w"]) -> _Sums:
    x = x[0].astype(jnp.promote_types(x.dtype, jnp.float32))
    where, size = owned[..., None], owned.sum(dtype=x.dtype)
    mean = jnp.sum(x, (0, 1), where=where) / size
    squares = jnp.sum(jnp.square(x - mean), (0, 1), where=where)
    return _Sums(size, Moments(mean, squares / size))


def _join(parts: _Sums) -> Moments:
    """Compute the moments of all parts together (Chan et al., 1979)."""
    share = parts.size[:, None] / parts.size.sum()
    means, variances = parts.moments
    mean = jnp.sum(share * means, 0)
    spread = variances + jnp.square(means - mean)
    return Moments(mean, jnp.sum(share * spread, 0))
