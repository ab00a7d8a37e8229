"""The perceptual loss: a weighted sum of losses over the layers of a network."""

import functools
import operator
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.losses.extractor import (
    DEFAULT_EXECUTION,
    BoundExtractor,
    Execution,
    ExtractorParams,
)
from jaxstyle.losses.measures import measure
from jaxstyle.losses.objective import Weights, check_weights
from jaxstyle.losses.style import find_style_loss
from jaxstyle.losses.targets import Targets
from jaxstyle.losses.terms import (
    absolute_variation,
    isotropic_variation,
    total_variation,
)

Metrics: TypeAlias = dict[str, Float[Array, "*n"]]
"""What a step measures, by name."""


class Problem(NamedTuple):
    """The arguments of the perceptual loss other than the images.

    Attributes:
        params: the extractor's parameters, a VGG's by default.
        targets: from `make_targets`.
        weights: the weight of each term.
    """

    params: ExtractorParams
    targets: Targets
    weights: Weights


def perceptual_loss(
    params: ExtractorParams,
    images: Images,
    targets: Targets,
    weights: Weights,
    *,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[Float[Array, "*n"], Metrics]:
    """Compute the perceptual loss, one value per image.

        loss =  sum over layers l of  weights.content[l] content_loss_l
              + sum over layers l of  weights.style[l]   style_loss_l
              + weights.total_variation      total_variation
              + weights.absolute_variation   absolute_variation
              + weights.isotropic_variation  isotropic_variation

    If the targets have masks, style_loss_l is the sum over regions of the region's
    style loss times the mean of its mask, so that each pixel counts about as much as
    without masks.

    Not jitted: jit what calls it, such as its gradient.

    Source: Gatys et al. (2016), equation 7, and Johnson et al. (2016), equation 5; each
    elementary loss says how it differs from theirs.

    Args:
        params: the extractor's parameters, a VGG's by default.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.
        targets: from `make_targets`, for images of the same size; their objective says
            what is compared.
        weights: the weight of each term.
        execution: how features are computed.

    Returns:
        The loss ``[*n]``, and by name its three weighted parts, ``content``, ``style``
        and ``total_variation``, which holds all kinds of variation.

    Examples:
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> loss_of = jax.jit(jaxstyle.losses.perceptual_loss)
        >>> loss, parts = loss_of(vgg, photo, targets, weights)
        >>> jnp.allclose(loss, parts["content"] + parts["style"])
        Array(True, dtype=bool)
    """
    check_weights(weights)
    if not isinstance(targets, Targets):
        raise TypeError(
            "expected targets from jaxstyle.losses.make_targets, and then weights, got "
            f"a {type(targets).__name__}"
        )
    check_images(images)
    network = BoundExtractor(targets.objective.extractor, params, execution)
    _check_targets(network, images, targets, weights)
    style_loss = find_style_loss(targets.objective.style_loss)
    found = measure(
        network,
        images,
        {layer: targets.content[layer] for layer in weights.content},
        dict.fromkeys(weights.style) if targets.masks is None else targets.masks,
        style_loss,
    )

    def compare_style(layer: str) -> Float[Array, "*n"]:
        losses = style_loss.compare(found.style[layer], targets.style[layer])
        if targets.masks is None:
            return losses
        return (targets.masks[layer].mean((-2, -1)) * losses).sum(-1)  # over regions

    content = [
        weights.content[layer] * found.content[layer] for layer in weights.content
    ]
    style = [weights.style[layer] * compare_style(layer) for layer in weights.style]
    parts = {
        "content": _add(content, images),
        "style": _add(style, images),
        "total_variation": weights.total_variation * total_variation(images)
        + weights.absolute_variation * absolute_variation(images)
        + weights.isotropic_variation * isotropic_variation(images),
    }
    return _add(parts.values(), images), parts


def _check_targets(
    network: BoundExtractor, images: Images, targets: Targets, weights: Weights
) -> None:
    """Raise unless there is a target for each layer, of the features' size.

    A TypeError says if a weight is an integer: one with a point would compile again.
    """
    for path, weight in jax.tree.leaves_with_path(weights):
        if not jnp.issubdtype(jnp.result_type(weight), jnp.floating):
            where = jax.tree_util.keystr(path)
            raise TypeError(
                f"weights must be floating-point, got {weight} for weights{where}; "
                "write 1.0 instead of 1"
            )
    shapes = network.shapes(images)
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
        got = tuple(
            side // network.extractor.stride(layer) for side in images.shape[-3:-1]
        )
        if got != mask.shape[-2:]:
            raise ValueError(
                f"the images are of another size than the masks of the targets: "
                f"{layer} is {got}, expected {mask.shape[-2:]}"
            )


def _add(terms: Iterable[Array], images: Images) -> Float[Array, "*n"]:
    """Add up losses, from zero for each image."""
    return functools.reduce(operator.add, terms, jnp.zeros(images.shape[:-3]))
