"""What the loss measures of images, whole or tile by tile."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import Block, BoundExtractor, ExtractorParams, Features
from jaxstyle.losses.style import StyleLoss, check_moments
from jaxstyle.losses.terms import Moments, content_loss, moments
from jaxstyle.scaling.windows import Window, sum_windows

Masks: TypeAlias = Mapping[str, Float[Array, "*r _h _w"] | None]
"""By layer how much each position counts, or None if all count the same."""


class Measures(NamedTuple):
    """By layer, content losses, and what the style loss compares, such as moments."""

    content: Mapping[str, Float[Array, "*n"]]
    style: Mapping[str, Any]


def measure(
    network: BoundExtractor,
    images: Images,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    masks: Masks,
    style_loss: StyleLoss,
) -> Measures:
    """Compare images with ``content``, and measure what the style loss compares.

    The masks name the layers of the style loss; regions are a leading axis, which
    moments then have too. A ValueError says if tiles or masks meet a style loss that
    compares no moments.
    """
    if masks and network.execution.tile is not None:
        check_moments(style_loss, "tiles")
    if any(mask is not None for mask in masks.values()):
        check_moments(style_loss, "masks")

    def compare(features: Features) -> Measures:
        rows = images.shape[-3]
        layers = {
            layer: _Layer(x, rows // network.extractor.stride(layer))
            for layer, x in features.items()
        }
        return Measures(
            {x: layers[x].content_loss(content[x]) for x in content if x in layers},
            {x: layers[x].measure(masks[x], style_loss) for x in masks if x in layers},
        )

    if network.execution.tile is not None:
        return _measure_tiles(network, images, content, masks)
    if network.execution.remat:
        return _measure_blocks(network, images, compare)
    return compare(network.features(images))


def _measure_blocks(
    network: BoundExtractor, images: Images, compare: Callable[[Features], Measures]
) -> Measures:
    """Measure block by block, keeping for the gradient what lies between blocks."""
    x, found = network.place(images), Measures({}, {})
    for block in network.blocks():

        @jax.checkpoint
        def visit(
            params: ExtractorParams, x: Array, block: Block = block
        ) -> tuple[Array, Measures]:
            x, features = block(params, x, images.shape[-3])
            return x, compare(features)

        x, (content, style) = visit(network.params, x)
        found = Measures({**found.content, **content}, {**found.style, **style})
    return found


class _Layer(NamedTuple):
    """A layer of whole images, and how many rows count; those below are zeros."""

    features: Float[Array, "*n h w c"]
    rows: int

    def content_loss(self, target: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
        return self._share * content_loss(self.features, target)

    def measure(
        self, mask: Float[Array, "*r _h _w"] | None, style_loss: StyleLoss
    ) -> Any:
        """Compute what a style loss compares."""
        if style_loss.statistic is not moments:
            return style_loss.statistic(self.features[..., : self.rows, :, :])
        if mask is None:
            mean, second = moments(self.features)
            return Moments(self._share * mean, self._share * second)
        below = [(0, 0)] * mask.ndim
        below[-2] = (0, self.features.shape[-3] - mask.shape[-2])
        return _masked_moments(self.features, jnp.pad(mask, below))

    @property
    def _share(self) -> float:
        """What makes a mean over all rows one over those that count."""
        return float(self.features.shape[-3] / self.rows)


def _masked_moments(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*r h w"]
) -> Moments:
    """Compute the moments of each region of each image."""
    regions = range(-4, -2 - mask.ndim, -1)
    return moments(jnp.expand_dims(features, tuple(regions)), mask)


# --- tiles --------------------------------------------------------------------------


def compute_activations(
    network: BoundExtractor, images: Images, layers: Iterable[str]
) -> Features:
    """Compute the features of some layers; with tiles, only these are kept whole."""
    network.check_layers(layers := tuple(layers))
    if network.execution.tile is None:
        features = network.features(images)
        return {layer: features[layer] for layer in layers}

    def fill(whole: Features, window: Window) -> tuple[Features, None]:
        features = network.features(window.cut(images))
        stride = network.extractor.stride
        return {x: window.paste(whole[x], features[x], stride(x)) for x in whole}, None

    shapes = network.shapes(images)
    nothing = {layer: jnp.zeros_like(shapes[layer]) for layer in layers}
    return lax.scan(fill, nothing, network.cover(images, layers))[0]


def _measure_tiles(
    network: BoundExtractor,
    images: Images,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    masks: Masks,
) -> Measures:
    """Measure tile by tile, and add up; the style loss compares moments."""

    def measure_window(window: Window) -> Measures:
        features, size = network.features(window.cut(images)), images.shape[-3:-1]
        parts = {
            layer: _Part(x, network.extractor.stride(layer), window, size)
            for layer, x in features.items()
        }
        return Measures(
            {layer: parts[layer].content_loss(content[layer]) for layer in content},
            {layer: parts[layer].moments(masks[layer]) for layer in masks},
        )

    return sum_windows(measure_window, network.cover(images, (*content, *masks)))


class _Part(NamedTuple):
    """What a window sees of a layer, and what that adds to the whole image's."""

    features: Float[Array, "*n h w c"]
    stride: int
    window: Window
    image_size: tuple[int, ...]

    def content_loss(self, whole: Float[Array, "*n _h _w c"]) -> Float[Array, "*n"]:
        target = self.window.cut(whole, stride=self.stride)
        features = jnp.where(self.owned[..., None], self.features, target)
        share = self.owned.size / self.positions
        return share * content_loss(features, target)

    def moments(self, whole: Float[Array, "*r _h _w"] | None) -> Moments:
        dtype = jnp.promote_types(self.features.dtype, jnp.float32)
        counts, total = self.owned.astype(dtype), jnp.asarray(self.positions, dtype)
        if whole is not None:
            counts *= self.window.cut(whole, stride=self.stride, axis=-2)
            total = jnp.maximum(whole.sum((-2, -1)), np.finfo(dtype).tiny)
        share = counts.sum((-2, -1)) / total
        mean, second = _masked_moments(self.features, counts)
        return Moments(share[..., None] * mean, share[..., None, None] * second)

    @property
    def owned(self) -> Bool[Array, "h w"]:
        return self.window.owned(self.stride)

    @property
    def positions(self) -> int:
        """The number of positions that the layer has in the whole image."""
        return math.prod(length // self.stride for length in self.image_size)
