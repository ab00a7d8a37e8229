"""VGG-16 and VGG-19 as feature extractors (Simonyan & Zisserman, 2015).

The parameters are one tree: the input normalization, and per convolution its kernel,
its bias and its mean activation over natural photographs::

    {"mean": [3], "std": [3],
     "conv1_1": {"kernel": [3, 3, 3, 64], "bias": [64], "mean_activation": [64]}, ...}

`jaxstyle.vgg.layers` says what the layers are, and `jaxstyle.vgg.params` changes the
parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from itertools import groupby
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels import winograd
from jaxstyle.vgg import layers
from jaxstyle.vgg.layers import (
    POOLINGS,
    Pool,
    VGGParams as VGGParams,
    block_number,
    width,
)

Features: TypeAlias = dict[str, Float[Array, "*n _h _w _c"]]

FIRST = "conv1_1"
"""The convolution that takes images."""

BORDERS = {"zero": 0, "replicate": 1}
"""The paddings of the first convolution, and the pixels that each replicates."""


# --- convolution --------------------------------------------------------------------


def _correlate(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "n h w d"]:
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_jvp
def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "n h w d"]:
    """Correlate with 3x3 kernels under zero padding.

    The gradient with respect to ``x`` is another such correlation, as JAX derives too,
    but in a form that XLA on the CPU runs at full speed inside loops, where the derived
    form takes three times as long.
    """
    return _correlate(x, kernel)


@partial(convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, ...]
) -> tuple[Array, Array]:
    """Write what follows ``x`` as the transpose of the gradient that is wanted."""
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    y = _correlate(x, kernel)
    change = []
    if not isinstance(x_dot, SymbolicZero):
        flipped = kernel[::-1, ::-1].swapaxes(2, 3)
        gradient = jax.linear_transpose(lambda g: _correlate(g, flipped), y)
        change += gradient(x_dot)
    if not isinstance(kernel_dot, SymbolicZero):
        change.append(_correlate(x, kernel_dot))
    return y, reduce(jnp.add, change)


class Convolution(nn.Module):
    """A 3x3 convolution with zero padding, bias and ReLU.

    With a border, the outermost pixels are replicated ``border`` times around the input
    and as many are cut from the output, so that zero padding has no effect. A kernel in
    the Winograd domain (see `prepare_for_cpu`) runs Winograd's algorithm.
    """

    width: int
    border: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the convolution."""
        _, h, w, _ = x.shape
        if self.border:  # padding by none has a gradient of many zeros
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


class Block(nn.Module):
    """The convolutions of one block of a VGG, returning every activation by name.

    The first block takes images, whose first ``rows`` count; each other takes the last
    activations of the block before, and pools them first.
    """

    names: tuple[str, ...]
    pool: Pool
    padding: str
    rows: int
    dtype: DTypeLike | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Features:
        """Return the activations after each ReLU."""
        block, features = block_number(self.names[0]), Features()
        x = self._normalize(x) if block == 1 else self._end(self.pool(x), block)
        for name in self.names:
            border = BORDERS[self.padding] if name == FIRST else 0
            x = Convolution(width(name), border, name=name)(x)
            x = features[name.replace("conv", "relu")] = self._end(x, block)
        return features

    def _normalize(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """Normalize images for the first convolution, in the network's precision."""
        mean = self.param("mean", nn.initializers.zeros, (3,))
        std = self.param("std", nn.initializers.ones, (3,))
        mean, std = mean.astype(images.dtype), std.astype(images.dtype)
        x = ((images - mean) / std).astype(self.dtype or images.dtype)
        return self._end(x, 1, repeat=BORDERS[self.padding])

    def _end(
        self, x: Float[Array, "n h w c"], block: int, *, repeat: int = 0
    ) -> Float[Array, "n h w c"]:
        """Fill the rows that do not count with zeros, or with the last that does."""
        rows = self.rows // 2 ** (block - 1)
        if x.shape[1] == rows:
            return x
        inside = jnp.arange(x.shape[1])[:, None, None] < rows
        return jnp.where(inside, x, x[:, rows - 1 : rows] if repeat else 0)


# --- the extractor ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VGG:
    """A VGG network as a feature extractor of `jaxstyle.losses`.

    Which layers it has is up to the parameters; see `layer_names`.

    Source: the networks of Simonyan & Zisserman (2015).

    Attributes:
        pooling: ``"max"`` as the network was trained, ``"average"`` as Gatys et al.
            (2016) prefer, or ``"l2"``.
        padding: what the first convolution sees around the image: ``"zero"``, the mean
            color, as the network was trained, or ``"replicate"``, the nearest pixel,
            which leaves fewer marks along the border. All others pad with zeros.

    Examples:
        >>> extractor = jaxstyle.vgg.VGG(pooling="average", padding="replicate")
        >>> objective = jaxstyle.losses.Objective(extractor=extractor)
    """

    pooling: str = "max"
    padding: str = "zero"

    def __post_init__(self) -> None:
        """Raise a ValueError for an unknown pooling or padding."""
        for what, known in {"pooling": POOLINGS, "padding": BORDERS}.items():
            if (name := getattr(self, what)) not in known:
                raise ValueError(f"no {what} {name!r}; known are {', '.join(known)}")

    def layers(self, params: VGGParams) -> tuple[str, ...]:
        """Name the layers, in order."""
        return layers.layer_names(params)

    def stride(self, layer: str) -> int:
        """Count the pixels from one position of a layer to the next."""
        return layers.stride(layer)

    def reach(self, params: VGGParams, layer: str) -> int:
        """Count the pixels around its own that a position depends on, at most."""
        names = layers.layer_names(params)
        return sum(map(layers.stride, names[: names.index(layer) + 1]))

    def blocks(
        self, params: VGGParams, *, dtype: DTypeLike | None = None
    ) -> list[Callable[[VGGParams, Array, int], tuple[Array, Features]]]:
        """Divide the network before its poolings; see `jaxstyle.losses.Extractor`."""
        blocks = groupby(layers.convolutions(params), key=block_number)
        return [
            partial(self._apply_block, names=tuple(names), dtype=dtype)
            for _, names in blocks
        ]

    def _apply_block(
        self,
        params: VGGParams,
        x: Float[Array, "*n h w c"],
        rows: int,
        *,
        names: tuple[str, ...],
        dtype: DTypeLike | None,
    ) -> tuple[Float[Array, "*n _h _w _c"], Features]:
        net = Block(names, POOLINGS[self.pooling], self.padding, rows, dtype)
        flat = x.reshape(-1, *x.shape[-3:])
        outputs: Features = net.apply({"params": params}, flat)  # type: ignore[assignment]
        found = {
            name: y.reshape(*x.shape[:-3], *y.shape[1:]) for name, y in outputs.items()
        }
        *_, last = found.values()
        return last, found


def features(
    params: VGGParams,
    images: Images,
    *,
    pooling: str = "max",
    padding: str = "zero",
    dtype: DTypeLike | None = None,
) -> Features:
    """Compute the activations of every layer that ``params`` hold, by name.

    Not jitted: jit what calls it. Then nothing is computed for the layers that the
    caller does not use.

    Args:
        params: a VGG's parameters, as `jaxstyle.load_vgg` returns them.
        images: RGB in [0, 1], ``[*n, h, w, 3]``; values outside are not clipped.
        pooling: as in `VGG`.
        padding: as in `VGG`.
        dtype: the precision in which the network computes; that of the images by
            default.

    Returns:
        The activations ``[*n, h', w', c]`` of each layer ``relu{block}_{index}``, whose
        height and width are those of the image divided by 2 for each block before.

    Examples:
        >>> found = jaxstyle.vgg.features(vgg, photo)
        >>> found["relu1_1"].shape, found["relu2_1"].shape
        ((16, 16, 64), (8, 8, 128))
    """
    check_images(images, smallest=layers.smallest_side(params))
    x, found = images, Features()
    for block in VGG(pooling=pooling, padding=padding).blocks(params, dtype=dtype):
        x, of_block = block(params, x, images.shape[-3])
        found |= of_block
    return found
