"""What ``jaxstyle optimize`` is to do: settings from a preset and the arguments."""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import optax
from jax.sharding import Mesh

from jaxstyle.cli.settings import (
    LOSS_CHOICES,
    check_choices,
    find_overrides,
    make_objective,
)
from jaxstyle.losses.objective import Execution, Objective, Weights
from jaxstyle.optimize.keepers import KEEPERS, Keeper
from jaxstyle.optimize.optimizers import OPTIMIZERS
from jaxstyle.optimize.presets import PRESETS, Preset

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
    execution: Execution


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
    learning_rate: float | None = None,
    history: int | None = None,
    precision: str | None = None,
    mesh: Mesh | None = None,
    tile: int | None = None,
) -> Method:
    """Return what is to be compiled.

    Args:
        settings: from `choose_settings`.
        learning_rate: of adam.
        history: how many past steps lbfgs remembers.
        precision: what the network computes in.
        mesh: devices that divide the rows of the picture.
        tile: the side of the tiles in which one looks at it.

    Raises:
        ValueError: the optimizer has no learning rate, or no history.
    """
    options: dict[str, dict[str, Any]] = {
        "adam": {"learning_rate": learning_rate},
        "lbfgs": {"memory_size": history, "mesh": mesh},
    }
    chosen = settings.optimizer
    if learning_rate is not None and chosen != "adam":
        raise ValueError(f"--learning-rate is of adam only, not of {chosen}")
    if history is not None and chosen != "lbfgs":
        raise ValueError(f"--history is of lbfgs only, not of {chosen}")
    given = {name: value for name, value in options[chosen].items() if value}
    optimizer = OPTIMIZERS[chosen](**given)
    execution = Execution(precision=precision, mesh=mesh, tile=tile)
    keeper = KEEPERS[settings.keep]()
    return Method(optimizer, keeper, make_objective(settings), execution)
