"""The targets of the loss: what the features of images are compared with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import (
    DEFAULT_EXECUTION,
    BoundExtractor,
    Execution,
    ExtractorParams,
)
from jaxstyle.losses.measures import compute_activations, measure
from jaxstyle.losses.objective import (
    DEFAULT_OBJECTIVE,
    Objective,
    StyleWeights,
    Weights,
    check_weights,
    share_styles,
)
from jaxstyle.losses.style import StyleLoss, check_moments, find_style_loss
from jaxstyle.losses.terms import Moments, moments

Mask: TypeAlias = Float[Array, "_h _w"]


@register_dataclass
@dataclass(frozen=True)
class Targets:
    """The targets of the loss, by layer.

    Attributes:
        content: activations ``[*n, h', w', c]``.
        style: the style loss's targets; with masks, those of all regions, stacked
            before the channels.
        masks: the regions of the image at the layer's resolution, if any. A style is
            weighted by the mean of its mask.
        objective: what is compared; it is structure, not data.
    """

    content: Mapping[str, Float[Array, "*n _h _w _c"]]
    style: Mapping[str, Any]
    masks: Mapping[str, Float[Array, "regions _h _w"]] | None = None
    objective: Objective = field(default=DEFAULT_OBJECTIVE, metadata={"static": True})


def make_targets(
    params: ExtractorParams,
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
    """Make the targets that images are compared with.

    Not jitted: under `jax.jit`, with the objective static, the first call takes a third
    of the time.

    Several styles are blended by averaging their moments. For the Gram loss this gives
    the same gradient as the average of the losses to each style (Gatys et al., 2016,
    have one style only).

    With masks each style is compared with a region of the image instead, by moments
    weighted by its mask: the guided Gram matrices of Gatys et al. (2017), "Controlling
    perceptual factors in neural style transfer". Where no mask covers the image, only
    the content counts. A mask is averaged over the pixels of each position of a layer,
    so soft edges stay soft.

    Args:
        params: the extractor's parameters, a VGG's by default.
        content: the image or images to keep, ``[*n, h, w, 3]``.
        styles: one or more images of any sizes, each ``[h, w, 3]``, or each with
            leading axes that broadcast against those of the images. There may be none
            if ``weights`` has no style layers; then only the content is compared.
        weights: only the layers matter here, not the numbers.
        style_weights: the share of each style, equal by default; or this by layer,
            equal in layers that are not named.
        masks: for each style its region of the image, ``[h, w]`` in [0, 1].
        style_masks: for each style the part of it that counts, in [0, 1] and of the
            style's size, or None for all of it.
        objective: what is compared.
        execution: how features are computed.

    Returns:
        The targets, of the layers that ``weights`` names.

    Raises:
        TypeError: an image is not floating-point, or a mask has integers.
        ValueError: a number, a size or a layer is wrong, or the style loss does not
            compare moments, which masks, tiles and several styles need.

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
    check_weights(weights)
    network = BoundExtractor(objective.extractor, params, execution)
    network.check_layers((*weights.content, *weights.style))
    if masks is not None:
        check_masks(masks, [content] * len(styles), what="masks")
    activations = compute_activations(network, content, weights.content)
    targets = make_style_targets(
        network,
        styles,
        weights,
        objective,
        style_weights=style_weights,
        masks=masks,
        style_masks=style_masks,
    )
    return replace(targets, content=activations)


def make_style_targets(
    network: BoundExtractor,
    styles: Sequence[Images],
    weights: Weights,
    objective: Objective,
    *,
    style_weights: StyleWeights | None,
    masks: Sequence[Mask] | None = None,
    style_masks: Sequence[Mask | None] | None = None,
) -> Targets:
    """Make the targets of `make_targets` except for those of the content."""
    check_styles(styles)
    shares = share_styles(weights.style, len(styles), style_weights)
    style_loss = find_style_loss(objective.style_loss)
    found = _measure_styles(network, styles, weights.style, style_masks, style_loss)
    if masks is None:
        regions = None
        combined = {x: _blend(found[x], shares[x], style_loss) for x in found}
    else:
        check_moments(style_loss, "masks")
        # The moments of styles are put side by side, before the channels.
        combined = {
            layer: Moments(
                jnp.stack([of_style.mean for of_style in of_styles], -2),
                jnp.stack([of_style.second for of_style in of_styles], -3),
            )
            for layer, of_styles in found.items()
        }
        regions = {
            layer: len(styles)
            * shares[layer][:, None, None]
            * pool_masks(jnp.stack(list(masks)), network.extractor.stride(layer))
            for layer in found
        }
    style = {layer: style_loss.make_target(combined[layer]) for layer in combined}
    return Targets({}, style, regions, objective)


def check_styles(styles: Any) -> None:
    """Raise a TypeError if styles are one image, or what else is no list."""
    if not isinstance(styles, Sequence) and getattr(styles, "ndim", 3) < 4:
        raise TypeError("styles must be a list of images, got one: write [style]")
    if isinstance(styles, str):
        raise TypeError(
            f"styles must be a list of images, got {styles!r}; use jaxstyle.load_image "
            "to read a file"
        )


# --- moments ------------------------------------------------------------------------


def _measure_styles(
    network: BoundExtractor,
    styles: Sequence[Images],
    layers: Iterable[str],
    masks: Sequence[Mask | None] | None,
    style_loss: StyleLoss,
) -> dict[str, list[Any]]:
    """Compute by layer what the style loss compares of each style."""
    masks = [None] * len(styles) if masks is None else masks
    check_masks(masks, styles, what="style masks")
    layers, stride, found = tuple(layers), network.extractor.stride, []
    for style, mask in zip(styles, masks, strict=True):
        pooled = {
            layer: None if mask is None else pool_masks(mask, stride(layer))
            for layer in layers
        }
        found.append(measure(network, style, {}, pooled, style_loss).style)
    return {layer: [of_style[layer] for of_style in found] for layer in layers}


def _blend(
    found: Sequence[Any], shares: Float[Array, " styles"], style_loss: StyleLoss
) -> Any:
    """Average the raw moments of styles; any other statistic is of one style."""
    if style_loss.statistic is not moments:
        if len(found) > 1:
            check_moments(style_loss, "several styles")
        return found[0]
    return jax.tree.map(
        lambda *x: jnp.average(jnp.stack(x), axis=0, weights=shares), *found
    )


# --- masks --------------------------------------------------------------------------


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


def pool_masks(masks: Float[Array, "*n h w"], stride: int) -> Float[Array, "*n _h _w"]:
    """Average masks over the pixels of each position of a layer."""
    h, w = (side // stride for side in masks.shape[-2:])
    cut = masks[..., : h * stride, : w * stride]
    return cut.reshape(*masks.shape[:-2], h, stride, w, stride).mean((-3, -1))
