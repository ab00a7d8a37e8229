"""The arguments by which the processes of one training find each other."""

import argparse

from jaxstyle.cli.argument_types import positive_int


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add what each process of a training is told."""
    add = parser.add_argument_group(
        "several processes",
        "Training uses all devices of a process, which divide the batch among them. "
        "For the devices of several machines start it on each, with the same data and "
        "these arguments beside the others; the first one writes the files.",
    ).add_argument
    add(
        "--coordinator",
        metavar="HOST:PORT",
        help="where the first process listens; auto in a Slurm, Open MPI or Kubernetes "
        "job or on a TPU pod, which say all this by themselves",
    )
    add(
        "--num-processes",
        metavar="N",
        type=positive_int,
        help="how many processes there are",
    )
    add(
        "--process-id",
        metavar="I",
        type=int,
        help="which of them this is, from 0",
    )
