"""The settings of ``jaxstyle train``: what shapes a net, and where a run is kept."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import optax

from jaxstyle.cli.options import describe_config
from jaxstyle.cli.settings import check_blend
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.files import run_log
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.style_files import (
    check_transform_net,
    find_style,
    load_style_file,
)
from jaxstyle.nets.transform_net import SMALLEST_SIDE, net_norm, net_width
from jaxstyle.training.recipes import TrainConfig

CHECKPOINTS, PICTURES = "checkpoints", "pictures"
SETTINGS, STYLE, PLOT = "settings.json", "style.safetensors", "loss.png"
"""What lies in the folder of a run, beside the logs."""

OUTPUTS = (SETTINGS, STYLE, PLOT, PICTURES, run_log.METRICS, CHECKPOINTS)

LEAVES_NUMBERS_ALONE = ("steps",)
"""The settings that may change when a run continues."""


def choose_settings(arguments: TrainOptions) -> TrainConfig:
    """Complete the settings by those of the net that training starts from.

    Raises:
        ValueError: that net is not the one that is asked for, or the crops are too
            small.
    """
    settings = arguments.config
    if arguments.init:
        settings = replace(settings, **_describe_start(arguments))
    if settings.size < SMALLEST_SIDE:
        raise ValueError(
            f"--size {settings.size} is too small: nets need {SMALLEST_SIDE} pixels or "
            "more"
        )
    return settings


def _describe_start(arguments: TrainOptions) -> dict[str, Any]:
    """Read the settings of the net that training starts from.

    Raises:
        ValueError: others are given, or it is not a transform net.
    """
    net, metadata = load_style_file(find_style(str(arguments.init)))
    check_transform_net(metadata, name=str(arguments.init))
    found = {"width": net_width(net), "norm": net_norm(net)}
    for name, value in found.items():
        wanted = arguments.given.get(name, value)
        if wanted != value:
            raise ValueError(
                f"--{name} {wanted}, but {arguments.init} has {value}; leave out "
                f"--{name} or --init"
            )
    return {**found, "negative_slope": float(net["negative_slope"])}


def make_optimizer(settings: TrainConfig) -> optax.GradientTransformation:
    """Return Adam with the settings' schedule."""
    rate, every = settings.learning_rate, settings.halve_every
    if every is None:
        return optax.adam(rate)
    return optax.adam(optax.exponential_decay(rate, every, 0.5, staircase=True))


def describe_settings(settings: TrainConfig) -> dict[str, Any]:
    """Record the settings that shape the numbers, for `find_differences`."""
    values = describe_config(settings)
    return {key: values[key] for key in values if key not in LEAVES_NUMBERS_ALONE}


# --- the folder of a run ------------------------------------------------------------


def check_arguments(arguments: TrainOptions) -> None:
    """Raise a ValueError unless no input is lost and the run may be in its folder."""
    loss = arguments.config.loss
    check_blend(loss.blend, arguments.styles)
    folder = Path(arguments.output)
    for path in (*arguments.styles, loss.vgg, arguments.init or ""):
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
