"""What the perceptual loss needs to know of an image, at one look or tile by tile."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.objective import Execution, Objective
from jaxstyle.losses.terms import Moments, content_loss, moments
from jaxstyle.scaling.windows import Window, cover_image, sum_windows
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg import network


class Measures(NamedTuple):
    """What is known of images, by layer.

    Attributes:
        content: how far the activations are from others: the content losses.
        moments: those of the activations, or of each region of them.
    """

    content: Mapping[str, Float[Array, "*n"]]
    moments: Mapping[str, Moments]


def measure(
    params: network.Params,
    images: Images,
    *,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    style: Iterable[str],
    masks: Mapping[str, Float[Array, "*r _h _w"] | None] | None = None,
    objective: Objective,
    execution: Execution,
) -> Measures:
    """Return the content losses and the moments of images.

    Args:
        params: a VGG's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.
        content: the activations to compare with, by layer.
        style: the layers whose moments are wanted.
        masks: by layer, how much each position counts in the moments; all the same by
            default. Regions are a leading axis, which the moments then have too.
        objective: which features are compared.
        execution: how they are computed.
    """
    masks = dict.fromkeys(style) if masks is None else masks
    if execution.tile is not None:
        return _measure_tiles(params, images, content, masks, objective, execution)
    if execution.remat:
        return _measure_blocks(params, images, content, masks, objective, execution)
    features = compute_features(params, images, objective, execution)
    return _compare(features, content, masks, rows=images.shape[-3])


def _compare(
    features: network.Features,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    masks: Mapping[str, Float[Array, "*r _h _w"] | None],
    *,
    rows: int,
) -> Measures:
    """Return what features, of so many rows of pixels, tell of those that are asked."""
    wholes = {layer: _Whole(layer, x, rows) for layer, x in features.items()}
    return Measures(
        {x: wholes[x].content_loss(content[x]) for x in content if x in wholes},
        {x: wholes[x].moments(masks[x]) for x in masks if x in wholes},
    )


class _Whole(NamedTuple):
    """A layer of whole images, below whose rows there may be more, of zeros."""

    layer: str
    features: Float[Array, "*n h w c"]
    rows_of_pixels: int

    def content_loss(self, target: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
        return self._share * content_loss(self.features, target)

    def moments(self, mask: Float[Array, "*r _h _w"] | None) -> Moments:
        if mask is None:
            mean, second = moments(self.features)
            return Moments(self._share * mean, self._share * second)
        below = [(0, 0)] * mask.ndim
        below[-2] = (0, self.features.shape[-3] - mask.shape[-2])
        return _masked_moments(self.features, jnp.pad(mask, below))

    @property
    def _share(self) -> float:
        """Return what a mean over all rows is to be multiplied with."""
        rows = self.rows_of_pixels // vgg_layers.stride(self.layer)
        return float(self.features.shape[-3] / rows)


def _measure_blocks(
    params: network.Params,
    images: Images,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    masks: Mapping[str, Float[Array, "*r _h _w"] | None],
    objective: Objective,
    execution: Execution,
) -> Measures:
    """Do what `measure` does, but for the gradient keep what lies between blocks."""
    look, rows = _make_look(objective, execution), images.shape[-3]
    x = look.place(params, images)
    losses: dict[str, Array] = {}
    found: dict[str, Moments] = {}
    for names in vgg_layers.blocks(params):

        @jax.checkpoint
        def visit(
            params: network.Params, x: Array, names: Sequence[str] = names
        ) -> tuple[Array, Measures]:
            features = network.apply_convolutions(params, x, names, look, rows=rows)
            *_, last = features.values()
            return last, _compare(features, content, masks, rows=rows)

        x, (of_content, moments_of_block) = visit(params, x)
        losses |= of_content
        found |= moments_of_block
    return Measures(losses, found)


def compute_activations(
    params: network.Params,
    images: Images,
    layers: Iterable[str],
    objective: Objective,
    execution: Execution,
) -> network.Features:
    """Return the activations of layers, whole; with tiles, the memory is theirs."""
    layers = tuple(layers)
    if execution.tile is None:
        features = compute_features(params, images, objective, execution)
        return {layer: features[layer] for layer in layers}

    def fill(whole: network.Features, window: Window) -> tuple[network.Features, None]:
        features = compute_features(params, window.cut(images), objective, execution)
        return {
            layer: window.paste(whole[layer], features[layer], vgg_layers.stride(layer))
            for layer in whole
        }, None

    shapes = feature_shapes(params, images, objective, execution)
    nothing = {layer: jnp.zeros_like(shapes[layer]) for layer in layers}
    windows = _cover(images, layers, params, execution.tile)
    return lax.scan(fill, nothing, windows)[0]


def compute_features(
    params: network.Params, images: Images, objective: Objective, execution: Execution
) -> network.Features:
    """Compute the features of whole images."""
    look = _make_look(objective, execution)
    return network.features(params, images, **look._asdict())


def _make_look(objective: Objective, execution: Execution) -> network.Look:
    return network.Look(
        objective.pooling, objective.padding, execution.mesh, execution.precision
    )


def feature_shapes(
    params: network.Params, images: Images, objective: Objective, execution: Execution
) -> dict[str, jax.ShapeDtypeStruct]:
    """Compute the shapes and types of the features of whole images."""
    features = partial(compute_features, objective=objective, execution=execution)
    shapes: dict[str, jax.ShapeDtypeStruct] = jax.eval_shape(features, params, images)
    return shapes


def _masked_moments(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*r h w"]
) -> Moments:
    """Return the moments of each region of each image."""
    regions = range(-4, -2 - mask.ndim, -1)
    return moments(jnp.expand_dims(features, tuple(regions)), mask)


# --- tiles --------------------------------------------------------------------------


def _measure_tiles(
    params: network.Params,
    images: Images,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    masks: Mapping[str, Float[Array, "*r _h _w"] | None],
    objective: Objective,
    execution: Execution,
) -> Measures:
    """Do what `measure` does, tile by tile."""
    size = images.shape[-3:-1]

    def measure_window(window: Window) -> Measures:
        features = compute_features(params, window.cut(images), objective, execution)
        parts = {
            layer: _Part(layer, features[layer], window, size) for layer in features
        }
        return Measures(
            {layer: parts[layer].content_loss(content[layer]) for layer in content},
            {layer: parts[layer].moments(masks[layer]) for layer in masks},
        )

    assert execution.tile is not None
    windows = _cover(images, (*content, *masks), params, execution.tile)
    return sum_windows(measure_window, windows)


def _cover(
    images: Images, layers: Iterable[str], params: network.Params, tile: int
) -> Window:
    """Return windows in which the positions of all of these layers are right."""
    height, width = images.shape[-3:-1]
    return cover_image(
        (height, width),
        largest=tile,
        margin=max((vgg_layers.reach(params, layer) for layer in layers), default=0),
        stride=max(map(vgg_layers.stride, layers), default=1),
    )


class _Part(NamedTuple):
    """What a window sees of a layer, and what that adds to the whole image's."""

    layer: str
    features: Float[Array, "*n h w c"]
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
    def stride(self) -> int:
        return vgg_layers.stride(self.layer)

    @property
    def owned(self) -> Bool[Array, "h w"]:
        return self.window.owned(self.stride)

    @property
    def positions(self) -> int:
        """Return how many positions the layer has in the whole image."""
        return math.prod(length // self.stride for length in self.image_size)
