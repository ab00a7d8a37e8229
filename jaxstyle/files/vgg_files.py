"""VGG parameters on disk: one safetensors file with the network's name and license."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.files import param_files
from jaxstyle.files.downloads import cache_folder
from jaxstyle.vgg import layers

FORMAT = {"format": "jaxstyle-vgg", "format_version": "1"}

SHIPPED = ("vgg16",)
"""The networks whose weights are in the package."""


class Origin(NamedTuple):
    """Whose weights a VGG has, and what they may be used for.

    Attributes:
        attribution: the authors of the weights.
        license: the name of the license.
    """

    attribution: str
    license: str


OXFORD = Origin(
    "Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford",
    "CC BY 4.0",
)
TORCHVISION = Origin("the torchvision contributors", "BSD 3-Clause")


def save_vgg(
    params: Mapping[str, Any],
    path: str | Path,
    *,
    network: str,
    origin: Origin,
    source: str,
    photos: int,
) -> None:
    """Write a VGG's parameters, with mean activations, to a new or replaced file.

    Args:
        params: with mean activations; kernels may be in float16.
        path: the file; one that exists is replaced.
        network: its name, ``"vgg16"`` or ``"vgg19"``.
        origin: whose weights they are.
        source: the file they were converted from, in free words.
        photos: the number of photographs behind the mean activations.

    Examples:
        >>> origin = jaxstyle.files.Origin(attribution="me", license="CC0")
        >>> about = {"network": "vgg16", "source": "a drawer", "photos": 1}
        >>> jaxstyle.files.save_vgg(vgg, "my.safetensors", origin=origin, **about)
    """
    metadata = {
        **FORMAT,
        "network": network,
        "source": source,
        "license": origin.license,
        "attribution": origin.attribution,
        "mean_activation_from": f"{photos} photographs",
    }
    param_files.save_params(params, path, metadata=metadata)


def load_vgg(name_or_path: str | Path = "vgg16") -> dict[str, Any]:
    """Load a VGG's parameters for `jaxstyle.vgg.features`.

    Source: Simonyan & Zisserman (2015). Deviation: kernels are rounded to float16.

    Args:
        name_or_path: ``"vgg16"``, which ships in the package down to ``relu5_1``;
            ``"vgg19"``, once ``jaxstyle weights vgg19`` has downloaded it; or a file
            made by ``scripts/convert_vgg.py``.

    Returns:
        The parameters in float32. They include the mean and the standard deviation
        that normalize RGB pixels in [0, 1].

    Examples:
        >>> vgg = jaxstyle.load_vgg()
        >>> vgg["conv4_2"]["kernel"].shape
        (3, 3, 512, 512)
    """
    if name_or_path in SHIPPED:
        return load_vgg_file(
            param_files.package_file("weights", f"{name_or_path}.safetensors")
        )
    if name_or_path in layers.NETWORKS:
        path = cache_folder() / f"{name_or_path}.safetensors"
        if not path.exists():
            raise ValueError(
                f"the weights of {name_or_path} are not at {path}; "
                f"download them with: jaxstyle weights {name_or_path}"
            )
        return load_vgg_file(path)
    if not Path(name_or_path).exists():
        raise ValueError(
            f"no VGG weights {name_or_path}: expected {', '.join(layers.NETWORKS)} "
            "or a .safetensors file made by scripts/convert_vgg.py"
        )
    return load_vgg_file(name_or_path)


def load_vgg_file(path: str | Path) -> dict[str, Any]:
    """Read a VGG's parameters, complete or truncated, in float32."""
    params, metadata = param_files.load_params(path)
    network = metadata.get("network")
    if not FORMAT.items() <= metadata.items() or network not in layers.NETWORKS:
        raise ValueError(
            f"{path} holds no VGG of this package's format; "
            "make one with scripts/convert_vgg.py"
        )
    # These would make the network divide by zero or less.
    others = [
        f"{name} is not positive"
        for name, array in param_files.leaves(params)
        if (name == "std" and (array <= 0).any())
        or (name.endswith("/mean_activation") and array.sum() <= 0)
    ]
    shapes = _expected_shapes(params, network)
    param_files.check_params(params, shapes, path=path, others=others)
    return params


def parameter_shapes(network: str) -> dict[str, Any]:
    """Map a complete network's parameters, except mean activations, to their shapes."""
    shapes: dict[str, Any] = {"mean": (3,), "std": (3,)}
    width_in = 3
    for name in layers.convolution_names(network):
        width = layers.width(name)
        shapes[name] = {"kernel": (3, 3, width_in, width), "bias": (width,)}
        width_in = width
    return shapes


def to_half(params: Mapping[str, Any]) -> dict[str, Any]:
    """Round the kernels to float16, which halves the file."""
    return {
        name: {**value, "kernel": np.asarray(value["kernel"], np.float16)}
        if isinstance(value, Mapping)
        else value
        for name, value in params.items()
    }


def _expected_shapes(params: Mapping[str, Any], network: str) -> dict[str, Any]:
    """Map parameters, down to the deepest in ``params``, to their shapes."""
    shapes = parameter_shapes(network)
    names = layers.convolution_names(network)
    depth = 1 + max((i for i, name in enumerate(names) if name in params), default=0)
    for name in names[depth:]:
        del shapes[name]
    for name in names[:depth]:
        shapes[name]["mean_activation"] = shapes[name]["bias"]
    return shapes
