"""The arguments of ``jaxstyle optimize``."""

import argparse

from jaxstyle.commands.argument_types import (
    Commands,
    positive_float,
    positive_int,
    seed,
)
from jaxstyle.commands.loss_arguments import (
    add_blend,
    add_loss,
    add_preset,
    describe_presets,
)
from jaxstyle.presets import PRESETS


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "optimize",
        help="turn a photo and a painting into a picture, by optimising its pixels",
        description="Turn a photo and one or more paintings into a picture, by "
        "optimising its pixels\n(Gatys et al., 2016).",
        epilog=describe_presets(PRESETS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("content", metavar="CONTENT", help="the photo to keep")
    add("styles", metavar="STYLE", nargs="+", help="the painting, or several")
    add(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="the picture to write: .png, .jpg, .webp or .tif; its settings are "
        "recorded in it",
    )
    main = parser.add_argument_group("picture")
    add = main.add_argument
    add(
        "--size",
        metavar="PIXELS",
        type=positive_int,
        default=512,
        help="the picture's longer side (default: 512)",
    )
    add(
        "--style-size",
        metavar="PIXELS",
        type=positive_int,
        help="the paintings' longer side: larger gives larger strokes "
        "(default: that of the picture)",
    )
    add_blend(main)
    add_preset(main, PRESETS)
    add(
        "--init",
        metavar="content|noise|IMAGE",
        help="what to start from",
    )
    add_loss(parser)
    run = parser.add_argument_group("run")
    add = run.add_argument
    add(
        "--steps",
        metavar="N",
        type=positive_int,
        help="how many times the loss is evaluated",
    )
    add("--optimizer", metavar="lbfgs|adam", help="how the pixels are moved")
    add(
        "--learning-rate",
        metavar="RATE",
        type=positive_float,
        help="of adam (default: 0.02)",
    )
    add("--seed", metavar="N", type=seed, default=0, help="of the noise (default: 0)")
    add(
        "--save-every",
        metavar="N",
        type=positive_int,
        help="write the picture so far every N steps, as OUT with the step's number",
    )
    add("--quiet", action="store_true", help="show no progress")
