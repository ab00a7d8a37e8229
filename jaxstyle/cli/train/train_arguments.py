"""The arguments of ``jaxstyle train``."""

import argparse

from jaxstyle.cli.argument_types import (
    Commands,
    nonnegative_float,
    positive_float,
    positive_int,
    seed,
)
from jaxstyle.cli.data_arguments import add_data_dir
from jaxstyle.cli.loss_arguments import (
    add_blend,
    add_loss,
    add_preset,
    describe_presets,
)
from jaxstyle.cli.process_arguments import add_processes
from jaxstyle.training.recipes import TRAINING_PRESETS

NO_CACHE = "none"
"""The choice of ``--data-cache`` by which photos are read as they are needed."""


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "train",
        help="train a net that turns any photo into a picture in one pass",
        description="Train a transform net for the style of one or more paintings\n"
        "(Johnson et al., 2016; Ulyanov et al., 2016).",
        epilog=describe_presets(TRAINING_PRESETS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--style",
        metavar="IMAGE",
        nargs="+",
        required=True,
        dest="styles",
        help="the painting, or several",
    )
    add(
        "--data",
        default="coco/2014",
        help="a folder of photos, or a data set that jaxstyle data has prepared "
        "(default: coco/2014)",
    )
    add_data_dir(parser)
    _add_data_cache(parser)
    add(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="the folder of the run: style.safetensors, checkpoints, metrics, pictures",
    )
    _add_net(parser)
    add_loss(parser, variation="total_variation")
    _add_stability(parser)
    _add_steps(parser)
    _add_run(parser)
    add_processes(parser)


def _add_data_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-cache",
        choices=(NO_CACHE, "device"),
        default=NO_CACHE,
        help="device: read all photos once, into the memory of each device, and train "
        "as fast as it can. Of each a square of 9/8 of --size is kept, its shorter "
        "side whole; batches are crops of it, mirrored or not. Without the cache crops "
        "come from anywhere in the photo, and those of 256 pixels from half to all of "
        f"its shorter side (default: {NO_CACHE})",
    )


def _add_net(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("net and pictures")
    add_preset(group, TRAINING_PRESETS)
    add_blend(group)
    add = group.add_argument
    add(
        "--style-size",
        metavar="PIXELS",
        type=positive_int,
        help=f"the paintings' longer side: larger gives larger strokes "
        f"{_by_preset('style_size')}",
    )
    add(
        "--size",
        metavar="PIXELS",
        type=positive_int,
        help=f"the side of the square crops of photos {_by_preset('size')}",
    )
    add(
        "--width",
        metavar="N",
        type=positive_int,
        help=f"channels of the net's first layer {_by_preset('width')}",
    )
    add(
        "--norm",
        metavar="affine|instance|batch",
        help=f"how the net normalizes {_by_preset('norm')}",
    )
    add(
        "--init",
        metavar="STYLE",
        help="start from the net of another style, shipped, a file or "
        "hf:USER/REPO[@REVISION], which takes far fewer steps than a new net",
    )
    add(
        "--precision",
        metavar="float32|bfloat16",
        help=f"of activations {_by_preset('precision')}",
    )


def _add_stability(parser: argparse.ArgumentParser) -> None:
    parser.add_argument_group("video").add_argument(
        "--stability",
        metavar="W",
        type=nonnegative_float,
        help="weight of how much noise in a photo changes the picture: more flickers "
        f"less from frame to frame, and a step takes longer {_by_preset('stability')}",
    )


def _add_steps(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("steps").add_argument
    add(
        "--steps",
        metavar="N",
        type=positive_int,
        help=f"on how many batches to train {_by_preset('steps')}",
    )
    add(
        "--batch",
        metavar="N",
        type=positive_int,
        help=f"photos in a batch, which all devices share {_by_preset('batch')}",
    )
    add(
        "--learning-rate",
        metavar="RATE",
        type=positive_float,
        help=f"of Adam {_by_preset('learning_rate')}",
    )
    add(
        "--halve-every",
        metavar="N",
        type=positive_int,
        help=f"halve the learning rate every N steps {_by_preset('halve_every')}",
    )
    add(
        "--seed",
        metavar="N",
        type=seed,
        default=0,
        help="of the net and of the crops (default: 0)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("run").add_argument
    add(
        "--validation",
        metavar="N",
        type=positive_int,
        default=32,
        help="how many photos are held out to measure the loss on (default: 32)",
    )
    for name, what in (
        ("validate", "measure the loss on them"),
        ("picture", "write a sheet of pictures"),
        ("checkpoint", "write a checkpoint"),
    ):
        add(
            f"--{name}-every",
            metavar="N",
            type=positive_int,
            default=500,
            help=f"{what} every N steps, and at the end (default: 500)",
        )
    add(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in the folder of the run",
    )
    add("--quiet", action="store_true", help="show no progress")


def _by_preset(setting: str) -> str:
    """Return what the presets say, in brackets: the default's, and what differs."""
    values = {
        name: getattr(preset, setting) for name, preset in TRAINING_PRESETS.items()
    }
    shown = [
        f"{name}: {'never' if value is None else value}"
        for name, value in values.items()
        if name == "default" or value != values["default"]
    ]
    return f"({', '.join(shown)})"
