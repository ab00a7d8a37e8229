"""The elementary losses of style transfer, one value per image.

Each compares one thing with its target and averages over everything except the batch,
so that values do not depend on the size of the image or on the number of channels. The
style losses on moments are in `jaxstyle.losses.style`.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images


class Moments(NamedTuple):
    """The first two raw moments of a layer's features, which describe a style.

    Attributes:
        mean: the mean activation of each channel over all positions.
        second: the mean product of each pair of channels.

    Averaging the moments of several images gives those of all of them together.
    """

    mean: Float[Array, "*n c"]
    second: Float[Array, "*n c c"]


def moments(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*#n h w"] | None = None
) -> Moments:
    """Compute the first two raw moments of a layer over positions.

        mean_c = sum_p m_p F_pc / sum_p m_p
        second_cd = sum_p m_p F_pc F_pd / sum_p m_p

    With a mask they are those of a region: ``second / c`` is then the guided Gram
    matrix of Gatys et al. (2017), "Controlling perceptual factors in neural style
    transfer", whose guidance channel is the square root of this mask.

    Args:
        features: activations ``[*n, h, w, c]``.
        mask: how much each position counts, none negative; all the same by default.
            Several regions are a leading axis: features ``[n, 1, h, w, c]`` and masks
            ``[r, h, w]`` give moments ``[n, r, ...]``. An empty region has zeros.

    Returns:
        The moments, accumulated in float32 or better on every device.

    Examples:
        >>> found = jaxstyle.losses.moments(jnp.array([[[1.0, 0.0], [3.0, 2.0]]]))
        >>> found.mean
        Array([2., 1.], dtype=float32)
        >>> found.second
        Array([[5., 3.],
               [3., 2.]], dtype=float32)
    """
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    if mask is None:
        mean = features.mean((-3, -2), dtype=dtype)
        area = math.prod(features.shape[-3:-1])
        return Moments(mean, _squares(features) / area)
    # Shares rather than products divided by their sum, which is zero if empty.
    total = mask.sum((-2, -1), dtype=dtype, keepdims=True)
    shares = mask / jnp.maximum(total, np.finfo(dtype).tiny)
    weighted = features * shares[..., None]
    mean = weighted.sum((-3, -2), dtype=dtype)
    return Moments(mean, _products(weighted, features))


def gram_matrix(features: Float[Array, "*n h w c"]) -> Float[Array, "*n c c"]:
    """Compute the correlations between the channels of a layer.

        G_cd = 1 / (h w c)  sum over all positions p of F_pc F_pd

    It is the second moment over the number of channels.

    Source: Gatys et al. (2016), equation 3, where the sum is not divided; dividing by
    C H W follows Johnson et al. (2016), equation 3.

    Args:
        features: activations ``[*n, h, w, c]``.

    Returns:
        The matrix ``[*n, c, c]``, accumulated as in `jaxstyle.losses.moments`.

    Examples:
        >>> jaxstyle.losses.gram_matrix(jnp.array([[[1.0, 0.0], [3.0, 2.0]]]))
        Array([[2.5, 1.5],
               [1.5, 1. ]], dtype=float32)
    """
    return moments(features).second / features.shape[-1]


@jax.custom_jvp
def _squares(features: Float[Array, "*n h w c"]) -> Float[Array, "*n c c"]:
    """Sum the products of pairs of channels over all positions.

    The gradient is one product with the matrix that comes back plus its transpose; JAX
    would derive two, for this is bilinear.
    """
    return _products(features, features)


@_squares.defjvp
def _squares_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Float[Array, "*n c c"], Float[Array, "*n c c"]]:
    (features,), (change,) = primals, tangents
    half = _products(change, features)
    return _squares(features), half + half.mT


def _products(
    a: Float[Array, "*n h w c"], b: Float[Array, "*#n h w d"]
) -> Float[Array, "*n c d"]:
    """Sum the products of channels of two images of features over all positions."""
    # One axis of positions: XLA on the CPU is up to four times as slow with two.
    a, b = (x.reshape(*x.shape[:-3], -1, x.shape[-1]) for x in (a, b))
    return jnp.einsum(
        "...pc,...pd->...cd",
        a,
        b,
        precision="highest",
        preferred_element_type=jnp.promote_types(a.dtype, jnp.float32),
    )


def content_loss(
    features: Float[Array, "*n h w c"], target: Float[Array, "*n h w c"]
) -> Float[Array, "*n"]:
    """Compute the mean squared difference between two activations of a layer.

    Source: Gatys et al. (2016), equation 1, where it is half the sum; Johnson et al.
    (2016), equation 2, have the mean.

    Args:
        features: activations ``[*n, h, w, c]``.
        target: those of the content.

    Returns:
        The loss, one value per image, in float32 or better.

    Examples:
        >>> zeros, threes = jnp.zeros((5, 4, 4, 8)), jnp.full((4, 4, 8), 3.0)
        >>> jaxstyle.losses.content_loss(zeros, threes)
        Array([9., 9., 9., 9., 9.], dtype=float32)
    """
    return _mean_square(features - target)


def style_loss(
    gram: Float[Array, "*n c c"], target: Float[Array, "*n c c"]
) -> Float[Array, "*n"]:
    """Compute the mean squared difference between two Gram matrices.

    Source: Gatys et al. (2016), equation 4, where it is a quarter of the mean; Johnson
    et al. (2016), equation 4, have the sum.

    Args:
        gram: Gram matrices ``[*n, c, c]``, as `gram_matrix` returns them.
        target: that of the style.

    Returns:
        The loss, one value per matrix.

    Examples:
        >>> jaxstyle.losses.style_loss(jnp.eye(2), jnp.zeros((2, 2)))
        Array(0.5, dtype=float32)
    """
    return jnp.square(gram - target).mean((-2, -1))


def total_variation(images: Images) -> Float[Array, "*n"]:
    """Compute the mean squared difference between neighbors, down plus across.

    A side of a single pixel adds nothing.

    Source: the regularizer of Mahendran & Vedaldi (2015) with an exponent of 2, as
    Johnson et al. (2016) use it; theirs is the sum, which grows with the image.

    Args:
        images: RGB, ``[*n, h, w, 3]``.

    Returns:
        One value per image.

    Examples:
        >>> board = jnp.tile(jnp.eye(2), (4, 4))
        >>> jaxstyle.losses.total_variation(jnp.stack([board] * 3, axis=-1))
        Array(2., dtype=float32)
    """
    down, across = jnp.diff(images, axis=-3), jnp.diff(images, axis=-2)
    return _mean_square(down) + _mean_square(across)


def absolute_variation(images: Images) -> Float[Array, "*n"]:
    """Compute the mean absolute difference between neighbors, down plus across.

    It weighs a sharp edge no more than a gradual one of the same height, where
    `total_variation` prefers the gradual one. A side of a single pixel adds nothing.

    Source: the anisotropic total variation of Rudin, Osher & Fatemi (1992), as a mean.

    Args:
        images: RGB, ``[*n, h, w, 3]``.

    Returns:
        One value per image.

    Examples:
        From black to white in one step and in two:

        >>> sharp = jnp.array([0.0, 1.0, 1.0])[None, :, None] * jnp.ones(3)
        >>> gradual = jnp.array([0.0, 0.5, 1.0])[None, :, None] * jnp.ones(3)
        >>> jaxstyle.losses.absolute_variation(jnp.stack([sharp, gradual]))
        Array([0.5, 0.5], dtype=float32)
        >>> jaxstyle.losses.total_variation(jnp.stack([sharp, gradual]))
        Array([0.5 , 0.25], dtype=float32)
    """
    down, across = jnp.diff(images, axis=-3), jnp.diff(images, axis=-2)
    # Unlike that of jnp.abs, the gradient of this at 0 is 0: flat areas stay at rest.
    return _mean(down * jnp.sign(down)) + _mean(across * jnp.sign(across))


def isotropic_variation(images: Images) -> Float[Array, "*n"]:
    """Compute the mean squared difference between neighbors, diagonal ones included.

        2 ( across / 3 + down / 3 + falling diagonal / 12 + rising diagonal / 12 )

    It judges edges more alike in all directions than `total_variation`. Edge pixels are
    repeated outwards by one, and the means are over all pixels (for the first two) or
    all their (h + 1)(w + 1) corners.

    Source: the nine-point stencil of the Laplace operator, as an energy.

    Args:
        images: RGB, ``[*n, h, w, 3]``.

    Returns:
        One value per image.

    Examples:
        >>> board = jnp.tile(jnp.eye(2), (4, 4))
        >>> value = jaxstyle.losses.isotropic_variation(jnp.stack([board] * 3, axis=-1))
        >>> round(float(value), 2)
        1.28
    """
    width = [(0, 0)] * (images.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    padded = jnp.pad(images, width, mode="edge")
    inner = padded[..., 1:-1, 1:-1, :]
    across = _mean_square(padded[..., 1:-1, 2:, :] - inner)
    down = _mean_square(padded[..., 2:, 1:-1, :] - inner)
    falling = _mean_square(padded[..., 1:, 1:, :] - padded[..., :-1, :-1, :])
    rising = _mean_square(padded[..., :-1, 1:, :] - padded[..., 1:, :-1, :])
    return 2 * ((across + down) / 3 + (falling + rising) / 12)


def _mean_square(x: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
    """Compute the mean of the squares."""
    return _mean(jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32))))


def _mean(x: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
    """Compute the mean in float32 or better, or zero where there is nothing."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return x.sum((-3, -2, -1), dtype=dtype) / max(1, math.prod(x.shape[-3:]))
