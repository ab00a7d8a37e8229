"""Targets: what the features of an image are compared with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.measures import compute_activations, measure
from jaxstyle.losses.objective import (
    DEFAULT_EXECUTION,
    DEFAULT_OBJECTIVE,
    Execution,
    Objective,
    StyleWeights,
    Weights,
)
from jaxstyle.losses.style import find_style_loss
from jaxstyle.losses.terms import Moments
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg import network

Mask: TypeAlias = Float[Array, "_h _w"]


@register_dataclass
@dataclass(frozen=True)
class Targets:
    """What an image is compared with, by layer.

    Attributes:
        content: activations ``[*n, h', w', c]``.
        style: what the style loss makes of the styles' moments; with masks, the targets
            of all regions, stacked before the channels.
        masks: the regions of the image at the layer's resolution, if there are any. A
            style counts as much as its mask's mean.
        objective: what is compared; it is structure, not data.
    """

    content: Mapping[str, Float[Array, "*n _h _w _c"]]
    style: Mapping[str, Any]
    masks: Mapping[str, Float[Array, "regions _h _w"]] | None = None
    objective: Objective = field(default=DEFAULT_OBJECTIVE, metadata={"static": True})


def make_targets(
    params: network.Params,
    content: Images,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: StyleWeights | None = None,
    masks: Sequence[Mask] | None = None,
    style_masks: Sequence[Mask | None] | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> Targets:
    """Return what images are to be compared with.

    Several styles are blended by averaging their moments. For the Gram loss this gives
    the same gradient as the average of the losses to each style (Gatys et al., 2016,
    have one style only).

    With masks each style is compared with a region of the image instead, by moments in
    which every position counts as much as its mask says: the guided Gram matrices of
    Gatys et al. (2017), "Controlling perceptual factors in neural style transfer". What
    no mask covers keeps its content alone. A mask is averaged over the windows that the
    network pools, so soft edges stay soft.

    Args:
        params: a VGG's parameters.
        content: the image or images to keep, ``[*n, h, w, 3]``.
        styles: one or more images of any sizes, each ``[h, w, 3]``, or each with
            leading axes that broadcast against those of the images. There may be none
            where ``weights`` has no style layers: the content alone is compared then.
        weights: only the layers matter here, not the numbers.
        style_weights: how much each style counts, equally by default; or this by layer,
            equally in layers that are not named. They are divided by their sum.
        masks: for each style where it belongs in the image, ``[h, w]`` in [0, 1].
        style_masks: for each style which part of it counts, in [0, 1] and of the
            style's size, or None for all of it.
        objective: what is compared.
        execution: how features are computed; an evaluation of the loss may do it
            otherwise.

    Returns:
        The targets, of the layers that ``weights`` names.

    Raises:
        TypeError: an image is not floating-point, or a mask has integers.
        ValueError: there is no style for the style layers, the number of style weights
            or masks is not that of the styles, a mask is not of its image's size, or a
            layer is not in ``params`` or in ``weights``.

    Examples:
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> targets.content["relu2_1"].shape, targets.style["relu1_1"].shape
        ((8, 8, 128), (64, 64))

        The left half in one style, the right half in another:

        >>> left = jnp.zeros((16, 16)).at[:, :8].set(1)
        >>> targets = jaxstyle.losses.make_targets(
        ...     vgg, photo, [painting, 1 - painting], weights, masks=[left, 1 - left]
        ... )
        >>> targets.style["relu1_1"].shape
        (2, 64, 64)
    """
    vgg_layers.check_layers(params, (*weights.content, *weights.style))
    of_content = content_targets(
        params, content, weights, objective=objective, execution=execution
    )
    if masks is None:
        blended = style_targets(
            params,
            styles,
            weights,
            style_weights=style_weights,
            style_masks=style_masks,
            objective=objective,
            execution=execution,
        )
        return Targets(of_content, blended, None, objective)
    check_masks(masks, [content] * len(styles), what="masks")
    shares = _shares(weights.style, len(styles), style_weights)
    found = _moments(params, styles, weights, style_masks, objective, execution)
    compared = find_style_loss(objective.style_loss)
    return Targets(
        of_content,
        {layer: compared.make_target(_stack(found[layer])) for layer in found},
        {
            layer: len(styles) * shares[layer][:, None, None] * _pool(masks, layer)
            for layer in found
        },
        objective,
    )


def content_targets(
    params: network.Params,
    content: Images,
    weights: Weights,
    *,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> dict[str, Float[Array, "*n _h _w _c"]]:
    """Return the activations of the content layers; see `make_targets`."""
    vgg_layers.check_layers(params, tuple(weights.content))
    return compute_activations(params, content, weights.content, objective, execution)


def style_targets(
    params: network.Params,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: StyleWeights | None = None,
    style_masks: Sequence[Mask | None] | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> dict[str, Any]:
    """Return the targets of the style layers for a blend of styles; see `make_targets`.

    For the Gram loss they are Gram matrices.
    """
    vgg_layers.check_layers(params, tuple(weights.style))
    shares = _shares(weights.style, len(styles), style_weights)
    found = _moments(params, styles, weights, style_masks, objective, execution)
    compared = find_style_loss(objective.style_loss)
    return {
        layer: compared.make_target(_blend(found[layer], shares[layer]))
        for layer in found
    }


# --- moments ------------------------------------------------------------------------


def _moments(
    params: network.Params,
    styles: Sequence[Images],
    weights: Weights,
    masks: Sequence[Mask | None] | None,
    objective: Objective,
    execution: Execution,
) -> dict[str, list[Moments]]:
    """Return the moments of every style by layer."""
    masks = [None] * len(styles) if masks is None else masks
    check_masks(masks, styles, what="style masks")
    found: dict[str, list[Moments]] = {layer: [] for layer in weights.style}
    for style, mask in zip(styles, masks, strict=True):
        pooled = mask if mask is None else {x: _pool([mask], x)[0] for x in found}
        of_style = measure(
            params,
            style,
            content={},
            style=found,
            masks=pooled,
            objective=objective,
            execution=execution,
        ).moments
        for layer, moments_of_styles in found.items():
            moments_of_styles.append(of_style[layer])
    return found


def _blend(found: Sequence[Moments], shares: Float[Array, " styles"]) -> Moments:
    """Average the raw moments of styles, which is what makes them a blend."""
    average = partial(jnp.average, axis=0, weights=shares)
    return Moments(
        average(jnp.stack([of_style.mean for of_style in found])),
        average(jnp.stack([of_style.second for of_style in found])),
    )


def _stack(found: Sequence[Moments]) -> Moments:
    """Put the moments of styles side by side, before the channels."""
    return Moments(
        jnp.stack([of_style.mean for of_style in found], -2),
        jnp.stack([of_style.second for of_style in found], -3),
    )


# --- masks and shares ---------------------------------------------------------------


def check_masks(
    masks: Sequence[Mask | None], images: Sequence[Images], *, what: str
) -> None:
    """Raise unless there is one mask for each image, of its size."""
    if len(masks) != len(images):
        raise ValueError(f"got {len(masks)} {what} for {len(images)} styles")
    for mask, image in zip(masks, images, strict=True):
        if mask is None:
            continue
        if jnp.issubdtype(mask.dtype, jnp.integer):
            raise TypeError(
                f"{what} must hold values in [0, 1], got {mask.dtype}; "
                "divide 8-bit masks by 255"
            )
        if mask.shape != image.shape[-3:-1]:
            raise ValueError(
                f"{what} must be of their images' size, got {mask.shape} for "
                f"{image.shape[-3:-1]}"
            )


def _pool(masks: Sequence[Mask], layer: str) -> Float[Array, "masks _h _w"]:
    """Average masks over the pixels that each position of a layer was pooled from."""
    stride = vgg_layers.stride(layer)
    whole = jnp.stack(list(masks))
    count, h, w = whole.shape
    h, w = h // stride, w // stride
    cut = whole[:, : h * stride, : w * stride]
    return cut.reshape(count, h, stride, w, stride).mean((2, 4))


def _shares(
    layers: Iterable[str], count: int, style_weights: StyleWeights | None
) -> dict[str, Float[Array, " styles"]]:
    """Return by layer the styles' weights divided by their sum."""
    layers = tuple(layers)
    if layers and count == 0:
        raise ValueError(
            "at least one style image is needed for the style layers "
            f"{', '.join(layers)}, got none"
        )
    equal = [1.0] * count
    if not isinstance(style_weights, Mapping):
        same = equal if style_weights is None else style_weights
        return {layer: _normalize(same, count) for layer in layers}
    unknown = [layer for layer in style_weights if layer not in set(layers)]
    if unknown:
        raise ValueError(f"style weights for {', '.join(unknown)}, not a style layer")
    return {
        layer: _normalize(style_weights.get(layer, equal), count) for layer in layers
    }


def _normalize(style_weights: Sequence[float], count: int) -> Float[Array, " styles"]:
    if len(style_weights) != count:
        raise ValueError(f"got {len(style_weights)} style weights for {count} styles")
    total = sum(style_weights)
    if min(style_weights) < 0 or not 0 < total < float("inf"):
        raise ValueError(
            "style weights must be finite, none negative and not all zero, "
            f"got {', '.join(map(str, style_weights))}"
        )
    return jnp.array([weight / total for weight in style_weights])
