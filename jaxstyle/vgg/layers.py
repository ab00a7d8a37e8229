"""The names of a VGG's layers, and where they lie in an image.

Layers are named by block and convolution, counted from 1: ``relu4_2`` is the output of
``conv4_2``, the second convolution of the fourth block. Which there are is read off the
parameters, so VGG-16, VGG-19 and any of them cut short run through the same code.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

Params: TypeAlias = Mapping[str, Any]

NETWORKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""The number of convolutions in each of a network's five blocks."""

WIDTHS = (64, 128, 256, 512, 512)
"""The number of filters of the convolutions in each block."""


def convolution_names(network: str) -> tuple[str, ...]:
    """Return the names of a network's convolutions, from ``conv1_1`` on, in order."""
    if network not in NETWORKS:
        raise ValueError(f"no network {network!r}; known are {', '.join(NETWORKS)}")
    return tuple(
        f"conv{block}_{index}"
        for block, depth in enumerate(NETWORKS[network], start=1)
        for index in range(1, depth + 1)
    )


def layer_names(params: Params) -> tuple[str, ...]:
    """Return the names of the layers that ``params`` can compute, in order.

    Args:
        params: a VGG's parameters.

    Returns:
        The names ``relu{block}_{index}``, counted from 1.

    Examples:
        >>> jaxstyle.vgg.layer_names(vgg)
        ('relu1_1', 'relu1_2', 'relu2_1')
    """
    return tuple(name.replace("conv", "relu") for name in convolutions(params))


def convolutions(params: Params) -> tuple[str, ...]:
    """Return the names of the convolutions in ``params``, in order."""
    return tuple(sorted(name for name in params if name.startswith("conv")))


def smallest_side(params: Params) -> int:
    """Return the least height and width, in pixels, that reach the deepest layer."""
    return stride(convolutions(params)[-1])


def stride(layer: str) -> int:
    """Return how many pixels apart two neighbors in a layer are."""
    return int(2 ** (block_number(layer) - 1))


def reach(params: Params, layer: str) -> int:
    """Return how far beyond its own pixels a position of a layer looks, at most."""
    names = layer_names(params)
    return sum(map(stride, names[: names.index(layer) + 1]))


def width(convolution: str) -> int:
    """Return the number of filters of a convolution."""
    return WIDTHS[block_number(convolution) - 1]


def block_number(name: str) -> int:
    """Return the number of the block that a layer or convolution belongs to."""
    return int(name[4])


def blocks(params: Params) -> list[tuple[str, ...]]:
    """Return the names of the convolutions of each block."""
    return [
        tuple(names) for _, names in groupby(convolutions(params), key=block_number)
    ]


def check_layers(params: Params, layers: Sequence[str]) -> None:
    """Raise a ValueError that names every one of ``layers`` not in ``params``."""
    known = layer_names(params)
    unknown = [layer for layer in dict.fromkeys(layers) if layer not in known]
    if unknown:
        raise ValueError(
            f"no layer {', '.join(unknown)} in this network; it has {', '.join(known)}"
        )
