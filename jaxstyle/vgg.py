"""VGG-16 and VGG-19 as feature extractors (Simonyan & Zisserman, 2015).

The parameters are one tree: the input normalisation, and per convolution its kernel,
its bias and its mean activation over natural photographs::

    {"mean": [3], "std": [3],
     "conv1_1": {"kernel": [3, 3, 3, 64], "bias": [64], "mean_activation": [64]}, ...}

The layers are read off the tree, so VGG-16, VGG-19 and any of them cut short run
through the same code. Layers are named by block and convolution, counted from 1:
``relu4_2`` is the output of the second convolution of the fourth block.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle import winograd
from jaxstyle.images import Images, check_images
from jaxstyle.pooling import POOLINGS, Pool
from jaxstyle.rows import divide_rows

Params: TypeAlias = Mapping[str, Any]
Features: TypeAlias = dict[str, Float[Array, "*n _h _w _c"]]

NETWORKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""The number of convolutions in each of a network's five blocks."""

WIDTHS = (64, 128, 256, 512, 512)
"""The number of filters of the convolutions in each block."""

FIRST = "conv1_1"
"""The convolution that takes images."""

BORDERS = {"zero": 0, "replicate": 1}
"""The paddings of the first convolution, and how many pixels each replicates."""

GRANULARITIES = ("layer", "filter")
"""What mean activations may be normalised by; see `normalize`."""


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
        >>> jaxstyle.layer_names(vgg)
        ('relu1_1', 'relu1_2', 'relu2_1')
    """
    return tuple(name.replace("conv", "relu") for name in _convolutions(params))


def _convolutions(params: Params) -> tuple[str, ...]:
    return tuple(sorted(name for name in params if name.startswith("conv")))


def smallest_side(params: Params) -> int:
    """Return the least height and width, in pixels, that reach the deepest layer."""
    return stride(_convolutions(params)[-1])


def stride(layer: str) -> int:
    """Return how many pixels apart two neighbours in a layer are."""
    return int(2 ** (_block(layer) - 1))


def reach(params: Params, layer: str) -> int:
    """Return how far beyond its own pixels a position of a layer looks, at most."""
    names = layer_names(params)
    return sum(map(stride, names[: names.index(layer) + 1]))


def _block(name: str) -> int:
    """Return the number of the block that a layer or convolution belongs to."""
    return int(name[4])


# --- convolution --------------------------------------------------------------------


def _correlate(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "n h w d"]:
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "n h w d"]:
    """Correlate with 3x3 kernels under zero padding.

    The gradient to ``x`` is written as another such correlation. It is what JAX derives
    too, but in a form that XLA on the CPU runs at full speed inside loops, where the
    derived form takes three times as long.
    """
    return _correlate(x, kernel)


def _convolve_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _correlate(x, kernel), (x, kernel)


def _convolve_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    return _correlate(g, flipped), jax.vjp(lambda k: _correlate(x, k), kernel)[1](g)[0]


convolve.defvjp(_convolve_forward, _convolve_backward)


class Convolution(nn.Module):
    """A 3x3 convolution with zero padding, bias and ReLU.

    With a border, so many pixels are replicated around its input before, and so many
    are cut from its output, which leaves zero padding without effect.

    With a kernel in the Winograd domain (see `prepare_for_cpu`) it runs Winograd's
    algorithm.
    """

    width: int
    border: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the convolution."""
        _, h, w, _ = x.shape
        sides = (self.border, self.border)
        x = jnp.pad(x, ((0, 0), sides, sides, (0, 0)), "edge")
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        if self.has_variable("params", "winograd_kernel"):
            kernel: Array = self.get_variable("params", "winograd_kernel")
            y = winograd.convolve(x, kernel.astype(x.dtype))
        else:
            shape = (3, 3, x.shape[-1], self.width)
            kernel = self.param("kernel", nn.initializers.he_normal(), shape)
            y = convolve(x, kernel.astype(x.dtype))
        y = y[:, self.border : self.border + h, self.border : self.border + w]
        return nn.relu(y + bias.astype(x.dtype))


class VGG(nn.Module):
    """Successive convolutions of a VGG network, returning every activation by name.

    From ``conv1_1`` on they take images, whose first ``rows`` count; from the first of
    a later block on, what the block before it has returned last.
    """

    convolutions: tuple[str, ...]
    pool: Pool
    padding: str
    rows: int
    dtype: DTypeLike | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Features:
        """Return the activations after each ReLU."""
        block, features = 1, {}
        for name in self.convolutions:
            if name == FIRST:
                x = self._normalise(x)
            if _block(name) > block:
                block = _block(name)
                x = self._end(self.pool(x), block)
            border = BORDERS[self.padding] if name == FIRST else 0
            x = Convolution(WIDTHS[block - 1], border, name=name)(x)
            x = features[name.replace("conv", "relu")] = self._end(x, block)
        return features

    def _normalise(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """Return what the first convolution takes, in the network's precision."""
        mean = self.param("mean", nn.initializers.zeros, (3,))
        std = self.param("std", nn.initializers.ones, (3,))
        mean, std = mean.astype(images.dtype), std.astype(images.dtype)
        x = ((images - mean) / std).astype(self.dtype or images.dtype)
        return self._end(x, 1, repeat=BORDERS[self.padding])

    def _end(
        self, x: Float[Array, "n h w c"], block: int, *, repeat: int = 0
    ) -> Float[Array, "n h w c"]:
        """Let rows end where they do: below there are zeros, or the last row again."""
        rows = self.rows // 2 ** (block - 1)
        if x.shape[1] == rows:
            return x
        inside = jnp.arange(x.shape[1])[:, None, None] < rows
        return jnp.where(inside, x, x[:, rows - 1 : rows] if repeat else 0)


def features(
    params: Params,
    images: Images,
    *,
    pooling: str = "max",
    padding: str = "zero",
    mesh: Mesh | None = None,
    dtype: DTypeLike | None = None,
) -> Features:
    """Return the activations of every layer that ``params`` hold, by name.

    Under `jax.jit` nothing is computed for the layers that the caller does not use.

    Source: the networks of Simonyan & Zisserman (2015).

    Args:
        params: a VGG's parameters, as `jaxstyle.load_vgg` returns them.
        images: RGB in [0, 1], ``[*n, h, w, 3]``; values outside are not clipped.
        pooling: ``"max"`` as the network was trained, ``"average"`` as Gatys et al.
            (2016) prefer, or ``"l2"``.
        padding: what the first convolution sees around the image: ``"zero"``, the mean
            colour, as the network was trained, or ``"replicate"``, the nearest pixel,
            which leaves fewer marks along the border. All others pad with zeros.
        mesh: devices that divide the rows of the images among them, from
            `jaxstyle.make_row_mesh`; by default nothing is said of devices.
        dtype: the precision in which the network computes; that of the images by
            default.

    Returns:
        The activations ``[*n, h', w', c]`` of each layer ``relu{block}_{index}``, whose
        height and width are those of the image divided by 2 for each block before;
        with a mesh, rows of zeros may follow.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: the shape is wrong, an image is too small to reach the deepest
            layer, or there is no such pooling or padding.

    Examples:
        >>> found = jaxstyle.features(vgg, photo)
        >>> found["relu1_1"].shape, found["relu2_1"].shape
        ((16, 16, 64), (8, 8, 128))
    """
    check_images(images, smallest=smallest_side(params))
    look = Look(pooling, padding, mesh, dtype)
    x, rows = look.place(params, images), images.shape[-3]
    return apply_convolutions(params, x, _convolutions(params), look, rows=rows)


class Look(NamedTuple):
    """How a network looks at images: the options of `features`."""

    pooling: str = "max"
    padding: str = "zero"
    mesh: Mesh | None = None
    dtype: DTypeLike | None = None

    def place(self, params: Params, images: Images) -> Images:
        """Return images on their devices, perhaps with rows of zeros below them."""
        if self.mesh is None:
            return images
        return divide_rows(images, self.mesh, stride=smallest_side(params))


def apply_convolutions(
    params: Params,
    x: Float[Array, "*n h w c"],
    names: Sequence[str],
    look: Look,
    *,
    rows: int,
) -> Features:
    """Return the activations after successive convolutions.

    Args:
        params: a VGG's parameters.
        x: images, or what the block before these convolutions has returned last.
        names: the convolutions, all of a network's or all of a block's.
        look: how to look.
        rows: how many rows the images have that are not appended.
    """
    pooling, padding, _, dtype = look
    if pooling not in POOLINGS:
        raise ValueError(f"no pooling {pooling!r}; known are {', '.join(POOLINGS)}")
    if padding not in BORDERS:
        raise ValueError(f"no padding {padding!r}; known are {', '.join(BORDERS)}")
    net = VGG(tuple(names), POOLINGS[pooling], padding, rows, dtype)
    flat = x.reshape(-1, *x.shape[-3:])
    outputs: Features = net.apply({"params": params}, flat)  # type: ignore[assignment]
    return {name: y.reshape(*x.shape[:-3], *y.shape[1:]) for name, y in outputs.items()}


def blocks(params: Params) -> list[tuple[str, ...]]:
    """Return the names of the convolutions of each block."""
    return [tuple(names) for _, names in groupby(_convolutions(params), key=_block)]


# --- parameters ---------------------------------------------------------------------


def normalize(params: Params, *, per: str = "layer") -> Params:
    """Rescale the convolutions so that mean activations over photographs are 1.

    ReLU and pooling commute with positive factors, so the activations of each layer
    are exactly those of the given network divided by a constant, which makes one set of
    loss weights fit the original Oxford network and torchvision's alike.

    Args:
        params: a VGG's parameters with their mean activations.
        per: ``"filter"`` divides every filter by its own mean, as Gatys et al. (2016)
            did; ``"layer"`` divides a layer by the mean over its filters, which keeps
            the balance between its filters as it was trained.

    Returns:
        Parameters of the same structure, whose mean activations are rescaled too.

    Raises:
        ValueError: ``per`` is neither, or the parameters went through
            `prepare_for_cpu` before.

    Examples:
        >>> layer = jaxstyle.load_vgg()["conv2_1"]
        >>> round(float(layer["mean_activation"].mean()))
        164
        >>> layer = jaxstyle.normalize(vgg)["conv2_1"]
        >>> round(float(layer["mean_activation"].mean()))
        1
    """
    if per not in GRANULARITIES:
        raise ValueError(f"mean activations are per layer or per filter, not {per!r}")
    normalized = dict(params)
    scale_in = jnp.ones(3)
    for name in _convolutions(params):
        layer = params[name]
        if "winograd_kernel" in layer:
            raise ValueError("normalize the parameters before prepare_for_cpu")
        means = jnp.asarray(layer["mean_activation"])
        # A filter that is silent on photographs has no scale of its own.
        floor = 1e-3 * means.mean()
        scale = (
            jnp.maximum(means, floor)
            if per == "filter"
            else jnp.full_like(means, means.mean())
        )
        normalized[name] = {
            "kernel": layer["kernel"] * scale_in[:, None] / scale,
            "bias": layer["bias"] / scale,
            "mean_activation": means / scale,
        }
        scale_in = scale
    return normalized


def check_layers(params: Params, layers: Sequence[str]) -> None:
    """Raise a ValueError that names every one of ``layers`` not in ``params``."""
    known = layer_names(params)
    unknown = [layer for layer in dict.fromkeys(layers) if layer not in known]
    if unknown:
        raise ValueError(
            f"no layer {', '.join(unknown)} in this network; it has {', '.join(known)}"
        )


def truncate(params: Params, layers: Sequence[str]) -> Params:
    """Drop the convolutions that none of ``layers`` needs; the first one stays.

    Images may then be smaller, and less is kept in memory.

    Args:
        params: a VGG's parameters.
        layers: the names of those that are wanted.

    Returns:
        Parameters that are a part of the given ones.

    Raises:
        ValueError: a layer is not in ``params``; all such layers are named.

    Examples:
        >>> jaxstyle.layer_names(jaxstyle.truncate(vgg, ["relu1_1", "relu1_2"]))
        ('relu1_1', 'relu1_2')
    """
    check_layers(params, layers)
    known = layer_names(params)
    deepest = max((known.index(layer) for layer in layers), default=0)
    dropped = {name.replace("relu", "conv") for name in known[deepest + 1 :]}
    return {name: value for name, value in params.items() if name not in dropped}


def prepare_for_cpu(params: Params) -> Params:
    """Move the kernels that gain from it into the Winograd domain.

    The features stay the same to about 1e-5 relative; on a CPU they take about half
    the time. The kernels grow fourfold.

    Source: Lavin & Gray (2016), with points of interpolation of our own, whose rounding
    errors are a quarter.

    Args:
        params: a VGG's parameters.

    Returns:
        Parameters for `jaxstyle.features` and what is built on it. `normalize` takes
        them no more, `truncate` does.

    Examples:
        >>> fast = jaxstyle.prepare_for_cpu(vgg)
        >>> sorted(fast["conv2_1"])
        ['bias', 'mean_activation', 'winograd_kernel']
    """
    return {
        name: _to_winograd(value) if name.startswith("conv") else value
        for name, value in params.items()
    }


def _to_winograd(layer: Params) -> Params:
    if "winograd_kernel" in layer:
        return layer
    *_, width_in, width_out = layer["kernel"].shape
    if width_in * width_out < winograd.WORTHWHILE:
        return layer
    rest = {name: value for name, value in layer.items() if name != "kernel"}
    return rest | {"winograd_kernel": winograd.transform_kernel(layer["kernel"])}
