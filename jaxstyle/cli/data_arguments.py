"""The arguments of ``jaxstyle data``."""

import argparse

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "data",
        help="download and prepare a data set to train on",
        description="Download a data set and prepare it with tensorflow-datasets. Of "
        "coco/2014 and coco/2017 that is the training split alone. A second run goes "
        "on where the first was stopped.",
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="coco/2014, coco/2017, or a name that TFDS knows")
    add_data_dir(parser)
    add("--quiet", action="store_true", help="show no progress")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add where prepared data sets are, which ``train`` has to know too."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where data sets are kept (default: $TFDS_DATA_DIR, else "
        "~/tensorflow_datasets)",
    )
