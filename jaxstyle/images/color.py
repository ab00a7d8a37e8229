"""Keep the colors of the photo, in one of three ways.

* Before: give the style the content's colors, and transfer all of it: `match_colors`,
  or `match_histograms`.
* Around: transfer the luma only. Optimize `luminance` of the content in the style that
  `match_luminance` returns, and then put the chroma back: `keep_chroma`.
* After: take the colors of a picture that is there already: `keep_colors`.

Source: Gatys et al. (2016b), "Preserving color in neural artistic style transfer".

All take RGB in [0, 1], ``[*n, h, w, 3]``; ``style`` and ``content`` may differ in size.
"""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images, check_one_shape
from jaxstyle.kernels.gaussians import fit_gaussian, transport_map

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count in the luma Y' of ITU-R BT.601."""

ROUNDING = 1 / (12 * 255**2)
"""The variance of rounding to 8 bits."""


def keep_colors(content: Images, stylized: Images) -> Images:
    """Combine the stylized luma with the content's chroma.

    In Y'IQ and Y'CbCr alike, chroma are multiples of the differences R' - Y', G' - Y'
    and B' - Y'. To keep these and to take over the luma is to move the content along
    the grays:

        result = Y'(stylized) + s (content - Y'(content)),    s = 1

    Where that leaves [0, 1], s is the greatest number below 1 with which it does not:
    luma and hue stay as they are, and the color is paler. (Clipping each of red,
    green and blue would change all three.)

    Source: luminance-only transfer of Gatys et al., there in Y'IQ; without their
    matching of the luma's histograms, since a trained net has seen its style already.

    The stylized luma is clipped to [0, 1] first.
    """
    check_one_shape(content=content, stylized=stylized)
    luma = jnp.clip(luma_of(stylized), 0, 1)
    chroma = content - luma_of(content)
    room = jnp.where(chroma > 0, 1 - luma, luma)
    # Where there is no chroma any number would do; this one has a gradient of zero.
    needed = jnp.where(chroma == 0, 1, jnp.abs(chroma))
    share = jnp.where(chroma == 0, 1, room / needed).min(-1, keepdims=True)
    return luma + jnp.minimum(share, 1) * chroma


def keep_chroma(content: Images, stylized: Images) -> Images:
    """Keep the content's chroma exactly, with the nearest luma to the stylized.

    The luma is clipped, pixel by pixel, to where a color with this chroma exists:

        c = content - Y'(content)
        result = clip(Y'(stylized), -min(c), 1 - max(c)) + c

    The content's own luma always lies in between. So the hue and the colorfulness of
    the photo stay to the last digit, and in its strongest colors there is little room
    for strokes. `keep_colors` does the opposite: all strokes, and paler colors where
    they do not fit. Take this one where the colors matter most, `keep_colors` where
    the strokes do.
    """
    check_one_shape(content=content, stylized=stylized)
    chroma = content - luma_of(content)
    least = -chroma.min(-1, keepdims=True)
    most = 1 - chroma.max(-1, keepdims=True)
    return jnp.clip(luma_of(stylized), least, most) + chroma


def luminance(images: Images) -> Images:
    """Convert images to gray ones of the same shape and luma."""
    check_images(images)
    return jnp.broadcast_to(luma_of(images), images.shape)


def match_luminance(style: Images, content: Images) -> Images:
    """Convert the style to gray, its luma shifted and scaled to suit the content's.

        result = sd(content) / sd(style) (Y'(style) - mean(style)) + mean(content)

    with means and standard deviations of the luma over each image, clipped to [0, 1].
    A flat style becomes the content's mean.
    """
    _check_as_many(style, content)
    luma = _match_moments(luma_of(style), luma_of(content))
    return jnp.broadcast_to(luma, style.shape)


def match_colors(style: Images, content: Images) -> Images:
    """Give the style the mean color and the covariances of the content.

        result = A (style - mean(style)) + mean(content),    A S A^T = C

    with the covariances S and C of red, green and blue, clipped to [0, 1]. Many A do
    this. This one is symmetric, the optimal transport between Gaussians (Pitié and
    Kokaram, 2007, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer"): of all it moves the colors least, so blue stays
    bluish where it can. The image analogies' root C^1/2 S^-1/2, which Gatys et al.
    take, also turns the colors, by 10 to 36 degrees between paintings and photos, and
    stretches them more.

    The variance of rounding to 8 bits is added to all variances: gray and flat images
    can be matched, and differences as small as that are no color to stretch.
    """
    _check_as_many(style, content)
    return _match_moments(style, content)


def match_histograms(style: Images, content: Images) -> Images:
    """Give the style the content's distribution of each of red, green and blue.

    The pixel of rank r among n becomes the content's quantile (r + 1/2) / n, between
    two pixels interpolated linearly. Equal values share the mean of their ranks, and so
    stay equal; a flat style becomes the content's median. Every channel goes by itself,
    which can make colors that neither image has, as yellow in the sky of a woodcut;
    try `match_colors` first.

    The ranks count as constants: the gradient in the style is zero.
    """
    _check_as_many(style, content)
    matched: Array = _match_ranks(_by_channel(style), _by_channel(content))
    return matched.swapaxes(-1, -2).reshape(style.shape)


def _check_as_many(style: Images, content: Images) -> None:
    check_images(style, name="style")
    check_images(content, name="content")
    if style.shape[:-3] != content.shape[:-3]:
        raise ValueError(
            "style and content must be as many images, [*n, height, width, 3] with the "
            f"same *n, got {style.shape} and {content.shape}"
        )


def luma_of(images: Images) -> Float[Array, "*n h w 1"]:
    """Compute the luma Y' of ITU-R BT.601."""
    return (images * jnp.array(LUMA, images.dtype)).sum(-1, keepdims=True)


def _match_moments(
    style: Float[Array, "*n h w c"], content: Float[Array, "*n h2 w2 c"]
) -> Float[Array, "*n h w c"]:
    """Give the style the content's mean and covariance, moving its values least."""
    points, targets = (
        images.reshape(*images.shape[:-3], -1, images.shape[-1])
        for images in (style, content)
    )
    source, target = (fit_gaussian(x).with_noise(ROUNDING) for x in (points, targets))
    linear = transport_map(source.covariance, target.covariance)
    centered = points - source.mean[..., None, :]
    moved = jnp.einsum("...ij,...sj->...si", linear, centered, precision="highest")
    matched = (moved + target.mean[..., None, :]).astype(points.dtype)
    return jnp.clip(matched, 0, 1).reshape(style.shape)


def _by_channel(images: Images) -> Float[Array, "*n 3 s"]:
    return images.reshape(*images.shape[:-3], -1, 3).swapaxes(-1, -2)


# --- giving values the distribution of others ---------------------------------------


@partial(jnp.vectorize, signature="(s),(t)->(s)")
def _match_ranks(values: Array, targets: Array) -> Array:
    """Give values, ``[*n, s]``, the distribution of others, ``[*n, t]``."""
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
