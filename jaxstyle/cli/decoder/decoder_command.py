"""The program behind ``scripts/train_decoder.py``."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxstyle.cli.decoder.decoder_run import STAGES, Settings, open_run, start, train
from jaxstyle.cli.main import Parser
from jaxstyle.cli.runtime import make_say, use_compilation_cache
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.losses.config import positive_float, positive_int, seed_number

STRIDE = 16
"""Crops are of a multiple of this many pixels."""


def run(arguments: argparse.Namespace) -> None:
    """Train a stage to its end, or for some hours."""
    check_arguments(arguments)
    values = vars(arguments)
    settings = Settings(**{name: values[name] for name in Settings._fields})
    opened = open_run(
        arguments.out,
        arguments.photos,
        load_vgg(),
        settings,
        every=arguments.evaluate_every,
        say=make_say(quiet=arguments.quiet),
    )
    train(opened, start(opened), seconds=3600 * arguments.hours)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = Parser(
        prog="train_decoder",
        description="Train the decoder that turns features into pictures.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--photos",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="of JPEGs",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="for all results")
    add("--stage", choices=STAGES, default=STAGES[0], help="what to train")
    add("--steps", type=positive_int, default=16000, help="of the stage, in all")
    add("--hours", type=positive_float, default=math.inf, help="end after so many")
    add("--batch", type=positive_int, default=16, help="crops in a step")
    add("--crop", type=positive_int, default=128, help="the side of crops, in pixels")
    add(
        "--width",
        type=positive_float,
        default=0.5,
        help="1 for blocks as wide as VGG's",
    )
    add("--echo", type=positive_int, default=4, help="times that crops are gone over")
    add("--fitted", type=positive_int, default=12, help="batches for the closed form")
    add("--evaluate-every", type=positive_int, default=500, help="steps")
    add("--seed", type=seed_number, default=0, help="of parameters and crops")
    add("--quiet", action="store_true", help="say nothing")
    return parser


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise a ValueError unless sizes fit, and the output is not among the photos."""
    if arguments.crop % STRIDE or arguments.crop < 2 * STRIDE:
        raise ValueError(
            f"--crop must be a multiple of {STRIDE}, at least {2 * STRIDE}, got "
            f"{arguments.crop}"
        )
    for folder in arguments.photos:
        if arguments.out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"the output {arguments.out} is within the photographs; name a folder "
                "outside, so that no sheet is taken for one"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    use_compilation_cache()
    try:
        run(arguments)
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        print(f"train_decoder: error: {message}", file=sys.stderr)
        return 2
    return 0
