"""Keep the colours of the photo: the brightness of one image, the colour of another."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images import Images, check_images

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count in the luma Y' of ITU-R BT.601."""


def keep_colors(content: Images, stylized: Images) -> Images:
    """Return the stylized luma with the content's chroma.

    In Y'IQ and Y'CbCr alike, chroma are multiples of the differences R' - Y', G' - Y'
    and B' - Y'. To keep these and to take over the luma is to move the content along
    the greys:

        result = Y'(stylized) + s (content - Y'(content)),    s = 1

    Where that leaves [0, 1], s is the greatest number below 1 with which it does not:
    luma and hue stay as they are, and the colour is paler. (Clipping each of red,
    green and blue would change all three.)

    Source: Gatys et al. (2016b), "Preserving color in neural artistic style transfer",
    luminance-only transfer, there in Y'IQ; without their matching of the luma's
    histograms, since a trained net has seen its style already.

    Args:
        content: the image whose colours to keep, ``[*n, h, w, 3]`` in [0, 1].
        stylized: of the same shape; its luma is clipped to [0, 1].

    Raises:
        TypeError: an image is not floating-point.
        ValueError: the shapes are wrong or differ.
    """
    check_images(content, name="content")
    check_images(stylized, name="stylized")
    if content.shape != stylized.shape:
        raise ValueError(
            f"content and stylized must have one shape, got {content.shape} and "
            f"{stylized.shape}"
        )
    luma = jnp.clip(_luma(stylized), 0, 1)
    chroma = content - _luma(content)
    room = jnp.where(chroma > 0, 1 - luma, luma)
    # Where there is no chroma any number would do; this one has a gradient of zero.
    needed = jnp.where(chroma == 0, 1, jnp.abs(chroma))
    share = jnp.where(chroma == 0, 1, room / needed).min(-1, keepdims=True)
    return luma + jnp.minimum(share, 1) * chroma


def _luma(images: Images) -> Float[Array, "*n h w 1"]:
    return (images * jnp.array(LUMA, images.dtype)).sum(-1, keepdims=True)
