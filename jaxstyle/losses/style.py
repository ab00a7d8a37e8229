"""Style losses: distances between statistics of features.

Those of `STYLE_LOSSES` compare the `jaxstyle.losses.terms.Moments` of a layer with a
target made from the moments of a style, and return one value per image.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.kernels.factorizations import product
from jaxstyle.losses import matrix_roots
from jaxstyle.losses.matrix_roots import eigen_root, newton_schulz_root, trace
from jaxstyle.losses.terms import Moments, moments, style_loss

EPSILON = 1e-4
"""Added to variances, so that roots have a gradient where nothing varies."""


class Gaussian(NamedTuple):
    """A normal distribution of features, and the square root of its covariance."""

    mean: Float[Array, "*n c"]
    covariance: Float[Array, "*n c c"]
    root: Float[Array, "*n c c"]


# --- Gram matrices ------------------------------------------------------------------


def gram_target(moments: Moments) -> Float[Array, "*n c c"]:
    """Compute the Gram matrix from moments."""
    return moments.second / moments.mean.shape[-1]


def gram_loss(moments: Moments, target: Float[Array, "*n c c"]) -> Float[Array, "*n"]:
    """Compute `jaxstyle.losses.style_loss` from moments.

    Args:
        moments: of a layer of the images.
        target: the Gram matrix of the style, ``[*n, c, c]``.

    Returns:
        One value per image.

    Examples:
        >>> ones, zeros = jnp.ones((4, 4, 2)), jnp.zeros((4, 4, 2))
        >>> target = jaxstyle.losses.gram_matrix(zeros)
        >>> jaxstyle.losses.gram_loss(jaxstyle.losses.moments(ones), target)
        Array(0.25, dtype=float32)
    """
    return style_loss(gram_target(moments), target)


# --- means and deviations -----------------------------------------------------------


def mean_loss(moments: Moments, target: Moments) -> Float[Array, "*n"]:
    """Compute the mean squared difference between the channels' means.

    The weakest of these losses, for it sees colors and amounts of texture only.

    Source: Li et al. (2017), "Demystifying neural style transfer": the maximum mean
    discrepancy with a linear kernel.

    Args:
        moments: of a layer of the images.
        target: the moments of the style.

    Returns:
        One value per image.

    Examples:
        >>> ones, threes = jnp.ones((4, 4, 2)), jnp.full((4, 4, 2), 3.0)
        >>> found, target = map(jaxstyle.losses.moments, (ones, threes))
        >>> jaxstyle.losses.mean_loss(found, target)
        Array(4., dtype=float32)
    """
    return jnp.square(moments.mean - target.mean).mean(-1)


def mean_std_loss(moments: Moments, target: Moments) -> Float[Array, "*n"]:
    """Compute the mean squared difference between means, plus that between deviations.

        1/C |mean - mean_s|^2 + 1/C |std - std_s|^2,  std^2 = variance + 1e-4

    Source: Huang & Belongie (2017), "Arbitrary style transfer in real-time with
    adaptive instance normalization", equation 13, where it is the sum of norms.

    Args:
        moments: of a layer of the images.
        target: the moments of the style.

    Returns:
        One value per image.

    Examples:
        Of the same mean, and with deviations of 0 and 2:

        >>> flat, varied = jnp.ones((1, 2, 1)), jnp.array([[[-1.0], [3.0]]])
        >>> found, target = map(jaxstyle.losses.moments, (flat, varied))
        >>> round(float(jaxstyle.losses.mean_std_loss(found, target)), 1)
        4.0
    """
    deviations = _deviations(moments) - _deviations(target)
    return mean_loss(moments, target) + jnp.square(deviations).mean(-1)


def _deviations(moments: Moments) -> Float[Array, "*n c"]:
    """Compute the standard deviations of the channels."""
    squares = jnp.diagonal(moments.second, axis1=-2, axis2=-1)
    # Rounding may leave a variance below zero.
    variances = jnp.maximum(squares - jnp.square(moments.mean), 0)
    return jnp.sqrt(variances + EPSILON)


# --- distances between normal distributions -----------------------------------------


def covariance(moments: Moments) -> Float[Array, "*n c c"]:
    """Compute the covariance of the channels, with 1e-4 added to the variances."""
    mean, second = moments
    outer = mean[..., :, None] * mean[..., None, :]
    return second - outer + EPSILON * jnp.eye(mean.shape[-1], dtype=mean.dtype)


def sound_covariance(moments: Moments) -> Float[Array, "*n c c"]:
    """Compute a covariance that roots by iterations bear.

    As a difference of squares, that of nearly constant features may get eigenvalues
    below zero by rounding. So as much as rounding may take is added to variances: 32
    of its units, 4e-6 of the largest square.
    """
    largest = jnp.diagonal(moments.second, axis1=-2, axis2=-1).max(-1)
    rounding = 32 * jnp.finfo(largest.dtype).eps * lax.stop_gradient(largest)
    eye = jnp.eye(moments.mean.shape[-1], dtype=largest.dtype)
    return covariance(moments) + rounding[..., None, None] * eye


def gaussian_target(moments: Moments) -> Gaussian:
    """Compute the normal distribution of these moments, by iterations."""
    sigma = sound_covariance(moments)
    return Gaussian(moments.mean, sigma, newton_schulz_root(sigma))


def exact_gaussian_target(moments: Moments) -> Gaussian:
    """Compute the normal distribution of these moments, by eigenvalues."""
    sigma = covariance(moments)
    return Gaussian(moments.mean, sigma, eigen_root(sigma, least=EPSILON))


def wasserstein_loss(moments: Moments, target: Gaussian) -> Float[Array, "*n"]:
    """Compute the squared 2-Wasserstein distance between normal distributions, over C.

        1/C |mean - mean_s|^2 + 1/C tr( S + S_s - 2 (S_s^1/2 S S_s^1/2)^1/2 )

    with covariances S and S_s. The roots are those of 10 scaled Newton-Schulz
    iterations, which miss a part of the smallest eigenvalues: the loss is a little
    larger than the distance, and not quite zero at the target.
    `exact_wasserstein_loss` is.

    Source: the distance is that of Olkin & Pukelsheim (1982); K. Crowson's
    style-transfer-pytorch (2021) made it a style loss, with the same 1e-4 added to
    variances. Differences: 4e-6 of the largest square is added besides, for what
    rounding may take; and its 12 iterations are not scaled: on features of paintings
    they miss some 4 % of the root's trace and half of its gradient.

    Args:
        moments: of a layer of the images.
        target: from ``STYLE_LOSSES["wasserstein"].make_target``.

    Returns:
        One value per image.

    Examples:
        >>> ones, threes = jnp.ones((4, 4, 2)), jnp.full((4, 4, 2), 3.0)
        >>> found, style = map(jaxstyle.losses.moments, (ones, threes))
        >>> target = jaxstyle.losses.STYLE_LOSSES["wasserstein"].make_target(style)
        >>> round(float(jaxstyle.losses.wasserstein_loss(found, target)), 2)
        4.0
    """
    sigma = sound_covariance(moments)
    conjugate = product(product(target.root, sigma), target.root)
    overlap = matrix_roots.trace_of_newton_schulz_root(conjugate)
    return _wasserstein(moments.mean, sigma, target, overlap)


def exact_wasserstein_loss(moments: Moments, target: Gaussian) -> Float[Array, "*n"]:
    """Compute the exact squared 2-Wasserstein distance; see `wasserstein_loss`.

    The roots are those of eigenvalues and singular values, exact to rounding.

    Args:
        moments: of a layer of the images.
        target: from ``STYLE_LOSSES["wasserstein-exact"].make_target``.

    Returns:
        One value per image.

    Examples:
        >>> found = jaxstyle.losses.moments(photo)
        >>> exact = jaxstyle.losses.STYLE_LOSSES["wasserstein-exact"]
        >>> target = exact.make_target(found)
        >>> abs(float(jaxstyle.losses.exact_wasserstein_loss(found, target))) < 1e-5
        True
    """
    sigma = covariance(moments)
    overlap = matrix_roots.trace_of_root_of_product(
        sigma, target.covariance, target.root, least=EPSILON
    )
    return _wasserstein(moments.mean, sigma, target, overlap)


def _wasserstein(
    mean: Float[Array, "*n c"],
    sigma: Float[Array, "*n c c"],
    target: Gaussian,
    overlap: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    """Compute the distance, given the trace of the root of the conjugate covariance."""
    spread = trace(target.covariance) + trace(sigma) - 2 * overlap
    return jnp.square(mean - target.mean).mean(-1) + spread / mean.shape[-1]


# --- by name ------------------------------------------------------------------------


class StyleLoss(NamedTuple):
    """A loss between a statistic of features and a target made of the style's.

    Attributes:
        make_target: ``make_target(statistic) -> target``, for that of a style.
        compare: ``compare(statistic, target) -> loss``, one value per image.
        statistic: ``statistic(features)`` is what is compared of a layer's features
            ``[*n, h, w, c]``. Moments, the default, are averages over positions, and
            so go with blends of styles, masks and tiles. Any other statistic, such as
            the features themselves, is taken of whole layers and of one style.

    Examples:
        >>> loss = jaxstyle.losses.STYLE_LOSSES["mean-std"]
        >>> found = jaxstyle.losses.moments(photo)
        >>> loss.compare(found, loss.make_target(found))
        Array(0., dtype=float32)

        The largest activations of each channel:

        >>> loss = jaxstyle.losses.StyleLoss(
        ...     make_target=lambda largest: largest,
        ...     compare=lambda largest, target: jnp.abs(largest - target).mean(-1),
        ...     statistic=lambda features: features.max((-3, -2)),
        ... )
        >>> objective = jaxstyle.losses.Objective(style_loss=loss)
        >>> targets = jaxstyle.losses.make_targets(
        ...     vgg, photo, [painting], weights, objective=objective
        ... )
        >>> targets.style["relu1_1"].shape
        (64,)
    """

    make_target: Callable[[Any], Any]
    compare: Callable[[Any, Any], Float[Array, "*n"]]
    statistic: Callable[[Float[Array, "*n h w c"]], Any] = moments


STYLE_LOSSES: dict[str, StyleLoss] = {
    "gram": StyleLoss(gram_target, gram_loss),
    "wasserstein": StyleLoss(gaussian_target, wasserstein_loss),
    "wasserstein-exact": StyleLoss(exact_gaussian_target, exact_wasserstein_loss),
    "mean": StyleLoss(lambda moments: moments, mean_loss),
    "mean-std": StyleLoss(lambda moments: moments, mean_std_loss),
}
"""The style losses by name; ``--style-loss`` takes those that are added, too."""


def find_style_loss(style_loss: str | StyleLoss) -> StyleLoss:
    """Look up a style loss that is given by name; a ValueError if there is none."""
    if isinstance(style_loss, StyleLoss):
        return style_loss
    if style_loss not in STYLE_LOSSES:
        known = ", ".join(STYLE_LOSSES)
        raise ValueError(f"no style loss {style_loss!r}; known are {known}")
    return STYLE_LOSSES[style_loss]


def check_moments(style_loss: StyleLoss, what: str) -> None:
    """Raise a ValueError unless a style loss compares moments, which ``what`` needs."""
    if style_loss.statistic is not moments:
        raise ValueError(
            f"{what} need a style loss that compares moments, such as 'gram', got one "
            "of another statistic, which takes whole layers and one style; "
            f"leave out the {what}"
        )
