"""Transform nets from and for PyTorch: two layouts of state dicts.

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
Only the order of the convolutions is taken from places.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import unflatten_dict

from jaxstyle.convert.torch_checkpoints import load_torch_state_dict, unwrapped
from jaxstyle.files import param_files
from jaxstyle.files.style_files import likely_width
from jaxstyle.nets.net_layers import Layer, Params, flatten, make_layers
from jaxstyle.nets.transform_net import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    net_blocks,
    net_norm,
    net_shapes,
    net_width,
)

Arrays = Mapping[str, np.ndarray]

EXAMPLES = "pytorch/examples' TransformerNet"
"""The name of the layout that `to_torch` writes, too."""

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
            a known layout; all that is missing, unexpected or wrong is named at once.

    Examples:
        >>> jaxstyle.convert.from_torch("photo.pth")
        Traceback (most recent call last):
        ValueError: no such PyTorch checkpoint: photo.pth
    """
    is_safe = Path(path).suffix.lower() == ".safetensors"
    state: Arrays = (
        dict(param_files.leaves(param_files.load_params(path)[0]))
        if is_safe
        else load_torch_state_dict(path)
    )
    title, state = _find_layout(state, path=path)
    layout = LAYOUTS[title]
    state = {
        name: array for name, array in state.items() if not layout.stray.fullmatch(name)
    }
    modules = layout.modules(state)
    width = likely_width(
        {
            f"{module}/kernel": state[f"{name}.weight"].shape[0]
            for module, name in modules.items()
            if f"{name}.weight" in state and state[f"{name}.weight"].shape
        }
    )
    arrays = list(_find_arrays(modules, width=width, norm=layout.norm))
    shapes = {each.name: each.shape for each in arrays}
    param_files.check_params(state, shapes, path=path)
    own = {each.path: _transposed(state[each.name], (2, 3, 1, 0)) for each in arrays}
    return title, {**layout.constants, **unflatten_dict(own, sep="/")}


def _find_layout(state: Arrays, *, path: str | Path) -> tuple[str, Arrays]:
    """Find a net of a known layout under any prefix of the names."""
    for part in unwrapped(state):
        for title, layout in LAYOUTS.items():
            if any(layout.mark.fullmatch(name) for name in part):
                return title, part
    some = ", ".join(list(state)[:3])
    raise ValueError(
        f"{path} is of no known layout: it holds {some}, ...; known are "
        f"{' and '.join(LAYOUTS)}"
    )


class _Array(NamedTuple):
    """An array of a state dict: our path, and the name and shape that it has there."""

    path: str
    name: str
    shape: tuple[int, ...]


def _find_arrays(
    modules: Mapping[str, str], *, width: int, norm: str
) -> Iterator[_Array]:
    """Yield all arrays of a net, from the state dict's names of its modules."""
    for path, shape in param_files.leaves(net_shapes(width=width, norm=norm)):
        module, _, kind = path.rpartition("/")
        if module in modules:
            name = f"{modules[module]}.{'bias' if kind == 'bias' else 'weight'}"
            yield _Array(path, name, (*shape[:-3:-1], *shape[:-2]))


def _transposed(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Reorder the axes of kernels, whose channels come first in PyTorch."""
    reordered = array.transpose(axes) if array.ndim == 4 else array
    return np.ascontiguousarray(reordered, np.float32)


# --- the layouts --------------------------------------------------------------------


_LAYERS = list(flatten(make_layers(width=1, norm="affine", blocks=RESIDUAL_BLOCKS)))
"""Our layers and the paths to them."""


def _modules_of_examples(_: Arrays) -> dict[str, str]:
    modules = {}
    for path, layer in _LAYERS:
        upsamples = _section((path, layer)) == "upsampling"
        conv = f"deconv{layer.number - 3}" if upsamples else f"conv{layer.number}"
        theirs = path.replace("residual", "res").replace("/", ".")
        modules[path + layer.conv_name] = f"{theirs}{conv}.conv2d"
        if layer.norm:
            modules[path + layer.norm_name] = f"{theirs}in{layer.number}"
    return modules


def _modules_of_seed(state: Arrays) -> dict[str, str]:
    """Match the kernels of each section, in the order of their places, with ours."""
    modules: dict[str, str] = {}
    for section, layers in groupby(_LAYERS, _section):
        paths = [path + layer.conv_name for path, layer in layers]
        found = sorted(
            (
                name.removesuffix(".weight")
                for name, array in state.items()
                if re.fullmatch(rf"{section}\..*\.weight", name) and array.ndim == 4
            ),
            key=lambda name: [int(place) for place in re.findall(r"\d+", name)],
        )
        absent = [f"{section}.(convolution {i})" for i in range(1, len(paths) + 1)]
        modules |= dict(zip(paths, found + absent[len(found) :], strict=False))
    return modules


def _section(entry: tuple[str, Layer]) -> str:
    """Tell the seed's name of the part of the net that a layer belongs to."""
    path, layer = entry
    if path:
        return "residuals"
    return "downsampling" if layer.number <= 3 else "upsampling"


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


# --- for PyTorch --------------------------------------------------------------------


def to_torch(params: Params) -> dict[str, np.ndarray]:
    """Convert a net to the state dict of pytorch/examples' ``TransformerNet``.

    That net has pixels from 0 to 255, in and out, and no constants for others: those of
    this net go into its first and its last convolution. What `from_torch` has read
    comes back bit by bit.

    ``TransformerNet`` is 32 channels wide: for another width change its class. The
    pictures are those of `jaxstyle.stylize` where height and width are multiples
    of four. Elsewhere ``TransformerNet`` extends the image in its own way, and returns
    one that is larger by up to three pixels.

    A ValueError says why the layout has no place for a net; all reasons are named.
    """
    if problems := list(_find_problems(params)):
        raise ValueError(f"{EXAMPLES} cannot hold this net: {'; '.join(problems)}")
    layout = LAYOUTS[EXAMPLES]
    own = dict(param_files.leaves(_with_pixels(params, layout.constants)))
    return {
        name: _transposed(
            # A plain norm lacks the parameters of an affine one.
            own.get(path, np.full(shape, path.endswith("scale"))),
            (3, 2, 0, 1),
        )
        for path, name, shape in _find_arrays(
            layout.modules({}), width=net_width(params), norm=layout.norm
        )
    }


def dump_torch(params: Params) -> bytes:
    """Convert a net to a ``.safetensors`` file of `to_torch`'s state dict.

    ``safetensors.torch.load_file`` returns what ``load_state_dict`` takes.
    """
    from safetensors.numpy import save

    return bytes(save(to_torch(params), metadata={"format": "pt"}))


def _find_problems(params: Params) -> Iterator[str]:
    """Describe each way in which a net is beyond the layout."""
    if (blocks := net_blocks(params)) != RESIDUAL_BLOCKS:
        yield f"it has {blocks} residual blocks, not {RESIDUAL_BLOCKS}"
    if net_norm(params) == "batch":
        yield "it has batch norm, not instance norm"
    if "filter" in params:
        yield "its upsampling is smoothed by a filter"
    if "noise" in params:
        yield "noise is added to its images"
    if (slope := float(params["negative_slope"])) != 1:
        yield f"its residual branches end with a ReLU of negative slope {slope:g}"


def _with_pixels(params: Params, constants: Mapping[str, Any]) -> dict[str, Any]:
    """Give a net a layout's constants for pixels, to the same effect.

    A net's pixels are x = (p - mean) / std, for p in [0, 1]. Those of the layout, x',
    are the same p by its constants, so x = gain x' + offset for each channel::

        gain = std' / std               offset = (mean' - mean) / std

    Reflection keeps that true at the edges. The last convolution gives x' likewise.
    """
    mean, std = _exactly(params["input"], "mean", "std")
    other_mean, other_std = _exactly(constants["input"], "mean", "std")
    kernel, bias = _exactly(params["conv1"], "kernel", "bias")
    gain, offset = other_std / std, (other_mean - mean) / std
    first = {
        "kernel": kernel * gain[:, None],
        "bias": bias + np.einsum("yxcd,c->d", kernel, offset),
    }
    mean, std = _exactly(params["output"], "mean", "std")
    other_mean, other_std = _exactly(constants["output"], "mean", "std")
    kernel, bias = _exactly(params["conv6"], "kernel", "bias")
    gain, offset = std / other_std, (mean - other_mean) / other_std
    last = {"kernel": kernel * gain, "bias": bias * gain + offset}
    return {**params, **constants, "conv1": first, "conv6": last}


def _exactly(own: Mapping[str, Any], *names: str) -> list[np.ndarray]:
    """Convert parameters to float64, so that only the result is rounded."""
    return [np.asarray(own[name], float) for name in names]
