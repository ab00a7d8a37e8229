"""The elementary losses of style transfer, one value per image.

Each compares one thing with its target and averages over everything but the batch, so
that values do not depend on the size of the image or on the number of channels.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images import Images


def gram_matrix(features: Float[Array, "*n h w c"]) -> Float[Array, "*n c c"]:
    """Return the correlations between the channels of a layer.

        G_cd = 1 / (h w c)  sum over all positions p of F_pc F_pd

    Source: Gatys et al. (2016), equation 3, where the sum is not divided; dividing by
    C H W follows Johnson et al. (2016), equation 3. Products are accumulated in
    float32 or better, also on devices whose default is less.
    """
    *_, h, w, c = features.shape
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    products = jnp.einsum(
        "...hwc,...hwd->...cd",
        features,
        features,
        precision="highest",
        preferred_element_type=dtype,
    )
    return products / (h * w * c)


def content_loss(
    features: Float[Array, "*n h w c"], target: Float[Array, "*n h w c"]
) -> Float[Array, "*n"]:
    """Return the mean squared difference between two activations of a layer.

    Source: Gatys et al. (2016), equation 1, where it is half the sum; Johnson et al.
    (2016), equation 2, have the mean.
    """
    return _mean_square(features - target)


def style_loss(
    gram: Float[Array, "*n c c"], target: Float[Array, "*n c c"]
) -> Float[Array, "*n"]:
    """Return the mean squared difference between two Gram matrices.

    Source: Gatys et al. (2016), equation 4, where it is a quarter of the mean; Johnson
    et al. (2016), equation 4, have the sum.
    """
    return jnp.square(gram - target).mean((-2, -1))


def total_variation(images: Images) -> Float[Array, "*n"]:
    """Return the mean squared difference between neighbours, down plus across.

    A checkerboard of zeros and ones has the value 2. A side of a single pixel adds
    nothing.

    Source: the regulariser of Mahendran & Vedaldi (2015) with an exponent of 2, as
    Johnson et al. (2016) use it; theirs is the sum, which grows with the image.
    """
    down, across = jnp.diff(images, axis=-3), jnp.diff(images, axis=-2)
    return _mean_square(down) + _mean_square(across)


def absolute_variation(images: Images) -> Float[Array, "*n"]:
    """Return the mean absolute difference between neighbours, down plus across.

    It weighs a sharp edge no more than a gradual one of the same height, where
    `total_variation` prefers the gradual one. A checkerboard of zeros and ones has the
    value 2. A side of a single pixel adds nothing.

    Source: the anisotropic total variation of Rudin, Osher & Fatemi (1992), as a mean.
    """
    down, across = jnp.diff(images, axis=-3), jnp.diff(images, axis=-2)
    # Unlike that of jnp.abs, the gradient of this at 0 is 0: flat areas stay at rest.
    return _mean(down * jnp.sign(down)) + _mean(across * jnp.sign(across))


def _mean_square(x: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
    """Return the mean of the squares."""
    return _mean(jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32))))


def _mean(x: Float[Array, "*n h w c"]) -> Float[Array, "*n"]:
    """Return the mean in float32 or better, or zero where there is nothing."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return x.sum((-3, -2, -1), dtype=dtype) / max(1, math.prod(x.shape[-3:]))
