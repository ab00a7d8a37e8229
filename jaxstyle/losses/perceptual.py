"""The perceptual loss: a weighted sum of losses over the layers of a VGG network."""

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.measures import feature_shapes, measure
from jaxstyle.losses.objective import DEFAULT_EXECUTION, Execution, Weights
from jaxstyle.losses.style import find_style_loss
from jaxstyle.losses.targets import Targets
from jaxstyle.losses.terms import (
    Moments,
    absolute_variation,
    isotropic_variation,
    total_variation,
)
from jaxstyle.scaling.chunks import Metrics as Metrics
from jaxstyle.vgg import layers, network


class Problem(NamedTuple):
    """What is minimized: the perceptual loss with these parameters, as data.

    Attributes:
        params: a VGG's parameters.
        targets: from `make_targets`.
        weights: the weight of each term.
    """

    params: network.Params
    targets: Targets
    weights: Weights


def perceptual_loss(
    params: network.Params,
    images: Images,
    targets: Targets,
    weights: Weights,
    *,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[Float[Array, "*n"], Metrics]:
    """Return how far images are from their targets, one value per image.

        loss =  sum over layers l of  weights.content[l] content_loss_l
              + sum over layers l of  weights.style[l]   style_loss_l
              + weights.total_variation      total_variation
              + weights.absolute_variation   absolute_variation
              + weights.isotropic_variation  isotropic_variation

    With masks among the targets, style_loss_l is the sum over regions of the region's
    style loss times the mean of its mask, so that each pixel is drawn about as much as
    without.

    Source: Gatys et al. (2016), equation 7, and Johnson et al. (2016), equation 5; each
    elementary loss says how it differs from theirs.

    Args:
        params: a VGG's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.
        targets: from `make_targets`, for images of the same size; their objective says
            what is compared.
        weights: the weight of each term.
        execution: how features are computed.

    Returns:
        The loss ``[*n]``, and by name its three weighted parts, ``content``, ``style``
        and ``total_variation``, which holds all kinds of variation.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: a shape or a layer is wrong, or the targets are for other layers or
            for images of another size.

    Examples:
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> loss_of = jax.jit(jaxstyle.losses.perceptual_loss)
        >>> loss, parts = loss_of(vgg, photo, targets, weights)
        >>> jnp.allclose(loss, parts["content"] + parts["style"])
        Array(True, dtype=bool)
    """
    _check_targets(params, images, targets, weights, execution)
    found = measure(
        params,
        images,
        content={layer: targets.content[layer] for layer in weights.content},
        style=weights.style,
        masks=targets.masks,
        objective=targets.objective,
        execution=execution,
    )
    content = [
        weights.content[layer] * found.content[layer] for layer in weights.content
    ]
    style = [
        weight * _compare_style(found.moments[layer], targets, layer)
        for layer, weight in weights.style.items()
    ]
    parts = {
        "content": _add(content, images),
        "style": _add(style, images),
        "total_variation": weights.total_variation * total_variation(images)
        + weights.absolute_variation * absolute_variation(images)
        + weights.isotropic_variation * isotropic_variation(images),
    }
    return _add(parts.values(), images), parts


def _compare_style(found: Moments, targets: Targets, layer: str) -> Float[Array, "*n"]:
    """Return the style loss of a layer, over all regions if there are any."""
    by_region = find_style_loss(targets.objective.style_loss).compare(
        found, targets.style[layer]
    )
    if targets.masks is None:
        return by_region
    return (targets.masks[layer].mean((-2, -1)) * by_region).sum(-1)


def _check_targets(
    params: network.Params,
    images: Images,
    targets: Targets,
    weights: Weights,
    execution: Execution,
) -> None:
    """Raise unless there is a target for each layer, of the features' size."""
    shapes = feature_shapes(params, images, targets.objective, execution)
    absent = [layer for layer in weights.content if layer not in targets.content]
    absent += [layer for layer in weights.style if layer not in targets.style]
    if absent:
        raise ValueError(f"no target for {', '.join(absent)}; make_targets makes them")
    for layer in weights.content:
        got, expected = shapes[layer].shape[-3:], targets.content[layer].shape[-3:]
        if got != expected:
            raise ValueError(
                f"the images are of another size than the content of the targets: "
                f"{layer} is {got}, expected {expected}"
            )
    for layer, mask in (targets.masks or {}).items():
        got = tuple(side // layers.stride(layer) for side in images.shape[-3:-1])
        if got != mask.shape[-2:]:
            raise ValueError(
                f"the images are of another size than the masks of the targets: "
                f"{layer} is {got}, expected {mask.shape[-2:]}"
            )


def _add(terms: Iterable[Array], images: Images) -> Float[Array, "*n"]:
    """Add up losses; without any, the sum is zero for each image."""
    return functools.reduce(operator.add, terms, jnp.zeros(images.shape[:-3]))
