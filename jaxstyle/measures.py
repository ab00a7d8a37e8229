"""What the perceptual loss needs to know of an image, at one look or tile by tile."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxstyle import vgg
from jaxstyle.images import Images
from jaxstyle.losses import Moments, content_loss, moments
from jaxstyle.objective import Objective
from jaxstyle.windows import Window, cover_image, sum_windows


class Measures(NamedTuple):
    """What is known of images, by layer.

    Attributes:
        content: how far the activations are from others: the content losses.
        moments: those of the activations, or of each region of them.
    """

    content: Mapping[str, Float[Array, "*n"]]
    moments: Mapping[str, Moments]


def measure(
    params: vgg.Params,
    images: Images,
    *,
    content: Mapping[str, Float[Array, "*n _h _w _c"]],
    style: Iterable[str],
    masks: Mapping[str, Float[Array, "*r _h _w"] | None] | None = None,
    objective: Objective,
) -> Measures:
    """Return the content losses and the moments of images.

    Args:
        params: a VGG's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.
        content: the activations to compare with, by layer.
        style: the layers whose moments are wanted.
        masks: by layer, how much each position counts in the moments; all the same by
            default. Regions are a leading axis, which the moments then have too.
        objective: how the network looks at images.
    """
    masks = dict.fromkeys(style) if masks is None else masks
    if objective.tile is None:
        features = compute_features(params, images, objective)
        return Measures(
            {layer: content_loss(features[layer], content[layer]) for layer in content},
            {layer: _moments(features[layer], masks[layer]) for layer in masks},
        )
    size = images.shape[-3:-1]

    def measure_window(window: Window) -> Measures:
        features = compute_features(params, window.cut(images), objective)
        parts = {
            layer: _Part(layer, features[layer], window, size) for layer in features
        }
        return Measures(
            {layer: parts[layer].content_loss(content[layer]) for layer in content},
            {layer: parts[layer].moments(masks[layer]) for layer in masks},
        )

    windows = _cover(images, (*content, *masks), params, objective.tile)
    return sum_windows(measure_window, windows)


def compute_activations(
    params: vgg.Params, images: Images, layers: Iterable[str], objective: Objective
) -> vgg.Features:
    """Return the activations of layers, whole; with tiles, the memory is theirs."""
    layers = tuple(layers)
    if objective.tile is None:
        features = compute_features(params, images, objective)
        return {layer: features[layer] for layer in layers}

    def fill(whole: vgg.Features, window: Window) -> tuple[vgg.Features, None]:
        features = compute_features(params, window.cut(images), objective)
        return {
            layer: window.paste(whole[layer], features[layer], vgg.stride(layer))
            for layer in whole
        }, None

    shapes = feature_shapes(params, images, objective)
    nothing = {layer: jnp.zeros(shapes[layer], images.dtype) for layer in layers}
    windows = _cover(images, layers, params, objective.tile)
    return lax.scan(fill, nothing, windows)[0]


def compute_features(
    params: vgg.Params, images: Images, objective: Objective
) -> vgg.Features:
    """Return the features of images as an objective wants to see them, at one look."""
    return vgg.features(
        params, images, pooling=objective.pooling, padding=objective.padding
    )


def feature_shapes(
    params: vgg.Params, images: Images, objective: Objective
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the features of whole images."""
    features = partial(compute_features, objective=objective)
    shapes = jax.eval_shape(features, params, images)
    return {layer: shape.shape for layer, shape in shapes.items()}


def _moments(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*r h w"] | None
) -> Moments:
    """Return the moments of each region of each image, or of all of it."""
    if mask is None:
        return moments(features)
    regions = range(-4, -2 - mask.ndim, -1)
    return moments(jnp.expand_dims(features, tuple(regions)), mask)


# --- tiles --------------------------------------------------------------------------


def _cover(
    images: Images, layers: Iterable[str], params: vgg.Params, tile: int
) -> Window:
    """Return windows in which the positions of all of these layers are right."""
    height, width = images.shape[-3:-1]
    return cover_image(
        (height, width),
        largest=tile,
        margin=max((vgg.reach(params, layer) for layer in layers), default=0),
        stride=max(map(vgg.stride, layers), default=1),
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
        mean, second = _moments(self.features, counts)
        return Moments(share[..., None] * mean, share[..., None, None] * second)

    @property
    def stride(self) -> int:
        return vgg.stride(self.layer)

    @property
    def owned(self) -> Bool[Array, "h w"]:
        return self.window.owned(self.stride)

    @property
    def positions(self) -> int:
        """Return how many positions the layer has in the whole image."""
        return math.prod(length // self.stride for length in self.image_size)
