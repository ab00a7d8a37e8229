"""3x3 convolution by Winograd's algorithm F(4x4, 3x3) (Lavin & Gray, 2016).

A 4x4 tile of the output takes 36 multiplications per pair of channels, not 144::

    y = A^T [ (G k G^T) * (B^T x B) ] A

where x is a 6x6 tile of the input, k a kernel, and ``*`` multiplies element by element
and sums over channels: 36 matrix products instead of a convolution. XLA on the CPU
runs those at full speed, so wide layers take about half the time.

This differs from the paper in its points of interpolation. The paper takes 0, 1, -1,
2, -2; with 0, 2/3, -2/3, 3/2, -3/2 the rounding errors in float32 are a quarter.

The gradient to the input is such a convolution, too, by kernels that are turned by 180
degrees. They turn in the Winograd domain, for the points are chosen so that the
reciprocal of each is among them, where infinity is that of zero.

Neighboring tiles share two pixels. They are cut by reshaping into blocks of four and
splitting those, never by gathering or by single indices.
"""

import operator
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

WORTHWHILE = 256 * 256
"""The product of input and output channels from which on this is faster."""

_P, _Q = 2 / 3, 3 / 2
_P2, _Q2 = _P**2, _Q**2
_POINTS = np.array([0, _P, -_P, -_Q, _Q])

# The rows are the polynomials that vanish at all points but one, and at all points.
_B_T = np.array(
    [
        [_P2 * _Q2, 0, -(_P2 + _Q2), 0, 1, 0],
        [0, -_P * _Q2, -_Q2, _P, 1, 0],
        [0, _P * _Q2, -_Q2, -_P, 1, 0],
        [0, _P2 * _Q, -_P2, -_Q, 1, 0],
        [0, -_P2 * _Q, -_P2, _Q, 1, 0],
        [0, _P2 * _Q2, 0, -(_P2 + _Q2), 0, 1],
    ]
)
# A kernel's values at the points, over those polynomials' values, and at infinity.
_DIVISORS = np.array(
    [_P2 * _Q2] + [2 * _P2 * (_P2 - _Q2)] * 2 + [2 * _Q2 * (_Q2 - _P2)] * 2
)
_G = np.vstack([_POINTS[:, None] ** np.arange(3) / _DIVISORS[:, None], [0, 0, 1]])
# Powers of the points, and of infinity.
_A_T = np.vstack([_POINTS[:, None] ** np.arange(4), [0, 0, 0, 1]]).T


# Both axes at once, as matrices of tiles that are flattened: pixels by row and column,
# products by column and row.
_SYNTHESIS = np.einsum("ai,bj->abji", _A_T, _A_T).reshape(16, 36)
_KERNEL = np.einsum("ai,bj->baij", _G, _G).reshape(36, 9)


# A turned kernel has the value of the kernel at the reciprocal of each point, times the
# square of the point. The order of the points is that of their reciprocals, reversed.
_DIVISOR = np.append(_DIVISORS, 1)
_FACTOR = np.array([1, _P2, _P2, _Q2, _Q2, 1]) * _DIVISOR[::-1] / _DIVISOR
_TURN = np.outer(_FACTOR, _FACTOR).ravel()


def transform_kernel(kernel: Float[Array, "3 3 c d"]) -> Float[Array, "36 c d"]:
    """Compute ``G k G^T`` for each pair of channels."""
    matrix = jnp.asarray(_KERNEL, kernel.dtype)
    product = jnp.matmul(matrix, kernel.reshape(9, -1), precision="highest")
    return product.reshape(36, *kernel.shape[2:])


def turn_kernel(kernel: Float[Array, "36 c d"]) -> Float[Array, "36 d c"]:
    """Turn transformed kernels by 180 degrees, and swap input and output."""
    factors = jnp.asarray(_TURN, kernel.dtype)[:, None, None]
    return (factors * kernel[::-1]).swapaxes(1, 2)


def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "36 c d"]
) -> Float[Array, "n h w d"]:
    """Correlate with transformed 3x3 kernels under zero padding."""
    return _correlate(x, kernel, 1)


def correlate(
    x: Float[Array, "n h+2 w+2 c"], kernel: Float[Array, "36 c d"]
) -> Float[Array, "n h w d"]:
    """Correlate with transformed 3x3 kernels wherever they fit."""
    return _correlate(x, kernel, 0)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _correlate(x: Array, kernel: Array, margin: int) -> Array:
    """Correlate after padding with ``margin`` zeros on each side."""
    x = _pad(_pad(x, 1, margin, margin), 2, margin, margin)
    n, h, w, _ = x.shape
    products = jnp.einsum("ptc,pcd->ptd", _analyze_image(x), kernel)
    return _synthesize(products, n, _tiles(h), _tiles(w))[:, : h - 2, : w - 2]


@partial(_correlate.defjvp, symbolic_zeros=True)
def _correlate_jvp(
    margin: int,
    primals: tuple[Array, Array],
    tangents: tuple[Array | SymbolicZero, ...],
) -> tuple[Array, Array]:
    """Write what follows ``x`` as the transpose of the gradient that is wanted.

    What follows the kernel transforms ``x`` again, which is more than twice as large
    then.
    """
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    y, change = _correlate(x, kernel, margin), []
    if not isinstance(x_dot, SymbolicZero):
        back = partial(_correlate, kernel=turn_kernel(kernel), margin=2 - margin)
        change += jax.linear_transpose(back, y)(x_dot)
    if not isinstance(kernel_dot, SymbolicZero):
        again = jax.checkpoint(_correlate, static_argnums=2)
        change.append(again(x, kernel_dot, margin))
    return y, reduce(jnp.add, change)


def _tiles(length: int) -> int:
    """Count the tiles of four that cover the output of 3x3 kernels on ``length``."""
    return -(-(length - 2) // 4)


def _pad_to(x: Array, axis: int, length: int) -> Array:
    """Append zeros to an axis up to a length."""
    return _pad(x, axis, 0, length - x.shape[axis])


def _pad(x: Array, axis: int, before: int, after: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)


def _combine(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """Multiply a small matrix with a vector of arrays, leaving out its zeros."""
    products = (
        [float(a) * part for a, part in zip(row, parts, strict=True) if a]
        for row in matrix
    )
    return [reduce(operator.add, terms) for terms in products]


def _blocks(x: Array, axis: int) -> Array:
    """Cut an axis into blocks of four; their elements get an axis of their own."""
    return x.reshape(*x.shape[:axis], -1, 4, *x.shape[axis + 1 :])


def _analyze_image(x: Float[Array, "n h w c"]) -> Float[Array, "36 t c"]:
    """Compute ``B^T x B`` for every tile, the tiles of all images in one axis."""
    _, h, w, c = x.shape
    x = _pad_to(_pad_to(x, 1, 4 * _tiles(h) + 4), 2, 4 * _tiles(w) + 4)
    return _analyze(_analyze(x, axis=1), axis=3).reshape(36, -1, c)


def _analyze(x: Array, *, axis: int) -> Array:
    """Apply ``B^T`` along an axis of 4 (t + 1) pixels; the results lead: [6, ..t..]."""
    blocks = _blocks(x, axis)
    last = blocks.shape[axis]
    elements = lax.split(blocks, (1, 1, 1, 1), axis=axis + 1)
    elements = [lax.squeeze(element, [axis + 1]) for element in elements]
    parts = [lax.slice_in_dim(part, 0, last - 1, axis=axis) for part in elements]
    parts += [lax.slice_in_dim(part, 1, last, axis=axis) for part in elements[:2]]
    return jnp.stack(_combine(_B_T, parts))


def _synthesize(
    products: Float[Array, "36 t d"], n: int, down: int, across: int
) -> Float[Array, "n 4*down 4*across d"]:
    """Apply ``A^T y A`` to every tile, as one matrix product, and join the tiles."""
    pixels = jnp.asarray(_SYNTHESIS, products.dtype) @ products.reshape(36, -1)
    pixels = pixels.reshape(4, 4, n, down, across, -1).transpose(2, 3, 0, 4, 1, 5)
    return pixels.reshape(n, 4 * down, 4 * across, -1)
