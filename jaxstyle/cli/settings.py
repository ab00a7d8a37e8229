"""Settings that ``optimize`` and ``train`` share, and what they load by them."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import jax.numpy as jnp

from jaxstyle.files.image_files import load_image
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.images.arrays import Image
from jaxstyle.losses.objective import Objective, StyleWeights
from jaxstyle.losses.style import STYLE_LOSSES
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg import network
from jaxstyle.vgg import params as vgg_params
from jaxstyle.vgg.pooling import POOLINGS

LOSS_CHOICES: Mapping[str, Collection[str]] = {
    "activations": (*vgg_params.GRANULARITIES, "raw"),
    "pooling": POOLINGS,
    "padding": network.BORDERS,
    "style_loss": STYLE_LOSSES,
}
"""The names that a setting of the loss may have."""


class LossSettings(Protocol):
    """What presets of both commands have."""

    @property
    def content(self) -> Mapping[str, float]:
        """The weight of the content loss by layer."""

    @property
    def style(self) -> Mapping[str, float]:
        """The weight of the style loss by layer."""

    @property
    def vgg(self) -> str:
        """The network."""

    @property
    def activations(self) -> str:
        """How its mean activations are normalized."""

    @property
    def pooling(self) -> str:
        """Its pooling."""

    @property
    def padding(self) -> str:
        """The border of its first convolution."""

    @property
    def style_loss(self) -> str:
        """How styles are compared."""


def find_overrides(
    arguments: argparse.Namespace, preset: LossSettings, names: Sequence[str]
) -> dict[str, Any]:
    """Return the settings that arguments replace in a preset.

    Args:
        arguments: the values of the command line, ``None`` where none was given.
        preset: what they replace settings of.
        names: the arguments that replace the setting of the same name; the weights of
            content and style are among the results in any case.
    """
    given = {name: getattr(arguments, name) for name in names}
    return {
        "content": override_weights(preset.content, arguments.content_weight),
        "style": override_weights(preset.style, arguments.style_weight),
        **{name: value for name, value in given.items() if value is not None},
    }


def override_weights(
    weights: Mapping[str, float], given: float | Mapping[str, float] | None
) -> Mapping[str, float]:
    """Return the weights that are given by layer, or by their mean, if any are.

    A number keeps the layers' proportions.
    """
    if given is None:
        return weights
    if isinstance(given, Mapping):
        return given
    mean = sum(weights.values()) / len(weights)
    shares = {layer: value / mean if mean else 1 for layer, value in weights.items()}
    return {layer: given * share for layer, share in shares.items()}


def check_choices(settings: object, choices: Mapping[str, Collection[str]]) -> None:
    """Raise a ValueError unless each setting has one of its known names."""
    for setting, known in choices.items():
        name = getattr(settings, setting)
        if name not in known:
            raise ValueError(f"no {setting} {name!r}; known are {', '.join(known)}")


def check_blend(blend: StyleWeights | None, styles: Sequence[str]) -> None:
    """Raise a ValueError unless there is one share per painting, if there are any."""
    by_layer = blend if isinstance(blend, Mapping) else {"": blend or styles}
    for shares in by_layer.values():
        if len(shares) != len(styles):
            raise ValueError(
                f"--blend needs one number per painting: {len(styles)}, "
                f"got {len(shares)}"
            )


def make_objective(settings: LossSettings) -> Objective:
    """Return the structure of the loss."""
    return Objective(
        pooling=settings.pooling,
        padding=settings.padding,
        style_loss=settings.style_loss,
    )


def load_params(settings: LossSettings) -> network.Params:
    """Return the network's parameters, normalized and as deep as the layers ask."""
    layers = (*settings.content, *settings.style)
    params = vgg_params.truncate(load_vgg(settings.vgg), layers)
    if settings.activations == "raw":
        return params
    return vgg_params.normalize(params, per=settings.activations)


def load_styles(paths: Sequence[str], size: int, params: network.Params) -> list[Image]:
    """Read paintings at a longer side, each large enough for the network."""
    styles = [jnp.asarray(load_image(path, longest_side=size)) for path in paths]
    for path, style in zip(paths, styles, strict=True):
        check_size(path, style, params, option="--style-size")
    return styles


def check_size(path: str, image: Image, params: network.Params, *, option: str) -> None:
    """Raise a ValueError if an image is too small for the network's deepest layer."""
    deepest, smallest = (
        vgg_layers.layer_names(params)[-1],
        vgg_layers.smallest_side(params),
    )
    height, width, _ = image.shape
    if min(height, width) < smallest:
        raise ValueError(
            f"{path} at {width}x{height} pixels is too small for {deepest}, "
            f"which needs {smallest}x{smallest}; use a larger {option} or image"
        )
