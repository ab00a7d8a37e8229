"""The arguments of the loss, which ``optimize`` and ``train`` share."""

import argparse
from collections.abc import Mapping
from typing import Any

from jaxstyle.cli.argument_types import blend, nonnegative_float, weight


def describe_presets(presets: Mapping[str, Any]) -> str:
    """Return the end of a help: every preset with its summary."""
    lines = (f"  {name:<12} {preset.summary}" for name, preset in presets.items())
    return "\n".join(("presets:", *lines))


def add_preset(group: argparse._ArgumentGroup, presets: Mapping[str, Any]) -> None:
    """Add ``--preset``."""
    group.add_argument(
        "--preset",
        choices=tuple(presets),
        metavar="NAME",
        default="default",
        help="where the settings below come from; see the end of this help",
    )


def add_blend(group: argparse._ArgumentGroup) -> None:
    """Add ``--blend``."""
    group.add_argument(
        "--blend",
        metavar="W,W,...",
        type=blend,
        help="how much each of several paintings counts (default: equally), or this by "
        "layer: LAYER=W:W:...,LAYER=W:W:...,...",
    )


def add_loss(parser: argparse.ArgumentParser, *, variation: str) -> None:
    """Add the weights, and the network that looks at the pictures.

    Args:
        parser: what to add them to.
        variation: the setting that ``--tv-weight`` replaces.
    """
    group = parser.add_argument_group(
        "loss", "A weight is a number, or LAYER=NUMBER,LAYER=NUMBER,... by layer."
    )
    add = group.add_argument
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
        dest=variation,
        help="of the total variation: more gives a smoother picture",
    )
    add(
        "--vgg",
        metavar="vgg16|vgg19|FILE",
        help="the network that looks at the picture (vgg16 ships with jaxstyle)",
    )
    add("--pooling", metavar="max|average|l2", help="the network's pooling")
    add(
        "--activations",
        metavar="layer|filter|raw",
        help="normalize the network's mean activations to 1 by layer or by filter, "
        "or leave them raw",
    )
    add(
        "--style-loss",
        metavar="NAME",
        help="how styles are compared: gram, wasserstein, wasserstein-exact, mean or "
        "mean-std",
    )
    add(
        "--padding",
        metavar="zero|replicate",
        help="the border of the network's first convolution",
    )
