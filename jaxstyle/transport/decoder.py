"""The decoder: four blocks that lead from each level of features down to pixels.

Block k takes relu{k}_1 to relu{k-1}_1, block 1 takes relu1_1 to pixels. Blocks 4 to 2
are the sum of two branches, and a ReLU::

    linear       3x3 -> r channels -> 1x1 -> bilinear x2
    nonlinear    3x3, ReLU -> bilinear x2 -> (3x3, ReLU ->) 3x3

The linear branch has a closed form (see `jaxstyle.transport.closed_form`), whose rank
is r. The nonlinear one mirrors a block of VGG-16; its last convolution is zero at
first, so that a decoder starts where the closed form ends. Both see channels of mean 0
and variance 1: activations are positive, and their common mean would make gradient
descent slow. Block 1 is one 3x3 convolution, since relu1_1 determines pixels almost
linearly. All convolutions pad by reflection. Nothing tells the four positions that come
of one from each other: where something does, transported features come out as a weave.

Source: the decoder of Chiu & Gurari (2022), "PhotoWCT2", with bilinear upsampling. The
linear branches are not in the paper.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.kernels.borders import Sizes, reflect, repeat
from jaxstyle.kernels.convolutions import Geometry, convolve
from jaxstyle.transport.encoder import level_stride
from jaxstyle.vgg.layers import NETWORKS

Params: TypeAlias = Mapping[str, Any]

Maps: TypeAlias = Float[Array, "*n h w c"]
"""Features of one level, or pixels."""

DEPTHS = NETWORKS["vgg16"][:3]
"""The numbers of convolutions in the nonlinear branches of blocks 2 to 4."""


class Kernel(nn.Module):
    """The kernel and the bias of a 3x3 convolution."""

    width: int
    first: nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, channels: int) -> tuple[Array, Array]:
        """Return both, for so many channels of the input."""
        kernel = self.param("kernel", self.first, (3, 3, channels, self.width))
        return kernel, self.param("bias", nn.initializers.zeros, (self.width,))


def apply(
    x: Float[Array, "n h w c"], *kernels: Kernel, sizes: Sizes | None
) -> list[Float[Array, "n h w d"]]:
    """Apply convolutions with reflection padding to one input, all in one.

    Images of these sizes lie in larger arrays, unless there are none.
    """
    parts = [kernel(x.shape[-1]) for kernel in kernels]
    kernel, bias = (
        jnp.concatenate(same, -1).astype(x.dtype) for same in zip(*parts, strict=True)
    )
    found = convolve(reflect(x, sizes), kernel, Geometry(3)) + bias
    ends = list(accumulate(kernel.width for kernel in kernels))
    return jnp.split(found, ends[:-1], axis=-1)


class Standardization(nn.Module):
    """Shift and scale channels by constants, which no gradient moves."""

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Return channels of mean 0 and variance 1 over photographs."""
        mean = self.param("mean", nn.initializers.zeros, x.shape[-1:])
        std = self.param("std", nn.initializers.ones, x.shape[-1:])
        mean, std = lax.stop_gradient((mean, std))
        return (x - mean.astype(x.dtype)) / std.astype(x.dtype)


class Linear(nn.Module):
    """The two parts of a linear map of a rank from 3x3 positions."""

    width: int
    rank: int

    def setup(self) -> None:
        """Name the parts."""
        self.reduce = Kernel(self.rank)
        self.expand = nn.Dense(self.width)

    def finish(self, x: Float[Array, "n h w r"]) -> Float[Array, "n h w d"]:
        """Apply the second part, to what the first returns."""
        return self.expand(x).astype(x.dtype)


class Block(nn.Module):
    """A block that doubles height and width."""

    width: int
    hidden: int
    rank: int
    depth: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], sizes: Sizes | None = None
    ) -> Float[Array, "n 2*h 2*w d"]:
        """Return features of the level below."""
        twice = None if sizes is None else 2 * sizes
        x = Standardization(name="input")(x)
        linear = Linear(self.width, self.rank, name="linear")
        first = Kernel(self.hidden, name="conv1")
        reduced, y = apply(x, linear.reduce, first, sizes=sizes)
        y = double(repeat(nn.relu(y), sizes))
        for index in range(2, self.depth):
            (y,) = apply(y, Kernel(self.hidden, name=f"conv{index}"), sizes=twice)
            y = nn.relu(y)
        last = Kernel(self.width, nn.initializers.zeros, name=f"conv{self.depth}")
        (y,) = apply(y, last, sizes=twice)
        return nn.relu(double(repeat(linear.finish(reduced), sizes)) + y)


class LastBlock(nn.Module):
    """The block that leads to pixels."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], sizes: Sizes | None = None
    ) -> Float[Array, "n h w 3"]:
        """Return pixels, which are not clipped."""
        x = Standardization(name="input")(x)
        return apply(x, Kernel(3, name="linear"), sizes=sizes)[0]


def double(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Double height and width by bilinear interpolation."""
    for axis in (1, 2):
        size = x.shape[axis]
        margins = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
        padded = jnp.pad(x, margins, "edge")
        before = lax.slice_in_dim(padded, 0, size, axis=axis)
        after = lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        pairs = jnp.stack([(3 * x + before) / 4, (3 * x + after) / 4], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


# --- parameters ---------------------------------------------------------------------


def hidden_channels(channels: Sequence[int], *, width: float) -> list[int]:
    """Return how many channels blocks 2 to 4 have inside.

    Args:
        channels: those of the features, from level 1 to level 4.
        width: a share of those that a block returns; with 1 a block mirrors VGG-16's.

    Raises:
        ValueError: the width is not positive.
    """
    if not width > 0:
        raise ValueError(f"the width must be more than 0, got {width}")
    return [max(1, round(width * below)) for below in channels[:-1]]


def init_decoder(
    key: Array, channels: Sequence[int], *, hidden: Sequence[int]
) -> dict[str, Any]:
    """Return the parameters of a new decoder.

    Its tree holds ``block1`` to ``block4``. Everything about a decoder is read off it.

    Args:
        key: from `jax.random.key`.
        channels: those of the features, from level 1 to level 4.
        hidden: those inside blocks 2 to 4, which are the ranks of their linear branches
            too.
    """
    blocks: list[Block | LastBlock] = [LastBlock()]
    for below, inside, depth in zip(channels[:-1], hidden, DEPTHS, strict=True):
        blocks.append(Block(below, inside, inside, depth))
    params = {}
    for number, (block, count) in enumerate(zip(blocks, channels, strict=True), 1):
        x = jax.ShapeDtypeStruct((1, 4, 4, count), jnp.float32)
        own = jax.random.fold_in(key, number)
        params[f"block{number}"] = block.lazy_init(own, x)["params"]
    return params


def make_block(params: Params) -> Block | LastBlock:
    """Return the module that the parameters of a block belong to."""
    depth = sum(name.startswith("conv") for name in params)
    if depth == 0:
        return LastBlock()
    linear = params["linear"]
    return Block(
        width=linear["expand"]["bias"].size,
        hidden=params["conv1"]["bias"].size,
        rank=linear["reduce"]["bias"].size,
        depth=depth,
    )


# --- use ----------------------------------------------------------------------------


def decode_block(
    params: Params,
    features: Maps,
    *,
    level: int,
    size: Sequence[int],
    sizes: Sizes | None = None,
) -> Maps:
    """Return what a block makes of the features of a level.

    Args:
        params: a decoder's.
        features: of the level, ``[*n, h, w, c]``.
        level: from 4 to 1.
        size: height and width of the result. Pooling drops the last row or column of an
            odd number; the one before is repeated in its place.
        sizes: as in `jaxstyle.transport.encoder.encode`, of the images in pixels.

    Returns:
        The features of the level below, or pixels at level 1.
    """
    own = params[f"block{level}"]
    flat = features.reshape(-1, *features.shape[-3:])
    inner = None if sizes is None else sizes // level_stride(level)
    result: Array = make_block(own).apply({"params": own}, flat, inner)  # type: ignore[assignment]
    if inner is not None and level > 1:
        result = repeat(result, 2 * inner)
    rows, columns = (
        new - old for new, old in zip(size, result.shape[1:3], strict=True)
    )
    result = jnp.pad(result, ((0, 0), (0, rows), (0, columns), (0, 0)), "edge")
    return result.reshape(*features.shape[:-3], *result.shape[1:])


def decode_levels(
    params: Params,
    features: Maps,
    *,
    level: int,
    size: Sequence[int],
    sizes: Sizes | None = None,
) -> list[Maps]:
    """Return all that a decoder makes of the features of a level, down to pixels.

    Args:
        params: a decoder's.
        features: of the level, ``[*n, h, w, c]``.
        level: from 4 to 1.
        size: height and width of the image.
        sizes: as in `decode_block`.

    Returns:
        The features of all levels below, from the highest to the lowest, and pixels.
    """
    found: list[Maps] = []
    for number in range(level, 0, -1):
        stride = level_stride(number - 1)
        target = size[0] // stride, size[1] // stride
        features = decode_block(
            params, features, level=number, size=target, sizes=sizes
        )
        found.append(features)
    return found


def decode(
    params: Params,
    features: Maps,
    *,
    level: int,
    size: Sequence[int],
    sizes: Sizes | None = None,
) -> Images:
    """Return the image that features of a level belong to, as far as they tell.

    Args:
        params: a decoder's.
        features: of the level, ``[*n, h, w, c]``.
        level: from 4 to 1.
        size: height and width of the image.
        sizes: as in `decode_block`.

    Returns:
        RGB, ``[*n, h, w, 3]``, not clipped to [0, 1].
    """
    return decode_levels(params, features, level=level, size=size, sizes=sizes)[-1]


def block_reach(level: int) -> int:
    """Count the pixels around its own that a position depends on by a block.

    Args:
        level: from 4 to 1, where the block begins.
    """
    if level == 1:
        return 1
    stride = level_stride(level)
    # One convolution and the doubling above, the others below.
    return 2 * stride + (DEPTHS[level - 2] - 1) * stride // 2
