"""Nets and paintings as programs: StableHLO, which JAX runs, and ONNX for nets.

The ONNX graph is written out here, layer by layer. Converters of JAX programs read it
off the traced net instead, where padding by reflection and sizes that are known only
later have become thousands of small steps.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.kernels.convolutions import block_kernel
from jaxstyle.nets.net_layers import (
    EPSILON,
    STRIDE,
    Layer,
    Layers,
    Params,
    Residual,
    effective_kernel,
)
from jaxstyle.nets.transform_net import SMALLEST_SIDE, net_layers, transform
from jaxstyle.transport.encoder import (
    LEVELS,
    SMALLEST_SIDE as SMALLEST_PAINTED,
    level_stride,
)
from jaxstyle.transport.paintings import Painting
from jaxstyle.transport.stylization import stylize_padded

PLATFORMS = ("cpu", "cuda", "tpu")
"""Where an exported net runs."""

OPSET = 18
"""The version of ONNX's operators: of 2022, the first whose ``Pad`` has axes."""

_SIDES = np.array([2, 3])
"""The axes of height and width: inside the graph, channels come second."""


def export_net(params: Params) -> export.Exported:
    """Export `jaxstyle.stylize` with a net's parameters inside, for images of any size.

    Write ``exported.serialize()`` to a file; `jax.export.deserialize` reads it in a
    process that has only JAX and flatbuffers. Call it within `jax.jit`, which compiles
    each new shape once; outside, every call compiles anew.

    The file holds no gradient. With ``exported.serialize(vjp_order=1)`` it holds the
    gradient to the images too, and is twice as large.

    Args:
        params: a net's parameters, as `jaxstyle.load_style` returns them.

    Returns:
        What ``exported.call(images)`` runs on CPU, CUDA or TPU. It takes float32 RGB in
        [0, 1], ``[n, h, w, 3]``, of 16x16 pixels or more, and returns the same shape.
        As with `jaxstyle.stylize`, values are not clipped: some lie outside [0, 1].
        Any other shape or type is a ``ValueError``.

    Examples:
        >>> from jax import export
        >>> file = jaxstyle.convert.export_net(net).serialize()
        >>> stylize = jax.jit(export.deserialize(file).call)
        >>> jax.eval_shape(stylize, jnp.zeros((5, 40, 30, 3))).shape
        (5, 40, 30, 3)
    """

    def stylize(images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        _, height, width, _ = images.shape
        return transform(params, _pad(images, STRIDE))[0][:, :height, :width]

    return _export(stylize, smallest=SMALLEST_SIDE)


def export_painting(
    params: Mapping[str, Any], target: Painting, *, strength: ArrayLike = 1.0
) -> export.Exported:
    """Export `jaxstyle.transport.stylize` with a painting inside, as `export_net` does.

    Args:
        params: from `jaxstyle.load_transport`.
        target: from `jaxstyle.transport.describe`.
        strength: as in `jaxstyle.transport.stylize`.

    Returns:
        What ``exported.call(images)`` runs; see `export_net`.

    Examples:
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> exported = jaxstyle.convert.export_painting(transport, target)
        >>> exported.platforms
        ('cpu', 'cuda', 'tpu')
    """

    def stylize(images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        count, height, width, _ = images.shape
        size = jnp.stack([jnp.asarray(height), jnp.asarray(width)])
        sizes = jnp.broadcast_to(size, (count, 2))
        padded = _pad(images, level_stride(len(LEVELS)))
        painted = stylize_padded(params, padded, target, sizes, strength=strength)
        return painted[:, :height, :width]

    return _export(stylize, smallest=SMALLEST_PAINTED)


def _pad(images: Float[Array, "n h w 3"], step: int) -> Float[Array, "n _h _w 3"]:
    """Pad images to sides that are multiples of a step.

    Of open sizes JAX knows little. So this pads by the most that may be needed and
    cuts, to sizes that are visibly multiples.
    """
    _, height, width, _ = images.shape
    margin = (0, step - 1)
    x = jnp.pad(images, ((0, 0), margin, margin, (0, 0)), "reflect")
    return x[:, : step * -(-height // step), : step * -(-width // step)]


def _export(stylize: Callable[[Array], Array], *, smallest: int) -> export.Exported:
    """Export a function of images of any size from the smallest side on."""
    least = [f"{side} >= {smallest}" for side in ("h", "w")]
    shape = export.symbolic_shape("n, h, w, 3", constraints=least)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    return export.export(jax.jit(stylize), platforms=PLATFORMS)(images)


# --- ONNX ---------------------------------------------------------------------------


def to_onnx(params: Params) -> bytes:
    """Convert `jaxstyle.stylize` with a net's parameters to an ONNX file.

    Its input ``images`` and its output ``stylized`` are those of `jaxstyle.stylize`:
    float32 RGB in [0, 1], ``[n, h, w, 3]``, of 16x16 pixels or more, of any size in
    each call. Values are not clipped: some lie outside [0, 1].

    Args:
        params: a net's parameters, as `jaxstyle.load_style` returns them.

    Returns:
        The content of the file.

    Raises:
        ImportError: the package onnx is not installed.

    Examples:
        >>> import onnx
        >>> file = jaxstyle.convert.to_onnx(net)
        >>> [node.name for node in onnx.load_from_string(file).graph.input]
        ['images']
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise ImportError(
            "ONNX files need the package onnx: pip install onnx"
        ) from error

    graph = _Graph([], {})
    _stylize(graph, params, "images", output="stylized")
    shape = ("n", "h", "w", 3)
    model = helper.make_model_gen_version(
        helper.make_graph(
            graph.nodes,
            "stylize",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("stylized", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(x, name) for name, x in graph.constants.items()],
        ),
        producer_name="jaxstyle",
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    return bytes(model.SerializeToString())


class _Graph(NamedTuple):
    """ONNX's nodes in the order in which they run, and constants by name."""

    nodes: list[Any]
    constants: dict[str, np.ndarray]

    def add(
        self, operator: str, *inputs: str | np.ndarray, output: str = "", **own: Any
    ) -> str:
        """Add a node with attributes of its own; return the name of its output.

        Inputs that are arrays become constants.
        """
        from onnx import helper

        names = []
        for x in inputs:
            names.append(x if isinstance(x, str) else f"constant_{len(self.constants)}")
            if not isinstance(x, str):
                self.constants[names[-1]] = x
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [output], **own))
        return output


def _stylize(graph: _Graph, params: Params, images: str, *, output: str) -> None:
    """Add what `jaxstyle.stylize` does, for channels that come second."""
    x = graph.add("Transpose", images, perm=[0, 3, 1, 2])
    size = graph.add("Shape", x, start=2)
    missing = graph.add("Mod", graph.add("Neg", size), np.array(STRIDE))
    margins = graph.add("Concat", np.array([0, 0]), missing, axis=0)
    x = graph.add("Pad", x, margins, "", _SIDES, mode="reflect")
    x = _transform(graph, params, x)
    x = graph.add("Slice", x, np.array([0, 0]), size, _SIDES)
    graph.add("Transpose", x, perm=[0, 2, 3, 1], output=output)


def _transform(graph: _Graph, params: Params, x: str) -> str:
    """Add what `jaxstyle.nets.transform_net.transform` does."""
    pixels = params["input"]
    x = graph.add("Sub", x, _channels(pixels["mean"]))
    x = graph.add("Div", x, _channels(pixels["std"]))
    if "noise" in params:
        x = _add_noise(graph, _array(params["noise"]), x)
    x = _apply_layers(graph, net_layers(params), params, x)
    pixels = params["output"]
    x = graph.add("Mul", x, _channels(pixels["std"]))
    return graph.add("Add", x, _channels(pixels["mean"]))


def _apply_layers(graph: _Graph, layers: Layers, params: Params, x: str) -> str:
    """Add what `jaxstyle.nets.net_layers.apply_layers` does."""
    for layer in layers:
        if isinstance(layer, Residual):
            y = _apply_layers(graph, layer.layers, params[layer.name], x)
            slope = float(params["negative_slope"])
            x = graph.add("Add", x, graph.add("LeakyRelu", y, alpha=slope))
            continue
        x = _convolve(graph, layer, params, x)
        if layer.norm:
            x = _normalize(graph, params.get(layer.norm_name, {}), x)
        if layer.relu:
            x = graph.add("Relu", x)
    return x


def _add_noise(graph: _Graph, square: np.ndarray, x: str) -> str:
    """Add the channels of a square that is repeated over the image."""
    side = len(square)
    size = graph.add("Shape", x, start=2)
    more = graph.add("Div", graph.add("Add", size, np.array(side - 1)), np.array(side))
    count = graph.add("Shape", x, end=1)
    repeats = graph.add("Concat", count, np.array([1]), more, axis=0)
    noise = graph.add("Tile", square.transpose(2, 0, 1)[None], repeats)
    noise = graph.add("Slice", noise, np.array([0, 0]), size, _SIDES)
    return graph.add("Concat", x, noise, axis=1)


def _convolve(graph: _Graph, layer: Layer, params: Params, x: str) -> str:
    """Add padding and a convolution, or an upsampling by blocks of pixels."""
    geometry, bias = layer.geometry, _array(params[layer.conv_name]["bias"])
    kernel = effective_kernel(layer, params)
    upsampling = geometry.upsampling
    margin, mode = geometry.size // 2, "reflect"
    if upsampling > 1:
        # As in jaxstyle.kernels.convolutions: each position gives a block of pixels.
        kernel, bias = block_kernel(kernel, geometry), np.tile(bias, upsampling**2)
        margin, mode = 1, "edge"
    x = graph.add("Pad", x, np.array([margin] * 4), "", _SIDES, mode=mode)
    kernels = _array(kernel).transpose(3, 2, 0, 1)
    x = graph.add("Conv", x, kernels, bias, strides=[geometry.stride] * 2)
    if upsampling > 1:
        x = graph.add("DepthToSpace", x, blocksize=upsampling, mode="DCR")
    return x


def _normalize(graph: _Graph, own: Params, x: str) -> str:
    """Add a norm, whose mean and variance are its own if it is batch norm."""
    mean = _channels(own["mean"]) if "mean" in own else _mean(graph, x)
    x = graph.add("Sub", x, mean)
    variance = (
        _channels(own["variance"])
        if "variance" in own
        else _mean(graph, graph.add("Mul", x, x))
    )
    std = graph.add("Sqrt", graph.add("Add", variance, _array(EPSILON)))
    gain = graph.add("Div", _channels(own.get("scale", [1])), std)
    return graph.add("Add", graph.add("Mul", x, gain), _channels(own.get("bias", [0])))


def _mean(graph: _Graph, x: str) -> str:
    """Add the mean of each channel of each image.

    Rows come first: runtimes add up float32 numbers one by one, and over all pixels of
    a large photo at once that costs four digits.
    """
    return graph.add("ReduceMean", graph.add("ReduceMean", x, _SIDES[1:]), _SIDES[:1])


def _channels(x: Any) -> np.ndarray:
    """Reshape one value per channel to broadcast against their pixels."""
    return _array(x)[:, None, None]


def _array(x: Any) -> np.ndarray:
    return np.asarray(x, np.float32)
