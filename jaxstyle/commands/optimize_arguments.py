"""The arguments of ``jaxstyle optimize``."""

import argparse

from jaxstyle.commands.argument_types import (
    Commands,
    nonnegative_float,
    positive_float,
    positive_int,
    seed,
    shares,
    weight,
)
from jaxstyle.presets import PRESETS


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "optimize",
        help="turn a photo and a painting into a picture, by optimising its pixels",
        description="Turn a photo and one or more paintings into a picture, by "
        "optimising its pixels\n(Gatys et al., 2016).",
        epilog="presets:\n"
        + "\n".join(f"  {name:<12} {p.summary}" for name, p in PRESETS.items()),
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
    add(
        "--blend",
        metavar="W,W,...",
        type=shares,
        help="how much each of several paintings counts (default: equally)",
    )
    add(
        "--preset",
        choices=tuple(PRESETS),
        metavar="NAME",
        default="default",
        help="where the settings below come from; see the end of this help",
    )
    add(
        "--init",
        metavar="content|noise|IMAGE",
        help="what to start from",
    )
    loss = parser.add_argument_group(
        "loss", "A weight is a number, or LAYER=NUMBER,LAYER=NUMBER,... by layer."
    )
    add = loss.add_argument
    add(
        "--content-weight",
        metavar="W",
        type=weight,
        help="more keeps more of the photo",
    )
    add("--style-weight", metavar="W", type=weight, help="more gives more style")
    add(
        "--tv-weight",
        metavar="W",
        type=nonnegative_float,
        dest="total_variation",
        help="of the total variation: more gives a smoother picture",
    )
    add(
        "--vgg",
        metavar="vgg16|vgg19|FILE",
        help="the network that looks at the picture (vgg16 ships with jaxstyle)",
    )
    add(
        "--pooling",
        metavar="max|average|l2",
        help="the network's pooling",
    )
    add(
        "--activations",
        metavar="layer|filter|raw",
        help="normalise the network's mean activations to 1 by layer or by filter, "
        "or leave them raw",
    )
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
