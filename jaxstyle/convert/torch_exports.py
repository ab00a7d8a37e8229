"""Transform nets for PyTorch: the inverse of `jaxstyle.convert.torch_nets`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxstyle.convert.torch_nets import EXAMPLES, LAYOUTS, RESIDUAL_BLOCKS, find_name
from jaxstyle.files.param_files import leaves
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.transform_net import net_blocks, net_norm, net_shapes, net_width

_NEUTRAL = {"scale": np.ones, "bias": np.zeros}
"""What an affine norm has instead of parameters that a plain one lacks."""


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
    modules = layout.modules({})
    shapes = net_shapes(width=net_width(params), norm=layout.norm)
    own = dict(leaves(_with_pixels(params, layout.constants)))
    state = {}
    for path, shape in leaves(shapes):
        module, _, kind = path.rpartition("/")
        if module in modules:
            array = own[path] if path in own else _NEUTRAL[kind](shape)
            # Kernels of PyTorch have their channels first.
            axes = (3, 2, 0, 1) if array.ndim == 4 else (0,)
            array = np.ascontiguousarray(array.transpose(axes), np.float32)
            state[find_name(path, modules)] = array
    return state


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
    if (slope := float(params["negative_slope"])) != 1:
        yield f"its residual branches end with a ReLU of negative slope {slope:g}"


def _with_pixels(params: Params, constants: Mapping[str, Any]) -> dict[str, Any]:
    """Give a net a layout's constants for pixels, to the same effect.

    A net's pixels are x = (p - mean) / std, for p in [0, 1]. Those of the layout, x',
    are the same p by its constants, so x = gain x' + offset for each channel::

        gain = std' / std               offset = (mean' - mean) / std

    Reflection keeps that true at the edges. The last convolution gives x' likewise.
    """
    mean, std = _pixels(params["input"])
    other_mean, other_std = _pixels(constants["input"])
    kernel, bias = _exactly(params["conv1"])
    gain, offset = other_std / std, (other_mean - mean) / std
    first = {
        "kernel": kernel * gain[:, None],
        "bias": bias + np.einsum("yxcd,c->d", kernel, offset),
    }
    mean, std = _pixels(params["output"])
    other_mean, other_std = _pixels(constants["output"])
    kernel, bias = _exactly(params["conv6"])
    gain, offset = std / other_std, (mean - other_mean) / other_std
    last = {"kernel": kernel * gain, "bias": bias * gain + offset}
    return {**params, **constants, "conv1": first, "conv6": last}


def _pixels(constants: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(constants["mean"], float), np.asarray(constants["std"], float)


def _exactly(layer: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Convert kernel and bias to float64, so that only the result is rounded."""
    return np.asarray(layer["kernel"], float), np.asarray(layer["bias"], float)
