"""What ``jaxstyle train`` works with: paintings, photos, a network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.cli.settings import load_params, load_styles
from jaxstyle.cli.train.train_options import NO_CACHE, TrainOptions
from jaxstyle.cli.train.training_settings import describe_settings
from jaxstyle.data.batches import Report, validation_batches
from jaxstyle.data.sources import Source, hold_out, open_source
from jaxstyle.files.param_files import digest_params
from jaxstyle.files.style_files import load_style
from jaxstyle.images.arrays import Image
from jaxstyle.nets import transform_net
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import layers, network


class Inputs(NamedTuple):
    """What was read from files.

    Attributes:
        styles: the paintings as the network sees them.
        params: the network's parameters.
        start: the net to start from, unless it is a new one.
        photos: what to train on.
        held_out: what to measure the loss on, ``[n, size, size, 3]``.
        report: what was wrong with photos so far.
        configuration: all that shapes the numbers, for checkpoints.
    """

    styles: list[Image]
    params: network.VGGParams
    start: transform_net.Params | None
    photos: Source
    held_out: UInt8[np.ndarray, "n h w 3"]
    report: Report
    configuration: Mapping[str, Any]


def load_inputs(arguments: TrainOptions, settings: TrainConfig) -> Inputs:
    """Read and check the network, the paintings and the data."""
    params = load_params(settings.loss)
    _check_crops(settings.size, params)
    styles = load_styles(arguments.styles, settings.style_size, params)
    start = load_style(arguments.init) if arguments.init else None
    source = open_source(arguments.data, data_dir=arguments.data_dir)
    _check_count(source, batch=settings.batch, held_out=arguments.validation)
    photos, validation = hold_out(source, arguments.validation)
    report = Report()
    held_out = np.concatenate(
        list(validation_batches(validation, size=settings.size, batch=1, report=report))
    )
    configuration = {
        **describe_settings(settings),
        "vgg": digest_params(params),
        "styles": [_digest_file(path) for path in arguments.styles],
        "data": photos.fingerprint,
        "data_cache": None
        if arguments.data_cache == NO_CACHE
        else arguments.data_cache,
        "seed": arguments.seed,
        "init": start and digest_params(start),
    }
    return Inputs(styles, params, start, photos, held_out, report, configuration)


def _check_crops(size: int, params: network.VGGParams) -> None:
    deepest, smallest = (
        layers.layer_names(params)[-1],
        layers.smallest_side(params),
    )
    if size < smallest:
        raise ValueError(
            f"--size {size} is too small: {deepest} needs {smallest} pixels or more"
        )


def _check_count(source: Source, *, batch: int, held_out: int) -> None:
    if len(source) < batch + held_out:
        raise ValueError(
            f"{source.name} holds {len(source)} images, too few for a batch of {batch} "
            f"beside {held_out} held out; use a smaller --batch or --validation"
        )


def _digest_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
