"""Move points so that they are distributed as others are, and as little as possible.

Statistics are in float32, or in float64 if the points are.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Matrix = Float[Array, "*n c c"]


def match_moments(
    points: Float[Array, "*n s c"], targets: Float[Array, "*n t c"], *, noise: float
) -> Float[Array, "*n s c"]:
    """Give points the mean and the covariance of others.

        result = A (points - mean(points)) + mean(targets),    A S A = C

    A is symmetric, which makes this the optimal transport between two Gaussians: of
    all linear maps from covariance S to C it moves the points least.

    Source: Pitié and Kokaram (2007), "The linear Monge-Kantorovitch linear colour
    mapping for example-based colour transfer".

    Args:
        points: in ``c`` dimensions.
        targets: as many as there are.
        noise: a variance that is added in all directions, to both. It keeps the map
            finite where the points do not differ.
    """
    with jax.default_matmul_precision("highest"):
        mean, covariance = _moments(_widen(points), noise)
        target_mean, target_covariance = _moments(_widen(targets), noise)
        linear = _map(covariance, target_covariance)
        moved = jnp.einsum("...ij,...sj->...si", linear, points - mean) + target_mean
    return moved.astype(points.dtype)


@partial(jnp.vectorize, signature="(s),(t)->(s)")
def match_ranks(values: Array, targets: Array) -> Array:
    """Give values, ``[*n, s]``, the distribution of others, ``[*n, t]``.

    The value of rank r becomes the quantile (r + 1/2) / s of the targets, which is
    interpolated. Equal values share the mean of their ranks.
    """
    ordered = jnp.sort(values)
    first = jnp.searchsorted(ordered, values, side="left")
    after = jnp.searchsorted(ordered, values, side="right")
    # The place of the quantile among the targets, from 0 to t - 1.
    place = (first + after) / 2 * (targets.size / values.size) - 0.5
    quantiles = jnp.sort(targets)
    below = jnp.clip(jnp.floor(place).astype(int), 0, targets.size - 1)
    above = jnp.minimum(below + 1, targets.size - 1)
    share = jnp.clip(place - below, 0, 1)
    found = quantiles[below] + share * (quantiles[above] - quantiles[below])
    return found.astype(values.dtype)


def _moments(
    points: Float[Array, "*n s c"], noise: float
) -> tuple[Float[Array, "*n 1 c"], Matrix]:
    mean = points.mean(-2, keepdims=True)
    centerd = points - mean
    covariance = jnp.einsum("...si,...sj->...ij", centerd, centerd) / points.shape[-2]
    return mean, covariance + noise * jnp.eye(points.shape[-1], dtype=points.dtype)


def _widen(points: Any) -> Array:
    return jnp.asarray(points, jnp.promote_types(points.dtype, jnp.float32))


@partial(jnp.vectorize, signature="(c,c),(c,c)->(c,c)")
def _map(source: Matrix, target: Matrix) -> Matrix:
    """Return the symmetric A with A S A = C.

    With Cholesky's S = L L^T and C = K K^T, A = L^-T |K^T L| L^-1. Of the
    products whose root is taken, none is formed: their condition is too much for
    float32.
    """
    left, right = jnp.linalg.cholesky(source), jnp.linalg.cholesky(target)
    inverse, middle = jnp.linalg.inv(left), _absolute(right.T @ left)
    linear: Matrix = inverse.T @ middle @ inverse
    return linear


@jax.custom_jvp
def _absolute(matrix: Matrix) -> Matrix:
    """Return the symmetric root P of X^T X."""
    return _polar(matrix)[0]


@_absolute.defjvp
def _absolute_jvp(
    primals: tuple[Matrix], tangents: tuple[Matrix]
) -> tuple[Matrix, Matrix]:
    """Solve P dP + dP P = d(X^T X), also where singular values are equal."""
    (matrix,), (tangent,) = primals, tangents
    with jax.default_matmul_precision("highest"):
        absolute, values, vectors = _polar(matrix)
        half = vectors @ matrix.T @ tangent @ vectors.T
        inner = (half + half.T) / (values[:, None] + values[None, :])
        return absolute, vectors.T @ inner @ vectors


def _polar(matrix: Matrix) -> tuple[Matrix, Float[Array, " c"], Matrix]:
    """Return P, its eigenvalues and its eigenvectors, these as rows."""
    _, values, vectors = jnp.linalg.svd(matrix)
    return vectors.T @ (values[:, None] * vectors), values, vectors
