"""A training of the decoder: its options, what it reads, and where it starts.

The folder of a run gets::

    photos/, paintings/  all photographs and paintings as raw pixels
    checkpoints/         the states to resume from
    metrics.jsonl        the parts of the loss, and measurements
    sheet.png            photographs that came back from each level
    decoder.safetensors  the decoder at the last evaluation
    final.safetensors    that at the end, in float32; --start takes it

A run that was killed resumes from its newest checkpoint exactly as if it had not been.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import UInt8

from jaxstyle.cli.options import Options
from jaxstyle.data.photo_album import (
    Album,
    center_squares,
    draw_crops,
    hold_out,
    open_album,
)
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.files.param_files import check_params, digest_params, load_params
from jaxstyle.losses.config import (
    REQUIRED,
    option,
    positive_float,
    seed_number,
)
from jaxstyle.transport.closed_form import fit_decoder
from jaxstyle.transport.decoder import hidden_channels, init_decoder
from jaxstyle.transport.decoder_steps import State, init_state, make_optimizer
from jaxstyle.transport.encoder import LEVELS, encode_photos, level_stride
from jaxstyle.vgg import params as vgg_params

CHECKPOINTS = "checkpoints"

CONFIGURATION = ("batch", "crop", "width", "fitted", "seed")
"""The options that must not change when a run is resumed."""

PAINTING = 256
"""The side of crops of paintings, in pixels."""

STRIDE = level_stride(len(LEVELS))
"""The sides of crops are multiples of this many pixels."""

HELD_OUT, SQUARE = 24, 256
"""The number of photographs to measure on, and the side of their squares, in pixels."""

FITTED = {"batch": 8, "crop": 256}
"""The crops from which a decoder is fitted in closed form."""

SAMPLES = 2048
"""The number of positions of a level and a batch for the closed form."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions(Options):
    """The options of ``scripts/train_decoder.py``."""

    photos: Sequence[str] = option(
        REQUIRED, "folders of photographs", metavar="FOLDER", nargs="+"
    )
    paintings: Sequence[str] = option(
        REQUIRED, "folders of paintings", metavar="FOLDER", nargs="+"
    )
    out: str = option(REQUIRED, "the folder for all results", metavar="FOLDER")
    start: str = option(
        "", "train on from the parameters of another run", metavar="FILE"
    )
    steps: int = option(4000, "the steps, in all")
    hours: float = option(math.inf, "end after N hours", parse=positive_float)
    batch: int = option(2, "crops in a step")
    crop: int = option(192, "the side of crops, in pixels")
    width: float = option(
        0.5, "channels within blocks; 1 for as many as in VGG's", parse=positive_float
    )
    fitted: int = option(12, "batches for the closed form")
    evaluate_every: int = option(100, "measure every N steps")
    seed: int = option(0, "of parameters and crops", parse=seed_number)
    quiet: bool = option(False, "show no progress")


class Run(NamedTuple):
    """All that stays the same while a decoder is trained; VGG is normalized.

    It starts from the closed form if there are no parameters to start from. What it
    learns is measured on squares of photographs that are held out.
    """

    options: DecoderOptions
    vgg: Mapping[str, Any]
    album: Album
    paintings: Album
    squares: UInt8[np.ndarray, "n h w 3"]
    start: Mapping[str, Any] | None
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """The folder of all results."""
        return Path(self.options.out)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer, whose rate depends on the number of steps."""
        return make_optimizer(self.options.steps)

    @property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint must have been made with to resume from it."""
        found = {name: getattr(self.options, name) for name in CONFIGURATION}
        found["photos"] = self.album.digest
        found["paintings"] = self.paintings.digest
        if self.start is not None:
            found["start"] = digest_params(self.start)
        return found

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the crops of a step, and one of a painting."""
        drawn = partial(draw_crops, seed=self.options.seed, step=step)
        batch, crop = self.options.batch, self.options.crop
        (painting,) = drawn(self.paintings, batch=1, crop=PAINTING)
        return drawn(self.album, batch=batch, crop=crop), painting


def open_run(
    options: DecoderOptions, vgg: Mapping[str, Any], *, say: Callable[[str], None]
) -> Run:
    """Read what a run needs, and decode the photographs if it is new.

    A ValueError says if they are not those of the run, if a size does not fit, or if
    the parameters to start from cannot be used.
    """
    check_options(options)

    def open_photos(name: str, folders: Sequence[str], smallest: int) -> Album:
        sources, folder = list(map(Path, folders)), Path(options.out, name)
        return open_album(folder, sources, smallest=smallest, say=say)

    photos = open_photos("photos", options.photos, max(SQUARE, options.crop))
    album, unseen = hold_out(photos, HELD_OUT)
    say(f"{len(album.names)} photographs to train on, {len(unseen.names)} held out")
    paintings = open_photos("paintings", options.paintings, PAINTING)
    say(f"{len(paintings.names)} paintings")
    vgg = vgg_params.normalize(vgg_params.truncate(vgg, LEVELS))
    start = load_start(options, vgg) if options.start else None
    squares = center_squares(unseen, SQUARE)
    return Run(options, vgg, album, paintings, squares, start, say)


def check_options(options: DecoderOptions) -> None:
    """Raise a ValueError if crops do not fit, or results would be among the photos."""
    if options.crop % STRIDE or options.crop < 2 * STRIDE:
        raise ValueError(
            f"--crop must be a multiple of {STRIDE}, at least {2 * STRIDE}, got "
            f"{options.crop}"
        )
    for folder in (*options.photos, *options.paintings):
        if Path(options.out).resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(
                f"the output {options.out} is within the photographs; name a folder "
                "outside, so that no sheet is taken for one"
            )


# --- where to start -----------------------------------------------------------------


def find_start(run: Run) -> State:
    """Load the state of the newest checkpoint, or make that before the first step.

    A ValueError says if the checkpoint is of other settings or photographs.
    """
    folder = run.folder / CHECKPOINTS
    if not find_checkpoints(folder):
        params = fit(run) if run.start is None else run.start
        # Copies: the state's arrays are given away to steps, the run's are kept.
        return init_state(jax.tree.map(jnp.array, params), run.optimizer)
    like = jax.eval_shape(
        lambda: init_state(make_decoder(run.options, run.vgg), run.optimizer)
    )
    state = load_checkpoint(folder, lambda _: like, run.configuration, say=run.say)
    run.say(f"resuming from step {int(state.step)}")
    return jax.tree.map(jnp.asarray, state)


def make_decoder(options: DecoderOptions, vgg: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the parameters of a new decoder."""
    channels = [vgg[layer.replace("relu", "conv")]["bias"].size for layer in LEVELS]
    hidden = hidden_channels(channels, width=options.width)
    return init_decoder(jax.random.key(options.seed), channels, hidden=hidden)


def fit(run: Run) -> dict[str, Any]:
    """Fit a decoder in closed form."""
    encode, seed, count = jax.jit(encode_photos), run.options.seed, run.options.fitted

    def draw(number: int) -> list[np.ndarray]:
        # Another seed than that of the steps, which see crops of other places.
        crops = draw_crops(run.album, seed=seed + 1, step=number, **FITTED)
        if number % 10 == 0:
            run.say(f"closed form: {number} of {count} batches")
        return [np.asarray(maps) for maps in encode(run.vgg, crops)]

    batches = map(draw, range(count))
    decoder = make_decoder(run.options, run.vgg)
    return fit_decoder(decoder, batches, samples=SAMPLES, seed=seed)


def load_start(options: DecoderOptions, vgg: Mapping[str, Any]) -> dict[str, Any]:
    """Load the parameters to start from; a ValueError if their shapes do not fit."""
    path = Path(options.start)
    params, _ = load_params(path)
    like = jax.eval_shape(lambda: make_decoder(options, vgg))
    check_params(params, jax.tree.map(lambda x: x.shape, like), path=path)
    return params
