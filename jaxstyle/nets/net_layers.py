"""The layers of transform nets as a table, and the function that applies them.

`make_layers` is the one place where the architecture is written. From its table are
read: the shapes of a net's parameters, what runs them (on whole images, in padded
arrays, on several devices, in tiles), and what converts them (ONNX, PyTorch).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax, nn
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Params as Params
from jaxstyle.kernels.convolutions import Geometry

Own: TypeAlias = Mapping[str, Array]
"""The parameters of one convolution or norm."""

Activations: TypeAlias = Float[Array, "n h w c"]

NORMS: Mapping[str, tuple[str, ...]] = {
    "affine": ("bias", "scale"),
    "instance": (),
    "batch": ("bias", "mean", "scale", "variance"),
}
"""The norms by name, and the parameters that tell one from the other."""

EPSILON = 1e-5
"""What is added to variances."""


# --- the table ----------------------------------------------------------------------


class Layer(NamedTuple):
    """A convolution, a norm if any, a key of `NORMS`, and a ReLU if any.

    What was upsampled may be smoothed by a filter before the convolution. Both together
    are one with a larger kernel, and the geometry is that one's.
    """

    number: int
    channels: int
    geometry: Geometry
    norm: str | None
    relu: bool = True
    taps: int = 1

    @property
    def kernel_size(self) -> int:
        """The side of the kernel without the filter."""
        return self.geometry.size - self.taps + 1

    @property
    def conv_name(self) -> str:
        """The name of the convolution's parameters."""
        return f"conv{self.number}"

    @property
    def norm_name(self) -> str:
        """The name of the norm's parameters; a norm without any is not in the tree."""
        return f"norm{self.number}"


class Residual(NamedTuple):
    """Layers that add to their input: ``x + leaky_relu(layers(x), negative_slope)``."""

    name: str
    layers: tuple[Layer, ...]


Layers: TypeAlias = Sequence[Layer | Residual]


def make_layers(*, width: int, norm: str, blocks: int, taps: int = 1) -> Layers:
    """Make the table of a net; see `jaxstyle.nets.init_net`.

    Whatever is upsampled is smoothed by a filter of ``taps`` taps. A ValueError says if
    there is no such norm, or if a number is out of range.
    """
    if taps not in (1, 3):
        raise ValueError(f"expected a filter of 3 taps, got {taps}")
    if width < 1:
        raise ValueError(f"the width must be at least 1, got {width}")
    if norm not in NORMS:
        raise ValueError(f"no norm {norm!r}; known are {', '.join(NORMS)}")
    widest = 4 * width
    upsampling = Geometry(3 + taps - 1, upsampling=2)
    inner = (
        Layer(1, widest, Geometry(3), norm),
        Layer(2, widest, Geometry(3), norm, relu=False),
    )
    return (
        Layer(1, width, Geometry(9), norm),
        Layer(2, 2 * width, Geometry(3, stride=2), norm),
        Layer(3, widest, Geometry(3, stride=2), norm),
        *(Residual(f"residual{1 + index}", inner) for index in range(blocks)),
        Layer(4, 2 * width, upsampling, norm, taps=taps),
        Layer(5, width, upsampling, norm, taps=taps),
        Layer(6, 3, Geometry(9), norm=None, relu=False),
    )


def flatten(layers: Layers) -> Iterator[tuple[str, Layer]]:
    """Yield each layer with the path to its parameters: ``""`` or ``"residual1/"``."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from ((f"{layer.name}/", inner) for inner in layer.layers)
        else:
            yield "", layer


def output_strides(layers: Layers, stride: int = 1) -> list[int]:
    """Compute how many pixels apart the positions of each layer's output are."""

    def after(stride: int, layer: Layer | Residual) -> int:
        if isinstance(layer, Residual):
            return stride
        return stride * layer.geometry.stride // layer.geometry.upsampling

    return list(accumulate(layers, after, initial=stride))[1:]


STRIDE = max(output_strides(make_layers(width=1, norm="instance", blocks=0)))
"""Height and width inside a net are multiples of this: images are padded to it."""


def layer_shapes(layers: Layers, channels: int) -> dict[str, Any]:
    """Compute the shapes of the parameters of layers with ``channels`` inputs."""
    shapes: dict[str, Any] = {}
    for layer in layers:
        if isinstance(layer, Residual):
            shapes[layer.name] = layer_shapes(layer.layers, channels)
            continue
        size = layer.kernel_size
        kernel = (size, size, channels, layer.channels)
        channels = layer.channels
        shapes[layer.conv_name] = {"kernel": kernel, "bias": (channels,)}
        if layer.norm and (names := NORMS[layer.norm]):
            shapes[layer.norm_name] = dict.fromkeys(names, (channels,))
    return shapes


# --- applying it --------------------------------------------------------------------


class Moments(NamedTuple):
    """Mean and variance, of shapes that broadcast against activations."""

    mean: Array
    variance: Array


Convolve: TypeAlias = Callable[[Activations, Array, Geometry], Activations]
"""Upsamples, pads by reflection and correlates with a kernel."""

Measure: TypeAlias = Callable[[Activations, Own], Moments]
"""From activations and the parameters of their norm to the moments to normalize by."""


def apply_layers(
    layers: Layers,
    params: Params,
    x: Activations,
    *,
    convolve: Convolve,
    measure: Measure,
) -> tuple[Activations, dict[str, Any]]:
    """Apply layers; also return all moments, in a tree like that of the parameters."""
    measured: dict[str, Any] = {}
    for layer in layers:
        if isinstance(layer, Residual):
            y, measured[layer.name] = apply_layers(
                layer.layers, params[layer.name], x, convolve=convolve, measure=measure
            )
            x = add_residual(x, y, params)
            continue
        x = apply_convolution(layer, params, x, convolve)
        x, moments = finish_layer(layer, params, x, measure)
        measured[layer.norm_name] = moments
    return x, measured


def apply_convolution(
    layer: Layer, params: Params, x: Activations, convolve: Convolve
) -> Activations:
    """Apply the convolution of a layer in the precision of its input."""
    kernel = jnp.asarray(effective_kernel(layer, params), x.dtype)
    bias = jnp.asarray(params[layer.conv_name]["bias"], x.dtype)
    return convolve(x, kernel, layer.geometry) + bias


def effective_kernel(layer: Layer, params: Params) -> Float[Array, "k k c d"]:
    """Compute the kernel of a layer's geometry, with the filter if there is one."""
    kernel: Array = params[layer.conv_name]["kernel"]
    if layer.taps == 1:
        return kernel
    return _smooth(kernel, lax.stop_gradient(params["filter"]))


def _smooth(
    kernel: Float[Array, "k k c d"], taps: Float[Array, " t"]
) -> Float[Array, "k+t-1 k+t-1 c d"]:
    """Compute the kernel that first smooths by a filter, along both axes."""
    size = kernel.shape[0]
    rows = [jnp.pad(taps, (at, size - 1 - at)) for at in range(size)]
    return jnp.einsum(
        "yi,xj,yxcd->ijcd", *[jnp.stack(rows)] * 2, kernel, precision="highest"
    )


def finish_layer(
    layer: Layer, params: Params, x: Activations, measure: Measure
) -> tuple[Activations, Moments | None]:
    """Apply the norm and the ReLU of a layer; return also the norm's moments."""
    moments = None
    if layer.norm:
        own = params.get(layer.norm_name, {})
        moments = measure(x, own)
        x = normalize(x, moments, own)
    return (nn.relu(x) if layer.relu else x), moments


def add_residual(x: Activations, y: Activations, params: Params) -> Activations:
    """Add the result of a residual block, after its leaky ReLU, to its input."""
    slope = constant(params["negative_slope"], x.dtype)
    return jnp.asarray(x + nn.leaky_relu(y, slope))


def normalize(x: Activations, moments: Moments, own: Own) -> Activations:
    """Shift and scale channels to mean 0 and variance 1, then by a norm's parameters.

    The precision stays that of ``x``.
    """
    scale = own.get("scale", 1.0) * lax.rsqrt(moments.variance + EPSILON)
    shift = own.get("bias", 0.0) - moments.mean * scale
    return x * scale.astype(x.dtype) + shift.astype(x.dtype)


def running_or(measure: Callable[[Activations], Moments]) -> Measure:
    """Take batch norm's running moments, and for other norms those of activations."""

    def chosen(x: Activations, own: Own) -> Moments:
        running = "mean" in own
        return Moments(own["mean"], own["variance"]) if running else measure(x)

    return chosen


def measure_axes(x: Activations, axes: tuple[int, ...] = (1, 2)) -> Moments:
    """Compute mean and variance over some axes, in float32 or better."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = x.mean(axes, keepdims=True)
    return Moments(mean, jnp.square(x - mean).mean(axes, keepdims=True))


measure_image = running_or(measure_axes)
"""Measures as `jaxstyle.stylize` does."""


def constant(x: Array, dtype: Any) -> Array:
    """Convert a parameter that no gradient moves."""
    return lax.stop_gradient(x).astype(dtype)
