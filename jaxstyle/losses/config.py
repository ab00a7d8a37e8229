"""The settings of the loss: plain data, importable without JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxstyle.losses.fields import (
    REQUIRED,
    nonnegative_float,
    option,
    parse_blend,
    parse_weights,
)

if TYPE_CHECKING:
    from jaxstyle.losses.objective import Objective, Weights


def scale_weights(
    weights: Mapping[str, float], given: float | Mapping[str, float]
) -> Mapping[str, float]:
    """Replace weights by those given, or scale them to a given mean.

    A mean keeps the proportions of the weights; those that are all 0 become equal.
    """
    if isinstance(given, Mapping):
        return given
    mean = sum(weights.values()) / len(weights)
    shares = {key: value / mean if mean else 1 for key, value in weights.items()}
    return {key: given * share for key, share in shares.items()}


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the perceptual loss compares, and how much each part counts.

    Attributes:
        content: weight of the content loss by layer.
        style: weight of the style loss by layer.
        variation: weight of the total variation by kind: ``"total"`` (of squared
            differences), ``"absolute"`` or ``"isotropic"`` (of nine points); see
            `jaxstyle.losses.total_variation` and its neighbors.
        style_loss: a key of `jaxstyle.losses.STYLE_LOSSES`.
        blend: how much each of several styles counts, in all layers or by layer; all
            count the same by default.
        vgg: the network, as `jaxstyle.load_vgg` takes it.
        activations: ``"layer"`` or ``"filter"``, the granularity at which mean
            activations are normalized to 1 (see `jaxstyle.vgg.normalize`), or
            ``"raw"``.
        pooling: the network's pooling, as in `jaxstyle.vgg.VGG`.
        padding: of the network's first convolution, as in `jaxstyle.vgg.VGG`.

    Examples:
        >>> loss = jaxstyle.optimize.PRESETS["default"].loss
        >>> loss.weights().content
        {'relu4_2': 0.075}
        >>> loss.objective().style_loss
        'wasserstein'
    """

    content: Mapping[str, float] = option(
        REQUIRED,
        "more keeps more of the photo",
        name="content_weight",
        metavar="W",
        parse=parse_weights,
        update=scale_weights,
        sweep=True,
        group="loss (a weight is a number, or LAYER=NUMBER,LAYER=NUMBER,... by layer)",
    )
    style: Mapping[str, float] = option(
        REQUIRED,
        "more gives more style",
        name="style_weight",
        metavar="W",
        parse=parse_weights,
        update=scale_weights,
        sweep=True,
    )
    variation: Mapping[str, float] = option(
        {"total": 0.0},
        "of the total variation: more gives a smoother picture",
        name="tv_weight",
        metavar="W",
        parse=nonnegative_float,
        update=scale_weights,
        sweep=True,
    )
    style_loss: str = option(
        "gram",
        "how styles are compared",
        choices=("gram", "wasserstein", "wasserstein-exact", "mean", "mean-std"),
    )
    blend: Sequence[float] | Mapping[str, Sequence[float]] | None = option(
        None,
        "how much each of several paintings counts, equally by default; or this by "
        "layer: LAYER=W:W:...,LAYER=W:W:...,...",
        metavar="W,W,...",
        parse=parse_blend,
    )
    vgg: str = option(
        "vgg16",
        "the network that extracts the features; vgg16 ships with jaxstyle",
        metavar="vgg16|vgg19|FILE",
    )
    activations: str = option(
        "layer",
        "normalize the network's mean activations to 1 by layer or by filter, or leave "
        "them raw",
        choices=("layer", "filter", "raw"),
    )
    pooling: str = option(
        "max", "the network's pooling", choices=("max", "average", "l2")
    )
    padding: str = option(
        "zero",
        "the border of the network's first convolution",
        choices=("zero", "replicate"),
    )

    def weights(self) -> "Weights":
        """Make the weights that `jaxstyle.optimize_image` and training take."""
        from jaxstyle.losses.objective import Weights

        variation = {f"{kind}_variation": x for kind, x in self.variation.items()}
        return Weights(self.content, self.style, **variation)

    def objective(self) -> "Objective":
        """Make the structure of the loss."""
        from jaxstyle.losses.objective import TRAINED_VGG, Objective

        extractor = replace(TRAINED_VGG, pooling=self.pooling, padding=self.padding)
        return Objective(extractor=extractor, style_loss=self.style_loss)
