"""The arguments of ``jaxstyle optimize``."""

import argparse

from jaxstyle.cli.argument_types import (
    SWEPT,
    Commands,
    positive_float,
    positive_int,
    seed,
    share,
    sweep,
)
from jaxstyle.cli.loss_arguments import (
    add_blend,
    add_loss,
    add_preset,
    describe_presets,
)
from jaxstyle.optimize.presets import PRESETS


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "optimize",
        help="turn a photo and a painting into a picture, by optimizing its pixels",
        description="Turn a photo and one or more paintings into a picture, by "
        "optimizing its pixels\nfrom coarse to fine (Gatys et al., 2016).",
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
    _add_picture(parser.add_argument_group("picture"))
    _add_colors_and_regions(parser.add_argument_group("colors and regions"))
    add_loss(parser, variation="isotropic_variation")
    _add_run(parser.add_argument_group("run"))
    _add_outputs(parser.add_argument_group("more to look at"))


def _add_picture(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--size",
        metavar="PIXELS",
        type=positive_int,
        default=512,
        help="the picture's longer side (default: 512)",
    )
    add(
        "--strength",
        metavar="S",
        type=share,
        default=0.5,
        help="from 0, faint, to 1, wild (default: 0.5)",
    )
    strokes = group.add_mutually_exclusive_group()
    strokes.add_argument(
        "--style-scale",
        metavar="X",
        type=positive_float,
        default=1.0,
        help="the paintings' longer side relative to the picture's: more gives larger "
        "strokes, as far as the paintings are large enough (default: 1)",
    )
    strokes.add_argument(
        "--style-size",
        metavar="PIXELS",
        type=positive_int,
        help="the same in pixels",
    )
    add_blend(group)
    add_preset(group, PRESETS)
    add(
        "--init",
        metavar="NAME|IMAGE",
        help="what to start from: content, noise, gray, style-stats, or an image",
    )


def _add_colors_and_regions(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--preserve-color",
        action="store_true",
        help="keep the photo's colors: only its brightness is painted",
    )
    add(
        "--match-color",
        choices=("covariance", "histogram"),
        help="give the paintings the photo's colors first: the mean and covariance "
        "of its pixels, or the histograms",
    )
    add(
        "--masks",
        metavar="IMAGE",
        nargs="+",
        help="one for each painting: white where it belongs in the photo, gray for "
        "less; what is black in all stays as it is",
    )
    add(
        "--style-masks",
        metavar="IMAGE|all",
        nargs="+",
        help="one for each painting: white on the part of it that counts, or 'all'",
    )


def _add_run(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--steps",
        metavar="N",
        type=positive_int,
        help="how many times the loss is evaluated, at all scales together",
    )
    add(
        "--coarsest",
        metavar="PIXELS",
        type=positive_int,
        help="the longer side of the coarsest scale; that of the picture for one scale",
    )
    add("--optimizer", metavar="lbfgs|adam", help="how the pixels are moved")
    add(
        "--keep",
        metavar="best|average",
        help="which picture is kept: that with the lowest loss, or the average of the "
        "last ones",
    )
    add(
        "--learning-rate",
        metavar="RATE",
        type=positive_float,
        help="of adam (default: 0.02)",
    )
    add(
        "--history",
        metavar="N",
        type=positive_int,
        help="how many past steps shape the next one of lbfgs; each takes the memory "
        "of two pictures (default: 50)",
    )
    add(
        "--devices",
        metavar="N",
        type=positive_int,
        help="divide the rows of the picture among N devices: the same picture, in an "
        "Nth of the memory of each (default: one, or all where its memory does not "
        "suffice)",
    )
    add(
        "--tile",
        metavar="PIXELS",
        type=positive_int,
        help="look at the picture in tiles of that side, one after the other: the same "
        "picture, in less memory and more time (default: 512, where memory does not "
        "suffice for the whole)",
    )
    add(
        "--precision",
        metavar="float32|bfloat16",
        default="float32",
        help="what the network computes in; on GPUs and TPUs, bfloat16 is faster and "
        "takes less memory (default: float32)",
    )
    add("--seed", metavar="N", type=seed, default=0, help="of the noise (default: 0)")
    add(
        "--resume",
        action="store_true",
        help="go on with a run that was interrupted, from OUT.unfinished",
    )
    add("--quiet", action="store_true", help="show no progress")


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--save-every",
        metavar="N",
        type=positive_int,
        help="write the picture so far every N steps, as OUT with the step's number",
    )
    add(
        "--film",
        metavar="FILE",
        help="how the picture came about: .mp4, .gif or .webp",
    )
    add("--sheet", metavar="FILE", help="photo, paintings and picture side by side")
    add("--plot", metavar="FILE", help="a plot of the losses: .png, .svg or .pdf")
    add(
        "--sweep",
        metavar="NAME=X,X,...",
        type=sweep,
        action="append",
        help=f"try several values of {', '.join(SWEPT)}: OUT becomes a labeled sheet, "
        "beside which every picture is written. Of several --sweep all combinations "
        "are tried, and the first makes the rows of the sheet. A comma in the name of "
        "a file is written \\,",
    )
