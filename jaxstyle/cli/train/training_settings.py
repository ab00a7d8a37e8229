"""The settings of ``jaxstyle train``: what shapes a net, and where a run is kept."""

import argparse
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optax

from jaxstyle.cli.settings import (
    LOSS_CHOICES,
    check_blend,
    check_choices,
    find_overrides,
)
from jaxstyle.files import run_log
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.style_files import load_style
from jaxstyle.losses.objective import PRECISIONS
from jaxstyle.nets.transform_net import NORMS, SMALLEST_SIDE, net_norm, net_width
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainingPreset

OVERRIDES = (
    "steps",
    "batch",
    "size",
    "style_size",
    "learning_rate",
    "halve_every",
    "width",
    "norm",
    "precision",
    "vgg",
    "activations",
    "pooling",
    "padding",
    "style_loss",
    "stability",
)
"""The arguments that replace a preset's setting of the same name."""

CHOICES: Mapping[str, Collection[str]] = {
    "norm": NORMS,
    "precision": PRECISIONS,
    **LOSS_CHOICES,
}
"""The names that a setting may have."""

CHECKPOINTS, PICTURES = "checkpoints", "pictures"
SETTINGS, STYLE, PLOT = "settings.json", "style.safetensors", "loss.png"
"""What lies in the folder of a run, beside the logs."""

OUTPUTS = (SETTINGS, STYLE, PLOT, PICTURES, run_log.METRICS, CHECKPOINTS)

LEAVES_NUMBERS_ALONE = ("summary", "steps")
"""The settings that may change when a run goes on."""


def choose_settings(arguments: argparse.Namespace) -> TrainingPreset:
    """Return the preset with what the arguments replace in it.

    The weight of the total variation is of the kind that the preset has.

    Raises:
        ValueError: a setting has a name that is not known, or the crops are too small.
    """
    preset = TRAINING_PRESETS[arguments.preset]
    given = find_overrides(arguments, preset, OVERRIDES)
    if arguments.total_variation is not None:
        absolute = preset.absolute_variation > 0
        kind = "absolute_variation" if absolute else "total_variation"
        given[kind] = arguments.total_variation
    if arguments.init:
        given |= _describe_start(arguments)
    chosen = replace(preset, **given)
    check_choices(chosen, CHOICES)
    if chosen.size < SMALLEST_SIDE:
        raise ValueError(
            f"--size {chosen.size} is too small: nets need {SMALLEST_SIDE} pixels or "
            "more"
        )
    return chosen


def _describe_start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the net to start from has.

    Raises:
        ValueError: the arguments ask for a net that it is not.
    """
    net = load_style(arguments.init)
    found = {"width": net_width(net), "norm": net_norm(net)}
    for name, value in found.items():
        wanted = getattr(arguments, name)
        if wanted not in (None, value):
            raise ValueError(
                f"--{name} {wanted}, but {arguments.init} has {value}; leave out "
                f"--{name} or --init"
            )
    return {**found, "negative_slope": float(net["negative_slope"])}


def make_optimizer(settings: TrainingPreset) -> optax.GradientTransformation:
    """Return Adam with the settings' schedule."""
    rate, every = settings.learning_rate, settings.halve_every
    if every is None:
        return optax.adam(rate)
    return optax.adam(optax.exponential_decay(rate, every, 0.5, staircase=True))


def describe_settings(settings: TrainingPreset) -> dict[str, Any]:
    """Return the settings that shape the numbers, for `find_differences`."""
    values = asdict(settings)
    return {key: values[key] for key in values if key not in LEAVES_NUMBERS_ALONE}


# --- the folder of a run ------------------------------------------------------------


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise a ValueError unless no input is lost and the run may be in its folder."""
    check_blend(arguments.blend, arguments.styles)
    folder = Path(arguments.output)
    for path in (*arguments.styles, arguments.vgg or "", arguments.init or ""):
        resolved = Path(path).resolve()
        for name in OUTPUTS:
            if (folder / name).resolve() in (resolved, *resolved.parents):
                raise ValueError(f"{path} is an input; the run would write over it")
    data = Path(arguments.data).resolve()
    if data.is_dir() and data in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(
            f"the folder of the run, {folder}, lies in the data, {arguments.data}; "
            "its pictures would become data; choose another folder"
        )
    if arguments.resume:
        _check_something_is_there(folder)
    else:
        _check_nothing_is_there(folder)


def _check_something_is_there(folder: Path) -> None:
    if not find_checkpoints(folder / CHECKPOINTS):
        raise ValueError(
            f"there is no checkpoint in {folder} to go on from; start a run there "
            "without --resume"
        )


def _check_nothing_is_there(folder: Path) -> None:
    """Raise if a run would overwrite something."""
    found = [name for name in OUTPUTS if (folder / name).exists()]
    if CHECKPOINTS in found and not find_checkpoints(folder / CHECKPOINTS):
        found.remove(CHECKPOINTS)  # a run was killed before it had begun
    if found:
        raise ValueError(
            f"{folder} holds a run already ({', '.join(found)}); go on with it by "
            "--resume, or choose another folder"
        )


def make_folder(folder: Path) -> None:
    """Make the folder of a run, and see that files can be written there.

    Raises:
        ValueError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"cannot write to the folder {folder}: {reason}") from error
