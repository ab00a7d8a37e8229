"""Transform nets from PyTorch: two layouts of state dicts, as this package's trees.

===============  ==========================  ======================================
layout           pytorch/examples            the seed implementation
===============  ==========================  ======================================
class            ``TransformerNet``          ``TransformNet``
names            ``conv1.conv2d.weight``,    ``downsampling.N.weight``,
                 ``res1.conv1.conv2d.bias``  ``residuals.N.conv.N.bias``
instance norm    with scale and bias         without
residual branch  ends with its second norm   ends with a ReLU
pixels           0 to 255, in and out        normalized as for ImageNet, in and out
===============  ==========================  ======================================

In the second layout each N is a place among all modules, norms and paddings included.
Nothing is taken from a place but the order of the convolutions.
"""

import re
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict

from jaxstyle.convert.torch_checkpoints import load_torch_state_dict
from jaxstyle.files import param_files
from jaxstyle.files.style_files import likely_width
from jaxstyle.nets.net_layers import Layer, flatten, make_layers
from jaxstyle.nets.transform_net import IMAGENET_MEAN, IMAGENET_STD, net_shapes

Arrays = Mapping[str, np.ndarray]

EXAMPLES = "pytorch/examples' TransformerNet"
"""The name of that layout, which `jaxstyle.convert.torch_exports` writes too."""

RESIDUAL_BLOCKS = 5


class Layout(NamedTuple):
    """How one kind of state dict is recognized and read.

    Attributes:
        mark: one name that fits shows that a state dict is of this kind.
        modules: from a state dict, its names of the convolutions and norms, by our
            paths; one that is missing has a name that says so.
        stray: names that are ignored.
        norm: a key of `jaxstyle.nets.net_layers.NORMS`.
        constants: the parameters that no state dict holds.
    """

    mark: re.Pattern[str]
    modules: Callable[[Arrays], dict[str, str]]
    stray: re.Pattern[str]
    norm: str
    constants: Mapping[str, Any]


def from_torch(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Read a transform net from a PyTorch state dict, executing no code in it.

    Args:
        path: a checkpoint of ``torch.save``, or a ``.safetensors`` file.

    Returns:
        The name of its layout, such as ``pytorch/examples``, and its parameters.

    Raises:
        ValueError: the file is missing or damaged, is no state dict, or holds no net of
            a known layout; all that is missing, surplus or wrong is named at once.

    Examples:
        >>> jaxstyle.convert.from_torch("photo.pth")
        Traceback (most recent call last):
        ValueError: no such PyTorch checkpoint: photo.pth
    """
    is_safe = Path(path).suffix.lower() == ".safetensors"
    state: Arrays = (
        param_files.load_params(path)[0] if is_safe else load_torch_state_dict(path)
    )
    if all(name.startswith("module.") for name in state):  # DataParallel's names
        state = {name.removeprefix("module."): state[name] for name in state}
    title = _find_layout(state, path=path)
    layout = LAYOUTS[title]
    state = {
        name: array for name, array in state.items() if not layout.stray.fullmatch(name)
    }
    names, shapes = _expected(state, layout)
    param_files.check_params(state, shapes, path=path)
    own = {}
    for ours, theirs in names.items():
        array = state[theirs]
        # Kernels of ours have their channels last.
        axes = (2, 3, 1, 0) if array.ndim == 4 else (0,)
        own[ours] = np.ascontiguousarray(array.transpose(axes), np.float32)
    tree = unflatten_dict(own, sep="/")
    return title, {**layout.constants, **tree}


def _find_layout(state: Arrays, *, path: str | Path) -> str:
    for title, layout in LAYOUTS.items():
        if any(layout.mark.fullmatch(name) for name in state):
            return title
    some = ", ".join(list(state)[:3])
    raise ValueError(
        f"{path} is of no known layout: it holds {some}, ...; known are "
        f"{' and '.join(LAYOUTS)}"
    )


def _expected(
    state: Arrays, layout: Layout
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Match the state dict's names with our paths, and with the expected shapes."""
    modules = layout.modules(state)
    channels = {
        f"{module}/kernel": state[f"{name}.weight"].shape[0]
        for module, name in modules.items()
        if f"{name}.weight" in state and state[f"{name}.weight"].shape
    }
    width = likely_width(channels)
    names, shapes = {}, {}
    for path, shape in param_files.leaves(net_shapes(width=width, norm=layout.norm)):
        if path.rpartition("/")[0] in modules:
            name = find_name(path, modules)
            axes = (3, 2, 0, 1) if len(shape) == 4 else range(len(shape))
            names[path], shapes[name] = name, tuple(shape[i] for i in axes)
    return names, shapes


def find_name(path: str, modules: Mapping[str, str]) -> str:
    """Find a state dict's name for one of our paths, from those of its modules."""
    module, _, kind = path.rpartition("/")
    return f"{modules[module]}.{'bias' if kind == 'bias' else 'weight'}"


# --- the layouts --------------------------------------------------------------------


_TABLE = make_layers(width=1, norm="affine", blocks=RESIDUAL_BLOCKS)

_SECTIONS: Mapping[str, list[tuple[str, Layer]]] = {
    name: list(flatten(list(layers)))
    for name, (_, layers) in zip(
        ("downsampling", "residuals", "upsampling"), groupby(_TABLE, type), strict=True
    )
}
"""Our layers and the paths to them, by the seed's names of the sections."""


def _modules_of_examples(_: Arrays) -> dict[str, str]:
    modules = {}
    for section, layers in _SECTIONS.items():
        kind = "deconv" if section == "upsampling" else "conv"
        before = layers[0][1].number - 1
        for path, layer in layers:
            theirs = path.replace("residual", "res").replace("/", ".")
            name = f"{theirs}{kind}{layer.number - before}.conv2d"
            modules[path + layer.conv_name] = name
            if layer.norm:
                modules[path + layer.norm_name] = f"{theirs}in{layer.number}"
    return modules


def _modules_of_seed(state: Arrays) -> dict[str, str]:
    """Match the kernels of each section, in the order of their places, with ours."""
    modules: dict[str, str] = {}
    for section, layers in _SECTIONS.items():
        paths = [path + layer.conv_name for path, layer in layers]
        found = sorted(
            (
                name.removesuffix(".weight")
                for name, array in state.items()
                if name.startswith(f"{section}.")
                and name.endswith(".weight")
                and array.ndim == 4
            ),
            key=lambda name: [int(place) for place in re.findall(r"\d+", name)],
        )
        absent = [f"{section}.(convolution {i})" for i in range(1, len(paths) + 1)]
        modules |= dict(zip(paths, found + absent[len(found) :], strict=False))
    return modules


def _pixels(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, np.ndarray]:
    return {"mean": np.array(mean, np.float32), "std": np.array(std, np.float32)}


_BYTES = _pixels((0, 0, 0), (1 / 255,) * 3)
_IMAGENET = _pixels(IMAGENET_MEAN, IMAGENET_STD)

LAYOUTS: Mapping[str, Layout] = {
    EXAMPLES: Layout(
        mark=re.compile(r"(de)?conv\d\.conv2d\.(weight|bias)"),
        modules=_modules_of_examples,
        # Before PyTorch 0.4 instance norm kept statistics that it did not use.
        stray=re.compile(
            r"(res[1-5]\.in[12]|in[1-5])\.(running_mean|running_var|num_batches_tracked)"
        ),
        norm="affine",
        constants={"input": _BYTES, "output": _BYTES, "negative_slope": np.float32(1)},
    ),
    "the seed's TransformNet": Layout(
        mark=re.compile(r"(downsampling|upsampling)\.\d+\.(weight|bias)"),
        modules=_modules_of_seed,
        stray=re.compile(r"(?!)"),
        norm="instance",
        constants={
            "input": _IMAGENET,
            "output": _IMAGENET,
            "negative_slope": np.float32(0),
        },
    ),
}
"""The layouts that are known, by name."""
