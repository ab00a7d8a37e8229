"""The convolutions of transform nets: reflection padding, strides, upsampling.

Each is one correlation, written twice. In general XLA's own convolution runs it. On
CPUs, where that one is slow for few channels and for the gradient to the kernel, it
runs by blocks: pixels are gathered into square blocks, which turns every convolution
used here into a 3x3 correlation between blocks, with many channels, and Winograd's
algorithm runs those (see `jaxstyle.kernels.winograd`). The results differ by rounding
only.

Along each axis, block by block::

    9x9             blocks of 4 pixels  ->  blocks of 4 pixels
    3x3, stride 2   blocks of 2 pixels  ->  single pixels
    upsampling, 3x3 or 5x5    single pixels  ->  blocks of 2 pixels
    3x3                  single pixels  ->  single pixels
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.kernels import winograd


class Geometry(NamedTuple):
    """How a convolution moves over its input: static, and hashable.

    Attributes:
        size: the side of the kernel, odd.
        stride: the step between outputs, in pixels of the upsampled input.
        upsampling: how often each pixel is repeated along both axes first.
    """

    size: int
    stride: int = 1
    upsampling: int = 1

    @property
    def blocks(self) -> tuple[int, int]:
        """The sides of the blocks of input and output."""
        if self.size < 9:
            return self.stride, self.upsampling
        return self.size // 2, self.size // 2


@partial(jax.checkpoint, static_argnums=(2,))
def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "k k c d"], geometry: Geometry
) -> Float[Array, "n h*up/stride w*up/stride d"]:
    """Upsample by repetition, pad, and correlate.

    The kernel is 9x9, or 3x3 with a stride or an upsampling of 2, or 5x5 with that
    upsampling. Padding is by reflection; what was upsampled is continued by its edge.
    Height and width are multiples of the side of the input's blocks. Nothing but ``x``
    and the kernel is kept for the gradient.
    """
    on_cpu, elsewhere = (partial(f, geometry=geometry) for f in (by_blocks, directly))
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)


def directly(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Convolve pixel by pixel."""
    up, margin = geometry.upsampling, geometry.size // 2
    x = jnp.repeat(jnp.repeat(x, up, axis=1), up, axis=2)
    mode = "edge" if up > 1 else "reflect"
    x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode)
    strides = (geometry.stride, geometry.stride)
    return lax.conv_general_dilated(
        x, kernel, strides, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def by_blocks(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Convolve block by block."""
    block_in, block_out = geometry.blocks
    x = jnp.pad(
        x,
        ((0, 0), (block_in, block_in), (block_in, block_in), (0, 0)),
        "edge" if geometry.upsampling > 1 else "reflect",
    )
    correlated = winograd.correlate(
        gather_blocks(x, block_in),
        winograd.transform_kernel(block_kernel(kernel, geometry)),
    )
    return spread_blocks(correlated, block_out)


def gather_blocks(
    x: Float[Array, "n h w c"], side: int
) -> Float[Array, "n h/side w/side side*side*c"]:
    """Make the pixels of each block the channels of one pixel."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // side, side, w // side, side, c).swapaxes(2, 3)
    return x.reshape(n, h // side, w // side, side * side * c)


def spread_blocks(
    x: Float[Array, "n h w side*side*c"], side: int
) -> Float[Array, "n h*side w*side c"]:
    """Undo `gather_blocks`."""
    n, h, w, channels = x.shape
    x = x.reshape(n, h, w, side, side, -1).swapaxes(2, 3)
    return x.reshape(n, h * side, w * side, channels // side**2)


def block_kernel(
    kernel: Float[Array, "k k c d"], geometry: Geometry
) -> Float[Array, "3 3 in*in*c out*out*d"]:
    """Convert a kernel to the equivalent 3x3 kernel between blocks."""
    if geometry.blocks == (1, 1):
        return kernel
    placed = jnp.asarray(_placement(geometry), kernel.dtype)
    blocks = jnp.einsum(
        "bioy,BIOx,yxcd->bBiIcoOd", placed, placed, kernel, precision="highest"
    )
    _, _, side_in, _, c, side_out, _, d = blocks.shape
    return blocks.reshape(3, 3, side_in**2 * c, side_out**2 * d)


def _placement(geometry: Geometry) -> np.ndarray:
    """Tabulate which taps of a kernel join which pixels, along one axis.

    ``[b, i, o, y]`` is 1 where output pixel o of a block sees, through tap y, the input
    pixel i of the block before (b = 0), the same (1) or the next (2).
    """
    size, stride, upsampling = geometry
    block_in, block_out = geometry.blocks
    b, i, o, y = np.indices((3, block_in, block_out, size))
    seen = (stride * o + y - size // 2) // upsampling
    return np.asarray(seen == (b - 1) * block_in + i, np.float32)
