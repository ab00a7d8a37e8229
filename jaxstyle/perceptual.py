"""The perceptual loss: a weighted sum of losses over the layers of a VGG network."""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle import vgg
from jaxstyle.images import Images
from jaxstyle.losses import (
    absolute_variation,
    content_loss,
    gram_matrix,
    style_loss,
    total_variation,
)

Metrics: TypeAlias = dict[str, Float[Array, "*n"]]
Scalar: TypeAlias = float | Float[Array, ""]


class Weights(NamedTuple):
    """What counts how much: a weight per layer for content and style, and two more.

    The layers are structure, the numbers are data: under `jax.jit` other numbers do not
    recompile, and under `jax.vmap` they may differ from lane to lane.
    """

    content: Mapping[str, Scalar]
    style: Mapping[str, Scalar]
    total_variation: Scalar = 0.0
    absolute_variation: Scalar = 0.0


class Targets(NamedTuple):
    """What an image is compared with: activations and Gram matrices by layer."""

    content: Mapping[str, Float[Array, "*n _h _w _c"]]
    style: Mapping[str, Float[Array, "*m _c _c"]]


def make_targets(
    params: vgg.Params,
    content: Images,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: Sequence[float] | None = None,
    pooling: str = "max",
) -> Targets:
    """Return what images are to be compared with.

    Several styles are blended by averaging their Gram matrices. The loss then has the
    same gradient as the average of the losses to each style (Gatys et al., 2016, have
    one style only).

    Args:
        params: a VGG's parameters.
        content: the image or images to keep, ``[*n, h, w, 3]``.
        styles: one or more images of any sizes, each ``[h, w, 3]``, or each with
            leading axes that broadcast against those of the images.
        weights: only the layers matter here, not the numbers.
        style_weights: how much each style counts; equally by default. They are divided
            by their sum.
        pooling: as in `jaxstyle.features`.

    Raises:
        ValueError: there is no style, the number of style weights is not that of the
            styles, or a layer is not in ``params``.
    """
    vgg.check_layers(params, (*weights.content, *weights.style))
    return Targets(
        content_targets(params, content, weights, pooling=pooling),
        style_targets(
            params, styles, weights, style_weights=style_weights, pooling=pooling
        ),
    )


def content_targets(
    params: vgg.Params, content: Images, weights: Weights, *, pooling: str = "max"
) -> dict[str, Float[Array, "*n _h _w _c"]]:
    """Return the activations of the content layers; see `make_targets`."""
    vgg.check_layers(params, tuple(weights.content))
    features = vgg.features(params, content, pooling=pooling)
    return {layer: features[layer] for layer in weights.content}


def style_targets(
    params: vgg.Params,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: Sequence[float] | None = None,
    pooling: str = "max",
) -> dict[str, Float[Array, "*m _c _c"]]:
    """Return the Gram matrices of the style layers; see `make_targets`."""
    vgg.check_layers(params, tuple(weights.style))
    shares = _shares(len(styles), style_weights)
    grams = [_grams(params, style, weights, pooling) for style in styles]
    return {
        layer: jnp.stack([gram[layer] for gram in grams], -1) @ shares
        for layer in weights.style
    }


def _grams(
    params: vgg.Params, style: Images, weights: Weights, pooling: str
) -> dict[str, Array]:
    features = vgg.features(params, style, pooling=pooling)
    return {layer: gram_matrix(features[layer]) for layer in weights.style}


def _shares(
    count: int, style_weights: Sequence[float] | None
) -> Float[Array, " count"]:
    """Return the styles' weights divided by their sum."""
    if count == 0:
        raise ValueError("at least one style image is needed, got none")
    if style_weights is None:
        style_weights = [1.0] * count
    if len(style_weights) != count:
        raise ValueError(f"got {len(style_weights)} style weights for {count} styles")
    total = sum(style_weights)
    if min(style_weights) < 0 or not 0 < total < float("inf"):
        raise ValueError(
            "style weights must be finite, none negative and not all zero, "
            f"got {', '.join(map(str, style_weights))}"
        )
    return jnp.array([weight / total for weight in style_weights])


def perceptual_loss(
    params: vgg.Params,
    images: Images,
    targets: Targets,
    weights: Weights,
    *,
    pooling: str = "max",
) -> tuple[Float[Array, "*n"], Metrics]:
    """Return how far images are from their targets, one value per image.

        loss =  sum over layers l of  weights.content[l] content_loss_l
              + sum over layers l of  weights.style[l]   style_loss_l
              + weights.total_variation     total_variation
              + weights.absolute_variation  absolute_variation

    Source: Gatys et al. (2016), equation 7, and Johnson et al. (2016), equation 5; the
    elementary losses in `jaxstyle.losses` say how they differ from the papers'.

    Args:
        params: a VGG's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.
        targets: from `make_targets`, for images of the same size.
        weights: the weight of each term.
        pooling: as in `jaxstyle.features`, and as for the targets.

    Returns:
        The loss ``[*n]``, and its three weighted parts by name: ``content``, ``style``
        and ``total_variation``, which holds both kinds.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: a shape or a layer is wrong, or the targets are for other layers or
            for images of another size.
    """
    features = vgg.features(params, images, pooling=pooling)
    _check_targets(features, targets, weights)
    content = [
        weight * content_loss(features[layer], targets.content[layer])
        for layer, weight in weights.content.items()
    ]
    style = [
        weight * style_loss(gram_matrix(features[layer]), targets.style[layer])
        for layer, weight in weights.style.items()
    ]
    parts = {
        "content": _add(content, images),
        "style": _add(style, images),
        "total_variation": weights.total_variation * total_variation(images)
        + weights.absolute_variation * absolute_variation(images),
    }
    return _add(parts.values(), images), parts


def _check_targets(features: vgg.Features, targets: Targets, weights: Weights) -> None:
    """Raise unless there is a target for each layer, of the features' size."""
    absent = [layer for layer in weights.content if layer not in targets.content]
    absent += [layer for layer in weights.style if layer not in targets.style]
    if absent:
        raise ValueError(f"no target for {', '.join(absent)}; make_targets makes them")
    for layer in weights.content:
        got, expected = features[layer].shape[-3:], targets.content[layer].shape[-3:]
        if got != expected:
            raise ValueError(
                f"the images are of another size than the content of the targets: "
                f"{layer} is {got}, expected {expected}"
            )


def _add(terms: Iterable[Array], images: Images) -> Float[Array, "*n"]:
    """Add up losses; without any, the sum is zero for each image."""
    return functools.reduce(operator.add, terms, jnp.zeros(images.shape[:-3]))
