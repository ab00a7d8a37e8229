"""Normal distributions of points, and the maps that move one onto another."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.kernels.factorizations import cholesky, product, svd

Matrix = Float[Array, "*n c c"]

STEPS = 10
"""The iterations towards a barycenter; the error falls to a third or less in each."""


class Gaussian(NamedTuple):
    """A normal distribution.

    Attributes:
        mean: ``[*n, c]``.
        covariance: ``[*n, c, c]``.
    """

    mean: Float[Array, "*n c"]
    covariance: Float[Array, "*n c c"]

    def with_noise(self, variance: Float[Array, "*#n"] | float) -> "Gaussian":
        """Add independent noise of a variance to all coordinates."""
        eye = jnp.eye(self.mean.shape[-1], dtype=self.mean.dtype)
        noise = jnp.asarray(variance, self.mean.dtype)[..., None, None] * eye
        return Gaussian(self.mean, self.covariance + noise)

    @property
    def variance(self) -> Float[Array, "*n"]:
        """The mean variance of the coordinates."""
        diagonal = jnp.diagonal(self.covariance, axis1=-2, axis2=-1)
        variance: Array = diagonal.mean(-1)
        return variance


def fit_gaussian(
    points: Float[Array, "*n s c"], weights: Float[Array, "*#n s"] | None = None
) -> Gaussian:
    """Compute the mean and the covariance of points, in float32 or better.

    Args:
        points: ``[*n, s, c]``.
        weights: how much each point counts, none negative; all the same by default.
            If none counts, the mean and the covariance are zero.
    """
    dtype = jnp.promote_types(points.dtype, jnp.float32)
    points = points.astype(dtype)
    if weights is None:
        mean = points.mean(-2, keepdims=True)
        centered = points - mean
        covariance = _products(centered, centered) / points.shape[-2]
    else:
        total = weights.sum(-1, dtype=dtype, keepdims=True)
        shares = (weights / jnp.maximum(total, np.finfo(dtype).tiny))[..., None]
        mean = (shares * points).sum(-2, keepdims=True)
        centered = points - mean
        covariance = _products(shares * centered, centered)
    return Gaussian(mean[..., 0, :], covariance)


def _products(
    a: Float[Array, "*n s c"], b: Float[Array, "*n s c"]
) -> Float[Array, "*n c c"]:
    return jnp.einsum("...si,...sj->...ij", a, b, precision="highest")


def join_gaussians(parts: Gaussian, counts: Float[Array, " n"]) -> Gaussian:
    """Compute the mean and the covariance of all points of several sets together.

    Source: Chan et al. (1979), "Updating formulae and a pairwise algorithm for
    computing sample variances".

    Args:
        parts: those of the sets, stacked.
        counts: the numbers of points in them, or the sums of their weights.
    """
    total = counts.sum()
    shares = counts / jnp.maximum(total, np.finfo(total.dtype).tiny)
    within = jnp.einsum("n,nij->ij", shares, parts.covariance, precision="highest")
    mean, between = fit_gaussian(parts.mean, counts)
    return Gaussian(mean, within + between)


@jax.custom_jvp
def transport_map(source: Matrix, target: Matrix) -> Matrix:
    """Compute the linear map A that moves one normal distribution onto another.

        A S A = C,    A symmetric and positive

    with the covariances S and C, both positive definite. Of all maps that do so it
    moves points least: it is the optimal transport between Gaussians (Olkin &
    Pukelsheim, 1982). With Cholesky's S = L L^T and C = K K^T, and K^T L = U D V^T by
    its singular values, A = K U D^-1 U^T K^T. No product whose root is taken is formed:
    its condition is too much for float32.

    Args:
        source: the covariance S, ``[*n, c, c]``.
        target: the covariance C.
    """
    half, _ = _half_map(source, target)
    return product(half, half.mT)


@transport_map.defjvp
def _transport_map_jvp(
    primals: tuple[Matrix, Matrix], tangents: tuple[Matrix, Matrix]
) -> tuple[Matrix, Matrix]:
    """Solve dA S A + A dS A + A S dA = dC, also where singular values are equal.

    With A = H H^T and H^T S H = D, and dA = H B H^T, it is an equation for each element
    of B: B D + D B = H^-1 dC H^-T - H^T dS H.
    """
    (source, target), (of_source, of_target) = primals, tangents
    half, values = _half_map(source, target)
    inverse = product(half.mT, source) / values[..., :, None]
    change = product(inverse, of_target, inverse.mT)
    change = change - product(half.mT, of_source, half)
    inner = (change + change.mT) / 2 / (values[..., :, None] + values[..., None, :])
    return product(half, half.mT), product(half, inner, half.mT)


def _half_map(source: Matrix, target: Matrix) -> tuple[Matrix, Float[Array, "*n c"]]:
    """Compute H = K U D^-1/2 and D, with `transport_map`'s names."""
    left, right = cholesky(source), cholesky(target)
    basis, values, _ = svd(product(right.mT, left))
    return product(right, basis) * lax.rsqrt(values)[..., None, :], values


def barycenter(
    gaussians: Sequence[Gaussian], shares: Float[Array, " n"] | Sequence[float]
) -> Gaussian:
    """Compute the normal distribution from which a weighted move to others is least.

        S <- B S B,    B = sum_i w_i A_i,

    with A_i the maps from S to each of the others, repeated.

    Source: Álvarez-Esteban et al. (2016), "A fixed-point approach to barycenters in
    Wasserstein space".

    Args:
        gaussians: one or more, positive definite.
        shares: the weights w, which add up to 1.
    """
    pairs = list(zip(shares, gaussians, strict=True))
    mean = sum((w * g.mean for w, g in pairs), jnp.zeros(()))
    covariance = sum((w * g.covariance for w, g in pairs), jnp.zeros(()))

    def improve(_: int, covariance: Matrix) -> Matrix:
        moved = [w * transport_map(covariance, g.covariance) for w, g in pairs]
        linear = sum(moved, jnp.zeros(()))
        return product(linear, covariance, linear)

    return Gaussian(mean, lax.fori_loop(0, STEPS, improve, covariance))
