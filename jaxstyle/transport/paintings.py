"""What is known of a painting: the distribution of its features at four levels.

A painting is a mapping from the `jaxstyle.transport.encoder.LEVELS` to normal
distributions, `Gaussian(mean, covariance)`. Nothing says where in the painting anything
is, so a painting has no size.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images, check_params
from jaxstyle.kernels.gaussians import Gaussian, barycenter, fit_gaussian
from jaxstyle.losses.targets import pool_masks
from jaxstyle.transport.encoder import LEVELS, SMALLEST_SIDE, encode
from jaxstyle.vgg.layers import stride

Painting: TypeAlias = Mapping[str, Gaussian]
"""The distributions of a painting's features by level."""

NOISE = 1e-3
"""The variance that is added to features, as a share of a level's mean variance."""

FLOOR = 1e-5
"""The least variance that is added, in normalized activations."""


def describe(
    params: Mapping[str, Any],
    image: Images,
    mask: Float[Array, "h w"] | None = None,
) -> Painting:
    """Compute the distributions of a painting's features.

    Args:
        params: from `jaxstyle.load_transport`.
        image: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more.
        mask: how much each pixel counts, ``[h, w]`` in [0, 1]; all by default.

    Returns:
        A mean ``[*n, c]`` and a covariance ``[*n, c, c]`` for each of four levels, in
        float32 or better.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: the shape is wrong, the image is too small, or the mask is of
            another size.

    Examples:
        >>> found = jaxstyle.transport.describe(transport, painting)
        >>> found["relu2_1"].mean.shape, found["relu2_1"].covariance.shape
        ((128,), (128, 128))
    """
    check_images(image, name="the painting", smallest=SMALLEST_SIDE)
    check_transport(params)
    if mask is not None:
        check_mask(mask, image)
    features = encode(params["encoder"], image)
    return {
        layer: fit_level(x, None if mask is None else pool_masks(mask, stride(layer)))
        for layer, x in features.items()
    }


def check_transport(params: Any) -> None:
    """Raise a TypeError or a ValueError unless these are a transport's parameters."""
    loader = "jaxstyle.load_transport()"
    check_params(params, name="encoder", expected="a transport", loader=loader)


def check_painting(painting: Any) -> None:
    """Raise a TypeError unless this is a painting as `describe` returns it."""
    if isinstance(painting, str):
        raise TypeError(
            f"expected a painting, got {painting!r}; one that ships comes from "
            "jaxstyle.files.load_painting"
        )
    if not isinstance(painting, Mapping):
        raise TypeError(
            f"expected a painting from jaxstyle.transport.describe, got a "
            f"{type(painting).__name__}"
        )


def check_target(target: Any) -> None:
    """Raise a TypeError unless this is a painting, or a list of regions."""
    is_list = isinstance(target, Sequence) and not isinstance(target, str)
    for painting in [painting for painting, _ in target] if is_list else [target]:
        check_painting(painting)


def mix(
    paintings: Sequence[Painting], shares: Float[Array, " n"] | Sequence[float]
) -> Painting:
    """Compute the barycenter of paintings: between them at every level.

    That of one painting, given any number of times, is this painting.

    Args:
        paintings: one or more, from `describe`.
        shares: how much each counts; they are divided by their sum.

    Returns:
        Another painting.

    Raises:
        ValueError: there are not as many shares as paintings, or none.

    Examples:
        >>> one = jaxstyle.transport.describe(transport, painting)
        >>> other = jaxstyle.transport.describe(transport, 1 - painting)
        >>> between = jaxstyle.transport.mix([one, other], [3, 1])
        >>> between["relu1_1"].mean.shape
        (64,)
    """
    for painting in paintings:
        check_painting(painting)
    if not paintings or len(paintings) != len(shares):
        raise ValueError(
            f"expected as many shares as paintings, and one or more, got {len(shares)} "
            f"for {len(paintings)}"
        )
    if len(paintings) == 1:
        return paintings[0]
    weights = jnp.asarray(shares, jnp.float32)
    weights = weights / weights.sum()
    return {
        layer: barycenter([with_noise(one[layer]) for one in paintings], weights)
        for layer in LEVELS
    }


def with_noise(gaussian: Gaussian) -> Gaussian:
    """Add noise to features, so that a map to and from them exists.

    Where a photo or a painting has no variance at all, as a black one, nothing can be
    amplified to what the other has: both have at least the noise.
    """
    return gaussian.with_noise(jnp.maximum(NOISE * gaussian.variance, FLOOR))


def fit_level(
    features: Float[Array, "*n h w c"], mask: Float[Array, "*n h w"] | None = None
) -> Gaussian:
    """Compute the distribution of features over positions, weighted by a mask."""
    points = features.reshape(*features.shape[:-3], -1, features.shape[-1])
    weights = None if mask is None else mask.reshape(*mask.shape[:-2], -1)
    return fit_gaussian(points, weights)


def check_mask(mask: Float[Array, "h w"], image: Images) -> None:
    """Raise a ValueError unless a mask is of the size of an image."""
    if mask.shape != image.shape[-3:-1]:
        raise ValueError(
            "a mask must be of its image's size, got "
            f"{'x'.join(map(str, mask.shape))} for "
            f"{'x'.join(map(str, image.shape[-3:-1]))}"
        )
