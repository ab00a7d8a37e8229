"""A training of the decoder: its options, what it reads, and where it starts.

The folder of a run gets::

    photos/              all photographs as raw pixels
    blocks/, chain/      of each stage: checkpoints, metrics.jsonl, sheet.png
    decoder.safetensors  the decoder at its last evaluation

A run that was killed resumes from its newest checkpoint exactly as if it had not been.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.cli.options import Options
from jaxstyle.cli.train.reconstructions import Judge
from jaxstyle.data import photo_album
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.files.param_files import check_params, digest_params, load_params
from jaxstyle.losses.config import (
    REQUIRED,
    option,
    positive_float,
    positive_int,
    seed_number,
)
from jaxstyle.transport.closed_form import fit_decoder
from jaxstyle.transport.decoder import hidden_channels, init_decoder
from jaxstyle.transport.decoder_steps import State, encode_photos, init_state
from jaxstyle.transport.encoder import LEVELS
from jaxstyle.vgg import params as vgg_params

STAGES = ("blocks", "chain")

CHECKPOINTS, SHEET, DECODER = "checkpoints", "sheet.png", "decoder.safetensors"

FINAL = "final.safetensors"
"""The parameters at the end of a stage, in float32."""

CONFIGURATION = ("stage", "batch", "crop", "width", "echo", "fitted", "seed")
"""The options that must not change when a run is resumed."""

STRIDE = 16
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
    out: str = option(REQUIRED, "the folder for all results", metavar="FOLDER")
    stage: str = option("blocks", "what to train", choices=STAGES)
    steps: int = option(16000, "the steps of the stage, in all", parse=positive_int)
    hours: float = option(math.inf, "end after N hours", parse=positive_float)
    batch: int = option(16, "crops in a step", parse=positive_int)
    crop: int = option(128, "the side of crops, in pixels", parse=positive_int)
    width: float = option(
        0.5, "channels within blocks; 1 for as many as in VGG's", parse=positive_float
    )
    echo: int = option(4, "how many times crops are used", parse=positive_int)
    fitted: int = option(12, "batches for the closed form", parse=positive_int)
    evaluate_every: int = option(500, "measure every N steps", parse=positive_int)
    seed: int = option(0, "of parameters and crops", parse=seed_number)
    quiet: bool = option(False, "show no progress")


class Run(NamedTuple):
    """All that stays the same while a decoder is trained; VGG is normalized."""

    options: DecoderOptions
    vgg: Mapping[str, Any]
    album: photo_album.Album
    judge: Judge
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """The folder of the stage."""
        return Path(self.options.out, self.options.stage)

    @property
    def is_first(self) -> bool:
        """Whether the stage is the first one."""
        return self.options.stage == STAGES[0]

    @property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint must have been made with to resume from it."""
        found = {name: getattr(self.options, name) for name in CONFIGURATION}
        found["photos"] = self.album.digest
        if not self.is_first:
            found["start"] = digest_params(load_blocks(self))
        return found

    def draw(self, step: int) -> np.ndarray:
        """Draw the crops of a step."""
        options = self.options
        return photo_album.draw_crops(
            self.album,
            seed=options.seed,
            step=step,
            batch=options.batch,
            crop=options.crop,
        )


def open_run(
    options: DecoderOptions, vgg: Mapping[str, Any], *, say: Callable[[str], None]
) -> Run:
    """Read what a run needs, and decode the photographs if it is new.

    A ValueError says if they are not those of the run, or if a size does not fit.
    """
    check_options(options)
    album, unseen = photo_album.hold_out(
        photo_album.open_album(
            Path(options.out, "photos"),
            [Path(folder) for folder in options.photos],
            smallest=max(SQUARE, options.crop),
            say=say,
        ),
        HELD_OUT,
    )
    say(f"{len(album.names)} photographs to train on, {len(unseen.names)} held out")
    vgg = vgg_params.normalize(vgg_params.truncate(vgg, LEVELS))
    run = Run(
        options, vgg, album, Judge(vgg, photo_album.center_squares(unseen, SQUARE)), say
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    return run


def check_options(options: DecoderOptions) -> None:
    """Raise a ValueError if crops do not fit, or results would be among the photos."""
    if options.crop % STRIDE or options.crop < 2 * STRIDE:
        raise ValueError(
            f"--crop must be a multiple of {STRIDE}, at least {2 * STRIDE}, got "
            f"{options.crop}"
        )
    for folder in options.photos:
        if Path(options.out).resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(
                f"the output {options.out} is within the photographs; name a folder "
                "outside, so that no sheet is taken for one"
            )


# --- where to start -----------------------------------------------------------------


def find_start(run: Run) -> State:
    """Load the state of the newest checkpoint, or make that before the first step.

    A ValueError says if the checkpoint is of other settings or photographs, or if there
    are no blocks yet for a chain to start from.
    """
    folder = run.folder / CHECKPOINTS
    if not find_checkpoints(folder):
        run.say(f"stage {run.options.stage}: from the beginning")
        params = fit(run) if run.is_first else load_blocks(run)
        return init_state(jax.tree.map(jnp.asarray, params))
    like = jax.eval_shape(lambda: init_state(make_decoder(run)))
    state = load_checkpoint(folder, lambda _: like, run.configuration, say=run.say)
    run.say(f"stage {run.options.stage}: resuming from step {int(state.step)}")
    return jax.tree.map(jnp.asarray, state)


def make_decoder(run: Run) -> dict[str, Any]:
    """Draw the parameters of a new decoder."""
    channels = [run.vgg[layer.replace("relu", "conv")]["bias"].size for layer in LEVELS]
    hidden = hidden_channels(channels, width=run.options.width)
    return init_decoder(jax.random.key(run.options.seed), channels, hidden=hidden)


def fit(run: Run) -> dict[str, Any]:
    """Fit a decoder in closed form."""
    encode, seed, count = jax.jit(encode_photos), run.options.seed, run.options.fitted

    def draw(number: int) -> list[np.ndarray]:
        # Another seed than that of the steps, which see crops of other places.
        crops = photo_album.draw_crops(run.album, seed=seed + 1, step=number, **FITTED)
        if number % 10 == 0:
            run.say(f"closed form: {number} of {count} batches")
        return [np.asarray(maps) for maps in encode(run.vgg, crops)]

    batches = map(draw, range(count))
    return fit_decoder(make_decoder(run), batches, samples=SAMPLES, seed=seed)


def load_blocks(run: Run) -> dict[str, Any]:
    """Load the decoder of the first stage; a ValueError if it has not ended."""
    path = Path(run.options.out, STAGES[0], FINAL)
    if not path.exists():
        raise ValueError(
            f"there is no {path}; first train the blocks to the end, with "
            f"--stage {STAGES[0]}"
        )
    params, _ = load_params(path)
    like = jax.eval_shape(lambda: make_decoder(run))
    check_params(params, jax.tree.map(lambda x: x.shape, like), path=path)
    return params
