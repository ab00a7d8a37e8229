"""What ``jaxstyle train`` reads: settings, paintings, photos, a VGG, a first net."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.cli.loss_inputs import check_blend, load_paintings, load_params
from jaxstyle.cli.options import describe_config, describe_options
from jaxstyle.cli.runtime import versions
from jaxstyle.cli.train.train_options import NO_CACHE, TrainOptions
from jaxstyle.data.batches import Report, validation_batches
from jaxstyle.data.sources import Source, hold_out, open_source
from jaxstyle.files import run_log, style_files
from jaxstyle.files.atomic import explained
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.param_files import digest_params
from jaxstyle.images.arrays import Image
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    Params,
    net_noise,
    net_norm,
    net_upsampling,
    net_width,
)
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import layers, network

CHECKPOINTS, PICTURES = "checkpoints", "pictures"
SETTINGS, STYLE, PLOT = "settings.json", "style.safetensors", "loss.png"
"""The contents of the folder of a run, beside the logs."""

OUTPUTS = (SETTINGS, STYLE, PLOT, PICTURES, run_log.METRICS, CHECKPOINTS)

# --- settings -----------------------------------------------------------------------


def choose_settings(arguments: TrainOptions) -> TrainConfig:
    """Complete the settings by those of the net that training starts from.

    A ValueError says if that net is another one, or if the crops are too small.
    """
    settings = arguments.config
    if arguments.init:
        settings = replace(settings, **_describe_start(arguments, arguments.init))
    if settings.size < SMALLEST_SIDE:
        raise ValueError(
            f"--size {settings.size} is too small: nets need {SMALLEST_SIDE} pixels or "
            "more"
        )
    return settings


def _describe_start(arguments: TrainOptions, init: str) -> dict[str, Any]:
    """Read the settings of the net that training starts from."""
    net, metadata = style_files.load_style_file(style_files.find_style(init))
    style_files.check_transform_net(metadata, name=init)
    found = {
        "width": net_width(net),
        "norm": net_norm(net),
        "upsampling": net_upsampling(net),
        "noise": net_noise(net),
    }
    for name, value in found.items():
        wanted = arguments.given.get(name, value)
        if wanted != value:
            raise ValueError(
                f"--{name} {wanted}, but {init} has {value}; leave out --{name} or "
                "--init"
            )
    return {**found, "negative_slope": float(net["negative_slope"])}


def describe_settings(settings: TrainConfig) -> dict[str, Any]:
    """Record the settings that shape the numbers, and so not that of steps."""
    values = describe_config(settings)
    del values["steps"]
    return values


# --- the folder of a run ------------------------------------------------------------


def check_arguments(arguments: TrainOptions) -> None:
    """Raise a ValueError unless no input is lost and the run may be in its folder."""
    loss = arguments.config.loss
    check_blend(loss, arguments.styles)
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
    begun = find_checkpoints(folder / CHECKPOINTS)
    found = [name for name in OUTPUTS if (folder / name).exists()]
    if not begun and CHECKPOINTS in found:  # a run was killed before it had begun
        found.remove(CHECKPOINTS)
    if arguments.resume and not begun and (found or not folder.is_dir()):
        raise ValueError(
            f"there is no checkpoint in {folder} to go on from; start a run there "
            "without --resume"
        )
    if found and not arguments.resume:
        raise ValueError(
            f"{folder} holds a run already ({', '.join(found)}); go on with it by "
            "--resume, or choose another folder"
        )


def make_folder(folder: Path) -> None:
    """Make the folder of a run; a ValueError if no file can be written there."""
    with explained(f"cannot write to the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


# --- files --------------------------------------------------------------------------


class Inputs(NamedTuple):
    """What was read from files.

    Attributes:
        styles: the paintings as the VGG sees them.
        params: the VGG's.
        start: the net to start from, unless it is a new one.
        photos: what to train on.
        held_out: what to measure the loss on.
        report: which photos were repaired or skipped so far.
        configuration: all that shapes the numbers, for checkpoints.
    """

    styles: list[Image]
    params: network.VGGParams
    start: Params | None
    photos: Source
    held_out: UInt8[np.ndarray, "n size size 3"]
    report: Report
    configuration: Mapping[str, Any]


def load_inputs(arguments: TrainOptions, settings: TrainConfig) -> Inputs:
    """Read and check the VGG, the paintings and the data."""
    params = load_params(settings.loss)
    deepest, smallest = layers.layer_names(params)[-1], layers.smallest_side(params)
    if settings.size < smallest:
        raise ValueError(
            f"--size {settings.size} is too small: {deepest} needs {smallest} pixels "
            "or more"
        )
    styles = load_paintings(arguments.styles, settings.style_size, params)
    start = style_files.load_style(arguments.init) if arguments.init else None
    source = open_source(arguments.data, data_dir=arguments.data_dir)
    if len(source) < settings.batch + arguments.validation:
        raise ValueError(
            f"{source.name} holds {len(source)} images, too few for a batch of "
            f"{settings.batch} beside {arguments.validation} held out; use a smaller "
            "--batch or --validation"
        )
    photos, validation = hold_out(source, arguments.validation)
    report = Report()
    squares = validation_batches(validation, size=settings.size, batch=1, report=report)
    cache, files = arguments.data_cache, map(Path, arguments.styles)
    configuration = {
        **describe_settings(settings),
        "vgg": digest_params(params),
        "styles": [hashlib.sha256(x.read_bytes()).hexdigest()[:16] for x in files],
        "data": photos.fingerprint,
        "data_cache": None if cache == NO_CACHE else cache,
        "seed": arguments.seed,
        "init": start and digest_params(start),
    }
    held_out = np.concatenate(list(squares))
    return Inputs(styles, params, start, photos, held_out, report, configuration)


def make_record(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> dict[str, Any]:
    """Record how a net is trained, for its file."""
    photos = inputs.photos
    return {
        "arguments": describe_options(arguments),
        "settings": describe_config(settings),
        "data": {"name": photos.name, "fingerprint": photos.fingerprint},
        "start": inputs.configuration["init"],
        "versions": versions(),
    }
