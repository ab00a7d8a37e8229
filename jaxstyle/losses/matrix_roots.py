"""Square roots of symmetric positive definite matrices, ``[*n, c, c]``.

Products are taken in full float32, or float64, also on devices whose default is less.
Derivatives are those of the true roots, by equations: in forward and in reverse mode.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.kernels.factorizations import eigh, product, singular_values, svd
from jaxstyle.kernels.gaussians import transport_map

Matrix = Float[Array, "*n c c"]

Pair: TypeAlias = tuple[Matrix, Matrix]


# --- by iterations ------------------------------------------------------------------


ITERATIONS = 10
"""How many iterations are made."""

LEAST = 3e-3
"""The least root of an eigenvalue that converges, over the root of the norm."""


@jax.custom_jvp
def newton_schulz_root(matrix: Matrix) -> Matrix:
    """Compute the square root by scaled Newton-Schulz iterations.

        Y = A / |A|,  Z = I;  then  T = s (3 I - s^2 Z Y) / 2,  Y <- Y T,  Z <- T Z

    with the Frobenius norm; the root is Y sqrt(|A|), and its inverse Z / sqrt(|A|). It
    takes matrix products only, three in an iteration, which suits accelerators. Each
    scale s is that by which roots from ``LEAST`` on come nearest to 1. Eigenvalues
    below 1e-5 |A| do not converge: the root of 1e-6 |A| is 0.94 times the true one,
    that of 1e-7 |A| is 0.44 times. Others are exact to rounding.

    They diverge for a matrix with an eigenvalue well below zero, as rounding makes some
    of a covariance that is far smaller than the squares it is the difference of. The
    root and its gradient are zero then, not infinite.

    Source: Lin & Maji (2017), "Improved bilinear pooling with CNNs", without scales;
    those are of Chen & Chow (2014), "A stable scaling of Newton-Schulz for improving
    the sign function computation of a Hermitian matrix".
    """
    return _iterate(matrix)[0]


@newton_schulz_root.defjvp
def _root_jvp(primals: tuple[Matrix], tangents: tuple[Matrix]) -> tuple[Matrix, Matrix]:
    """Solve root x + x root = tangent, which is its own transpose."""
    (matrix,), (tangent,) = primals, tangents
    root = newton_schulz_root(matrix)

    def square(x: Matrix) -> Matrix:
        return product(root, x) + product(x, root)

    def solve(_: Callable[[Matrix], Matrix], g: Matrix) -> Matrix:
        return _solve_lyapunov(root, g)

    return root, lax.custom_linear_solve(square, tangent, solve, symmetric=True)


@jax.custom_jvp
def trace_of_newton_schulz_root(matrix: Matrix) -> Float[Array, "*n"]:
    """Compute the trace of `newton_schulz_root`.

    Its gradient is half the root's inverse, which the iterations find besides.
    """
    return trace(newton_schulz_root(matrix))


@trace_of_newton_schulz_root.defjvp
def _trace_jvp(
    primals: tuple[Matrix], tangents: tuple[Matrix]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    (matrix,), (tangent,) = primals, tangents
    root, inverse = _iterate(matrix)
    return trace(root), jnp.sum(inverse / 2 * tangent, (-2, -1))


def _iterate(matrix: Matrix) -> Pair:
    """Compute the root and its inverse, zero where iterations diverge."""
    norm, eye = _norm(matrix), _eye(matrix)
    first, *others = _scales()
    unit = matrix / _or_infinity(norm)
    start = first * (3 * eye - first**2 * unit) / 2

    def improve(pair: Pair, s: Array) -> tuple[Pair, None]:
        y, z = pair
        t = s * (3 * eye - s**2 * product(z, y)) / 2
        return (product(y, t), product(t, z)), None

    scales = jnp.array(others, matrix.dtype)
    (y, z), _ = lax.scan(improve, (product(unit, start), start), scales)
    # The squares of a root's eigenvalues add up to the trace, or less before the end.
    sound = jnp.square(_norm(y)) <= 1.1 * trace(unit)[..., None, None]
    root = jnp.where(sound, y * jnp.sqrt(norm), 0)
    return root, jnp.where(sound, z * lax.rsqrt(_or_infinity(norm)), 0)


def _solve_lyapunov(root: Matrix, g: Matrix) -> Matrix:
    """Compute the x of which root x + x root = g."""
    norm, eye = _or_infinity(_norm(root)), _eye(root)

    def improve(pair: Pair, s: Array) -> tuple[Pair, None]:
        a, q = pair
        e = 3 * eye - s**2 * product(a, a)
        commutator = product(a.mT, q) - product(q, a)
        change = product(q, e) - s**2 * product(a.mT, commutator)
        return (s * product(a, e) / 2, s * change / 2), None

    scales = jnp.array(_scales(), root.dtype)
    (_, q), _ = lax.scan(improve, (root / norm, g / norm), scales)
    return q / 2


def _scales() -> list[float]:
    """Compute the scales of iterations, from the least root that is to converge."""
    scales, least = [], LEAST
    for _ in range(ITERATIONS):
        scale = (3 / (1 + least + least**2)) ** 0.5
        scales.append(scale)
        least = scale * least * (3 - (scale * least) ** 2) / 2
    return scales


def _norm(matrix: Matrix) -> Float[Array, "*n 1 1"]:
    """Compute the Frobenius norm."""
    return jnp.asarray(jnp.linalg.norm(matrix, axis=(-2, -1), keepdims=True))


def _or_infinity(norm: Float[Array, "*n 1 1"]) -> Float[Array, "*n 1 1"]:
    """Replace zeros by infinity, by which zero is divided safely."""
    return jnp.where(norm > 0, norm, jnp.inf)


def _eye(matrix: Matrix) -> Float[Array, "c c"]:
    return jnp.eye(matrix.shape[-1], dtype=matrix.dtype)


def trace(matrix: Matrix) -> Float[Array, "*n"]:
    """Add up the diagonal."""
    return jnp.trace(matrix, axis1=-2, axis2=-1)


# --- by eigenvalues -----------------------------------------------------------------


def eigen_root(matrix: Matrix, *, least: float) -> Matrix:
    """Compute the square root by eigenvalues, of ``least`` or more; no gradient."""
    values, vectors = eigh(lax.stop_gradient(matrix))
    roots = jnp.sqrt(jnp.maximum(values, least))
    return product(vectors * roots[..., None, :], vectors.mT)


def trace_of_root_of_product(
    a: Matrix, b: Matrix, root_of_b: Matrix, *, least: float
) -> Float[Array, "*n"]:
    """Compute the trace of the square root of ``a b``, which is that of ``b^½ a b^½``.

    It is the sum of the singular values of ``b^½ a^½``. Rounding weighs far less on
    these than on the eigenvalues of ``b^½ a b^½``, which are their squares.

    Derivatives need none of singular vectors, which would not be finite where values
    coincide. That of ``b`` assumes that its root follows it. No eigenvalue of either
    is below ``least``.
    """
    return _trace_of_root(*jnp.broadcast_arrays(a, b, root_of_b), least)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _trace_of_root(
    a: Matrix, b: Matrix, root_of_b: Matrix, least: float
) -> Float[Array, "*n"]:
    values = singular_values(product(root_of_b, eigen_root(a, least=least)))
    return jnp.sum(jnp.maximum(values, least), -1)


@_trace_of_root.defjvp
def _trace_of_root_jvp(
    least: float, primals: tuple[Matrix, ...], tangents: tuple[Matrix, ...]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    value, *gradients = _value_and_gradients(*primals, least)
    terms = [(g * x).sum((-2, -1)) for g, x in zip(gradients, tangents, strict=False)]
    return value, terms[0] + terms[1]


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _value_and_gradients(
    a: Matrix, b: Matrix, root_of_b: Matrix, least: float
) -> tuple[Float[Array, "*n"], Matrix, Matrix]:
    """Compute the trace of the root of ``a b``, and its gradients to ``a`` and ``b``.

    They are 1/2 b^½ U S^-1 U' b^½ and 1/2 a^½ V S^-1 V' a^½.
    """
    root_of_a = eigen_root(a, least=least)
    left, values, right = svd(product(root_of_b, root_of_a))
    values = jnp.maximum(values, least)
    scale = lax.rsqrt(2 * values)[..., None, :]
    to_a = product(root_of_b, left * scale)
    to_b = product(root_of_a, right.mT * scale)
    return values.sum(-1), product(to_a, to_a.mT), product(to_b, to_b.mT)


@_value_and_gradients.defjvp
def _value_and_gradients_jvp(
    least: float, primals: tuple[Matrix, ...], tangents: tuple[Matrix, ...]
) -> tuple[tuple[Array, Matrix, Matrix], tuple[Array, Matrix, Matrix]]:
    """Differentiate the gradients, which are half the maps between a and b."""
    (a, b, _), (a_dot, b_dot, _) = primals, tangents
    value, of_a, of_b = _value_and_gradients(*primals, least)
    _, value_dot = jax.jvp(partial(_trace_of_root, least=least), primals, tangents)
    _, to_b = jax.jvp(transport_map, (a, b), (a_dot, b_dot))
    _, to_a = jax.jvp(transport_map, (b, a), (b_dot, a_dot))
    return (value, of_a, of_b), (value_dot, to_b / 2, to_a / 2)
