"""The settings of the loss: its weights, and what is compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.losses.extractor import Extractor
from jaxstyle.losses.style import StyleLoss
from jaxstyle.vgg.network import VGG

Scalar: TypeAlias = float | Float[Array, ""]

StyleWeights: TypeAlias = Sequence[float] | Mapping[str, Sequence[float]]
"""The weights of several styles in their blend, in all layers or by layer."""


class Weights(NamedTuple):
    """The weights of the loss: by layer for content and style, and of three variations.

    The layers are structure, the numbers are data: under `jax.jit` other numbers do not
    recompile, and `jax.vmap` may map over them.

    Attributes:
        content: the weight of `jaxstyle.losses.content_loss` by layer, such as
            ``relu4_2``.
        style: the weight of the style loss by layer.
        total_variation: that of `jaxstyle.losses.total_variation`.
        absolute_variation: that of `jaxstyle.losses.absolute_variation`.
        isotropic_variation: that of `jaxstyle.losses.isotropic_variation`.

    Examples:
        How the loss depends on a weight, in one program:

        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> def loss_of(strength):
        ...     style = {"relu1_1": strength}
        ...     mine = jaxstyle.Weights(content={"relu2_1": 1.0}, style=style)
        ...     return jaxstyle.losses.perceptual_loss(vgg, photo, targets, mine)[0]
        >>> losses = jax.jit(jax.vmap(loss_of))(jnp.array([0.0, 1.0, 2.0]))
        >>> (losses / losses[1]).round(3)
        Array([0., 1., 2.], dtype=float32)
    """

    content: Mapping[str, Scalar]
    style: Mapping[str, Scalar]
    total_variation: Scalar = 0.0
    absolute_variation: Scalar = 0.0
    isotropic_variation: Scalar = 0.0


TRAINED_VGG = VGG()
"""A VGG with the pooling and the padding that it was trained with."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is compared: the features of an extractor, by a style loss.

    It is structure, not data, and belongs to the targets that are made by it.

    Attributes:
        extractor: the network whose features are compared, a `jaxstyle.vgg.VGG` as it
            was trained by default.
        style_loss: a key of `jaxstyle.losses.STYLE_LOSSES`, or any
            `jaxstyle.losses.StyleLoss`.

    Examples:
        Under `jax.jit` an objective is a static argument; it is hashable.

        >>> objective = jaxstyle.losses.Objective(style_loss="mean-std")
        >>> targets = jaxstyle.losses.make_targets(
        ...     vgg, photo, [painting], weights, objective=objective
        ... )
        >>> targets.objective == objective
        True
    """

    extractor: Extractor = TRAINED_VGG
    style_loss: str | StyleLoss = "gram"


DEFAULT_OBJECTIVE = Objective()
"""That of Gatys et al. (2016), with the pooling that the VGG was trained with."""


# --- blends -------------------------------------------------------------------------


def check_weights(weights: Weights) -> None:
    """Raise a TypeError unless these are `Weights`."""
    if not isinstance(weights, Weights):
        raise TypeError(
            "expected jaxstyle.Weights(content=..., style=...), each a dict of numbers "
            f"by layer, got a {type(weights).__name__}"
        )


def share_styles(
    layers: Iterable[str], count: int, style_weights: StyleWeights | None
) -> dict[str, Float[Array, " styles"]]:
    """Normalize the styles' weights by layer, so that they add up to 1."""
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
