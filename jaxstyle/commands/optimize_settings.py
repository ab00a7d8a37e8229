"""What ``jaxstyle optimize`` is to do: settings from a preset and the arguments."""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

import optax

from jaxstyle.commands.settings import (
    LOSS_CHOICES,
    check_choices,
    find_overrides,
    make_objective,
)
from jaxstyle.keepers import KEEPERS, Keeper
from jaxstyle.objective import Objective, Weights
from jaxstyle.optimizers import OPTIMIZERS
from jaxstyle.presets import PRESETS, Preset

OVERRIDES = (
    "init",
    "steps",
    "coarsest",
    "optimizer",
    "keep",
    "style_loss",
    "vgg",
    "activations",
    "pooling",
    "padding",
    "isotropic_variation",
)
"""The arguments that replace a preset's setting of the same name."""

CHOICES: Mapping[str, Collection[str]] = {
    "optimizer": OPTIMIZERS,
    "keep": KEEPERS,
    **LOSS_CHOICES,
}
"""The names that a setting may have."""


class Method(NamedTuple):
    """What a program is compiled for: functions and names, no arrays."""

    optimizer: optax.GradientTransformationExtraArgs
    keeper: Keeper
    objective: Objective


def choose_settings(arguments: argparse.Namespace) -> Preset:
    """Return the preset with what the arguments replace in it.

    Raises:
        ValueError: a setting has a name that is not known.
    """
    preset = PRESETS[arguments.preset]
    chosen = replace(preset, **find_overrides(arguments, preset, OVERRIDES))
    check_choices(chosen, CHOICES)
    return chosen


def make_weights(settings: Preset, *, strength: float) -> Weights:
    """Return the weights of the loss.

    The strength multiplies those of the style: from 1/100 at 0, by 1 at 0.5, to 100 at
    1.
    """
    factor = 100 ** (2 * strength - 1)
    style = {layer: factor * weight for layer, weight in settings.style.items()}
    return Weights(
        settings.content, style, isotropic_variation=settings.isotropic_variation
    )


def make_method(
    settings: Preset,
    *,
    learning_rate: float | None,
    precision: str | None = None,
    tile: int | None = None,
) -> Method:
    """Return what is to be compiled; a ValueError if there is no learning rate."""
    if learning_rate is None:
        optimizer = OPTIMIZERS[settings.optimizer]()
    elif settings.optimizer == "adam":
        optimizer = OPTIMIZERS["adam"](learning_rate=learning_rate)
    else:
        raise ValueError(
            f"--learning-rate is of adam only, not of {settings.optimizer}"
        )
    objective = replace(make_objective(settings), precision=precision, tile=tile)
    return Method(optimizer, KEEPERS[settings.keep](), objective)
