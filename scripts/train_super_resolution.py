"""Train nets that make photos four times as large, by features and by pixels.

    python scripts/train_super_resolution.py --data FOLDER -o FOLDER

`super_resolution` has the algorithm. Both nets start from the same parameters and see
the same crops, in as many steps. The table is of photos that are held out:

* ``PSNR`` and ``SSIM``: see `image_quality`.
* ``relu2_2``, ``relu4_3``: the mean squared difference between features, whose mean is
  1. The first is the perceptual loss. The second no net is trained on, but it is a
  layer of the same VGG.
* ``grid``: how far a period of two or four pixels rises above the picture's own
  frequencies around it; see `checkerboards`.

The folder gets ``LOSS.safetensors`` for each net, ``metrics.json`` with the losses, the
table and all settings, and ``sheet.png``: bicubic enlargement, nets and original.
"""

import argparse
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import NoReturn, TypeAlias

import jax
import numpy as np
import optax
from checkerboards import BLOCK
from jaxtyping import UInt8
from super_resolution import (
    FACTOR,
    LAYER,
    LOSSES,
    Params,
    SuperResolutionNet,
    init_params,
    make_step,
)
from super_resolution_results import (
    JUDGE,
    Photos,
    make_pictures,
    make_rows,
    measure,
    save_sheet,
)
from trained_nets import print_table

import jaxstyle
from jaxstyle.data import (
    Source,
    hold_out,
    make_batches,
    open_source,
    validation_batches,
)
from jaxstyle.files import save_params

SHORTER_SIDE = (192, 272)
"""The shorter side, in pixels, to which photos are shrunk so that crops are sharp."""

EVERY = 50
"""Over how many steps the loss that is told is averaged."""

Batches: TypeAlias = Generator[UInt8[np.ndarray, "b size size 3"], None, None]

SHEET = "sheet.png"
"""The name of the sheet in the folder."""

SMALLEST = {"crop": 2 * FACTOR, "size": BLOCK}
"""The least sizes, in pixels."""

POSITIVE = (
    *("steps", "batch", "learning_rate", "width", "blocks", "held_out", "rows"),
)
"""The options that are numbers above 0."""

PACKAGES = ("jaxstyle", "jax", "flax", "optax", "numpy")
"""The packages whose versions are recorded."""


def train(
    vgg: Params, batches: Batches, arguments: argparse.Namespace, *, loss: str
) -> tuple[Params, dict[int, float]]:
    """Return the parameters of a trained net, and mean losses by step.

    Raises:
        ValueError: the loss is no longer finite, or photos cannot be read.
    """
    schedule = optax.cosine_decay_schedule(arguments.learning_rate, arguments.steps)
    optimizer = optax.adam(schedule)
    net = SuperResolutionNet(arguments.width, arguments.blocks)
    params = init_params(jax.random.key(arguments.seed), net)
    state = jaxstyle.training.init_state(params, optimizer)
    step = jax.jit(make_step(net, optimizer, loss=loss), donate_argnums=0)
    means, recent = {}, []
    for number, photos in enumerate(islice(batches, arguments.steps), start=1):
        state, metrics = step(state, photos, vgg)
        recent.append(metrics["loss"])
        if number % EVERY == 0 or number == arguments.steps:
            means[number] = mean = float(np.mean(recent))
            recent = []
            print(f"{loss} loss, step {number}: {mean:.6f}", file=sys.stderr)
            if not np.isfinite(mean):
                raise ValueError(
                    f"the {loss} loss is {mean} at step {number}; try a smaller "
                    "--learning-rate"
                )
    return state.params, means


def train_all(
    vgg: Params, photos: Source, arguments: argparse.Namespace
) -> tuple[dict[str, Params], dict[str, dict[int, float]]]:
    """Train a net for each loss and write it; return parameters and losses by name."""
    nets, losses = {}, {}
    for loss in [name for name in LOSSES if name in arguments.loss]:
        with closing(make_crops(photos, arguments)) as batches:
            nets[loss], losses[loss] = train(vgg, batches, arguments, loss=loss)
        about = {"loss": loss, "arguments": to_json(vars(arguments))}
        path = arguments.output / f"{loss}.safetensors"
        save_params(nets[loss], path, metadata=about)
    return nets, losses


def run(arguments: argparse.Namespace) -> None:
    """Train, measure, and write all results."""
    check_arguments(arguments)
    seen, unseen = hold_out(open_source(arguments.data), arguments.held_out)
    held_out = load_squares(unseen, size=arguments.size)
    shown = held_out[: arguments.rows]
    if arguments.show is not None:
        shown = load_squares(open_source(arguments.show), size=arguments.size)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if (sheet := arguments.output / SHEET).is_dir():
        raise ValueError(f"cannot write the image {sheet}: it is a folder")
    vgg = jaxstyle.vgg.normalize(
        jaxstyle.vgg.truncate(jaxstyle.load_vgg(), [LAYER, JUDGE])
    )
    if jax.default_backend() == "cpu":
        vgg = jax.jit(jaxstyle.vgg.prepare_for_cpu)(vgg)
    nets, losses = train_all(vgg, seen, arguments)
    net = SuperResolutionNet(arguments.width, arguments.blocks)
    table = measure(vgg, make_pictures(net, nets, held_out), held_out)
    pictures = make_pictures(net, nets, shown) | {"original": shown}
    save_sheet(pictures, sheet)
    record = {
        "arguments": vars(arguments),
        "versions": {name: version(name) for name in PACKAGES},
        "losses": losses,
        "held out": table,
    }
    (arguments.output / "metrics.json").write_text(to_json(record) + "\n")
    print_table(make_rows(table))


# --- photos -------------------------------------------------------------------------


def make_crops(photos: Source, arguments: argparse.Namespace) -> Batches:
    """Return batches of random crops for ever: the same ones at every call."""
    return make_batches(
        photos,
        size=arguments.crop,
        batch=arguments.batch,
        seed=arguments.seed,
        shorter_side=SHORTER_SIDE,
    )


def load_squares(photos: Source, *, size: int) -> Photos:
    """Return the center squares of photos, made of a size, in [0, 1]."""
    squares = list(validation_batches(photos, size=size, batch=1))
    return np.concatenate(squares) / np.float32(255)


# --- the command line ---------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = Parser(
        prog="train_super_resolution",
        description="Train nets that make photos four times as large.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, metavar="FOLDER", help="photos, or a TFDS data set")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="results")
    add("--loss", nargs="+", choices=LOSSES, default=list(LOSSES), help="of the nets")
    add("--steps", type=int, default=1200, help="of each net")
    add("--batch", type=int, default=4, help="crops in a step")
    add("--crop", type=int, default=96, help="the side of crops, in pixels")
    add("--learning-rate", type=float, default=1e-3, help="of Adam, at first")
    add("--width", type=int, default=64, help="channels of the nets")
    add("--blocks", type=int, default=4, help="residual blocks of the nets")
    add("--seed", type=int, default=0, help="of parameters and crops")
    add("--held-out", type=int, default=32, help="photos to measure with")
    add("--size", type=int, default=256, help="the side of their squares")
    add("--rows", type=int, default=6, help="how many are on the sheet")
    add("--show", metavar="FOLDER", help="photos for the sheet in their place")
    return parser


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise a ValueError unless numbers fit, and the output is not among the photos."""
    for name in POSITIVE:
        if not getattr(arguments, name) > 0:
            value = getattr(arguments, name)
            option = name.replace("_", "-")
            raise ValueError(f"--{option} must be greater than 0, got {value}")
    for name, smallest in SMALLEST.items():
        value = getattr(arguments, name)
        if value < smallest or value % FACTOR:
            raise ValueError(
                f"--{name} must be a multiple of {FACTOR}, at least {smallest}, got "
                f"{value}"
            )
    if arguments.output.resolve().is_relative_to(Path(arguments.data).resolve()):
        raise ValueError(
            f"the output {arguments.output} is within the photos; name a folder "
            "outside, so that no sheet is taken for a photo"
        )


def to_json(value: object) -> str:
    """Return a value as JSON, with paths as strings."""
    return json.dumps(value, default=str, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        run(arguments)
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        print(f"train_super_resolution: error: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
