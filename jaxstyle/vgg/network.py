"""VGG-16 and VGG-19 as feature extractors (Simonyan & Zisserman, 2015).

The parameters are one tree: the input normalization, and per convolution its kernel,
its bias and its mean activation over natural photographs::

    {"mean": [3], "std": [3],
     "conv1_1": {"kernel": [3, 3, 3, 64], "bias": [64], "mean_activation": [64]}, ...}

`jaxstyle.vgg.layers` says what the layers are, and `jaxstyle.vgg.params` changes the
parameters.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels import winograd
from jaxstyle.scaling.sharding import pad_and_shard_rows
from jaxstyle.vgg.layers import Params as Params
from jaxstyle.vgg.layers import block_number, convolutions, smallest_side, width
from jaxstyle.vgg.pooling import POOLINGS, Pool

Features: TypeAlias = dict[str, Float[Array, "*n _h _w _c"]]

FIRST = "conv1_1"
"""The convolution that takes images."""

BORDERS = {"zero": 0, "replicate": 1}
"""The paddings of the first convolution, and how many pixels each replicates."""


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
                x = self._normalize(x)
            if block_number(name) > block:
                block = block_number(name)
                x = self._end(self.pool(x), block)
            border = BORDERS[self.padding] if name == FIRST else 0
            x = Convolution(width(name), border, name=name)(x)
            x = features[name.replace("conv", "relu")] = self._end(x, block)
        return features

    def _normalize(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
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
            color, as the network was trained, or ``"replicate"``, the nearest pixel,
            which leaves fewer marks along the border. All others pad with zeros.
        mesh: devices that divide the rows of the images among them, from
            `jaxstyle.scaling.make_row_mesh`; by default nothing is said of devices.
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
        >>> found = jaxstyle.vgg.features(vgg, photo)
        >>> found["relu1_1"].shape, found["relu2_1"].shape
        ((16, 16, 64), (8, 8, 128))
    """
    check_images(images, smallest=smallest_side(params))
    look = Look(pooling, padding, mesh, dtype)
    x, rows = look.place(params, images), images.shape[-3]
    return apply_convolutions(params, x, convolutions(params), look, rows=rows)


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
        return pad_and_shard_rows(images, self.mesh, stride=smallest_side(params))


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
