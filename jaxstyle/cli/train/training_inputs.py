"""What ``jaxstyle train`` reads: settings, paintings, photos, a VGG, a first net."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxstyle.cli.loss_inputs import (
    check_blend,
    load_paintings,
    load_params,
    smallest_side,
)
from jaxstyle.cli.options import describe_config, describe_options
from jaxstyle.cli.runtime import versions
from jaxstyle.cli.train.train_options import NO_CACHE, SETTINGS, TrainOptions
from jaxstyle.cli.train.training_kinds import (
    KINDS,
    MANY,
    Examples,
    Kind,
    Squares,
    choose_kind,
)
from jaxstyle.data.batches import Report, validation_batches
from jaxstyle.data.sources import FileSource, Source, hold_out, open_source
from jaxstyle.files import run_log, style_files, trunk_files
from jaxstyle.files.atomic import explained
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.param_files import digest_params, load_header
from jaxstyle.images.arrays import Image
from jaxstyle.losses.config import LossConfig
from jaxstyle.nets.mixtures import mix_styles
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    Params,
    net_noise,
    net_norm,
    net_upsampling,
    net_width,
)
from jaxstyle.training.many_styles import Aims, Pairs, predict_net
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import layers, network

CHECKPOINTS, PICTURES = "checkpoints", "pictures"
PLOT = "loss.png"
"""The contents of the folder of a run, beside the logs and the result."""

SHOWN, SHOWN_SIDE = 3, 384
"""How many held-out photos a sheet of pictures shows, and their least side."""

PART_OF_PAINTING = 5 / 8
"""The side of squares of paintings beside the longer side of whole ones."""

RESULTS = tuple(kind.result for kind in KINDS)

OUTPUTS = (SETTINGS, *RESULTS, PLOT, PICTURES, run_log.METRICS, CHECKPOINTS)

# --- settings -----------------------------------------------------------------------


def choose_settings(arguments: TrainOptions) -> TrainConfig:
    """Complete the settings by those of the net that training starts from.

    A ValueError says if that net is another one, if the crops are too small, or if
    something does not go with many styles.
    """
    settings = arguments.config
    if settings.init:
        settings = replace(settings, **_describe_start(arguments, settings.init))
    if settings.size < SMALLEST_SIDE:
        raise ValueError(
            f"--size {settings.size} is too small: nets need {SMALLEST_SIDE} pixels or "
            "more"
        )
    if choose_kind(settings.loss, len(arguments.styles)) is MANY:
        _check_many(arguments, settings)
    elif settings.only == "norms" and settings.norm != "affine":
        raise ValueError(
            f"--only norms, but the norms of --norm {settings.norm} are not trained; "
            "leave out one of the two"
        )
    return settings


def _describe_start(arguments: TrainOptions, init: str) -> dict[str, Any]:
    """Read the settings of the net that training starts from."""
    net = _load_start(init)
    net = net.get("net", net)  # of a net of many styles
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
                f"--{name} {wanted}, but {init}, where training starts, has {value}; "
                f"leave out --{name}, or choose another --init or --preset"
            )
    return {**found, "negative_slope": float(net["negative_slope"])}


def _check_many(arguments: TrainOptions, settings: TrainConfig) -> None:
    """Raise a ValueError for options that do not go with a net of many styles."""
    if arguments.data_cache != NO_CACHE:
        raise ValueError(
            f"--data-cache {arguments.data_cache} goes with one style or a blend; "
            "leave it out to train many styles"
        )
    if settings.predict == "norms" and settings.norm != "affine":
        raise ValueError(
            f"--norm {settings.norm} has nothing to predict; use --norm affine or "
            "--predict kernels"
        )
    if settings.only != "net":
        raise ValueError(
            f"--only {settings.only} goes with one style or a blend; leave it out to "
            "train many styles"
        )


def _load_start(init: str) -> dict[str, Any]:
    """Read the transform net, or the net of many styles, that training starts from."""
    path = style_files.find_style(init)
    if style_files.is_trunk(load_header(path)[1]):
        return trunk_files.load_trunk(path)[0]
    net, metadata = style_files.load_style_file(path)
    style_files.check_transform_net(metadata, name=init)
    return net


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
    for path in (*arguments.styles, loss.vgg, arguments.config.init or ""):
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
        kind: what is trained.
        styles: the paintings as the VGG sees them; none if they are styles of their
            own.
        paintings: those that are.
        squares: their centers.
        params: the VGG's.
        start: the parameters to start from, unless they are new ones.
        photos: what to train on.
        held_out: what to measure the loss on.
        shown: the first of these, larger, for pictures.
        report: which photos were repaired or skipped so far.
        configuration: all that shapes the numbers, for checkpoints.
    """

    kind: Kind
    styles: list[Image]
    paintings: Source | None
    squares: Squares
    params: network.VGGParams
    start: Params | None
    photos: Source
    held_out: Squares
    shown: Squares
    report: Report
    configuration: Mapping[str, Any]

    @property
    def examples(self) -> Examples | None:
        """The paintings if they are styles."""
        if self.paintings is None:
            return None
        return Examples(self.params, self.squares)

    def make_batches(
        self, photos: Squares, aim: Callable[[Squares], Aims]
    ) -> Iterator[Squares | Pairs]:
        """Yield batches of one photo, of a pair if paintings are styles, in turns."""
        for index in range(len(photos)):
            photo = photos[index : index + 1]
            if self.paintings is None:
                yield photo
            else:
                place = index % len(self.squares)
                yield Pairs(photo, aim(self.squares[place : place + 1]))


def load_inputs(arguments: TrainOptions, settings: TrainConfig) -> Inputs:
    """Read and check the VGG, the paintings and the data."""
    params = load_params(settings.loss)
    deepest = layers.layer_names(params)[-1]
    smallest = smallest_side(settings.loss, params)
    if settings.size < smallest:
        raise ValueError(
            f"--size {settings.size} is too small: {deepest} needs {smallest} pixels "
            "or more"
        )
    report, size = Report(), settings.size
    kind = choose_kind(settings.loss, len(arguments.styles))
    styles, paintings, squares = [], None, np.zeros((0, 1, 1, 3), np.uint8)
    if kind is MANY:
        files = [(path, Path(path)) for path in arguments.styles]
        paintings = FileSource(f"{len(files)} paintings", files)
        squares = read_paintings(paintings, size=painting_side(settings))
    else:
        styles = load_paintings(
            arguments.styles, settings.style_size, settings.loss, params
        )
    init = None if settings.init is None else _load_start(settings.init)
    start = init and choose_start(init, params, styles, settings.loss)
    source = open_source(arguments.data, data_dir=arguments.data_dir)
    if len(source) < settings.batch + arguments.validation:
        raise ValueError(
            f"{source.name} holds {len(source)} images, too few for a batch of "
            f"{settings.batch} beside {arguments.validation} held out; use a smaller "
            "--batch or --validation"
        )
    photos, validation = hold_out(source, arguments.validation)
    cache, images = arguments.data_cache, map(Path, arguments.styles)
    configuration = {
        **describe_settings(settings),
        "vgg": digest_params(params),
        "styles": [hashlib.sha256(x.read_bytes()).hexdigest()[:16] for x in images],
        "data": photos.fingerprint,
        "data_cache": None if cache == NO_CACHE else cache,
        "seed": arguments.seed,
        "init": init and digest_params(init),
    }
    held_out = read_centers(validation, size=size, report=report)
    shown = choose_shown(validation, held_out)
    return Inputs(
        *(kind, styles, paintings, squares, params, start),
        *(photos, held_out, shown, report, configuration),
    )


def read_centers(
    source: Source, *, size: int, report: Report | None = None, most: int | None = None
) -> Squares:
    """Read the center square of every image, or of the first few."""
    squares = validation_batches(source, size=size, batch=1, report=report)
    with closing(squares):
        return np.concatenate(list(islice(squares, most)))


def choose_shown(source: Source, held_out: Squares) -> Squares:
    """Choose the photos of sheets: larger than held-out squares if photos are large."""
    side = max(SHOWN_SIDE, held_out.shape[1])
    try:
        return read_centers(source, size=side, most=SHOWN)
    except ValueError:  # all have far too few pixels
        return held_out[:SHOWN]


def painting_side(settings: TrainConfig) -> int:
    """Choose the side of squares of paintings: most of a painting, or as of photos."""
    return max(settings.size, int(PART_OF_PAINTING * settings.style_size))


def read_paintings(paintings: Source, *, size: int) -> Squares:
    """Read the centers of paintings; a ValueError names those that are damaged."""
    report = Report()
    squares = read_centers(paintings, size=size, report=report)
    if reasons := report.reasons:
        name, reason = next(iter(reasons.items()))
        raise ValueError(f"cannot read the painting {name}: {reason}")
    return squares


def choose_start(
    init: Params,
    params: network.VGGParams,
    styles: Sequence[Image],
    loss: LossConfig,
) -> Params:
    """Choose the parameters that training starts from, given those of ``--init``.

    A net of many styles goes on as one, or predicts a net for a painting; for a blend,
    the mean of those of its paintings.
    """
    if "predictor" not in init or not styles:
        return init
    predict = jax.jit(predict_net)
    nets = [predict(init, params, style) for style in styles]
    shares = loss.blend if isinstance(loss.blend, Sequence) else [1.0] * len(nets)
    return nets[0] if len(nets) == 1 else mix_styles(nets, shares)


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
