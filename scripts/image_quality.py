"""How like its original a picture is: PSNR and SSIM, of the luma, as papers have them.

The luma is that of ITU-R BT.601 in studio range, from 16 to 235 of 255, of which the
literature on super-resolution computes both. No border is cut off.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float
from super_resolution import blur

Images = Float[Array, "n h w 3"]
Luma = Float[Array, "n h w"]

STUDIO = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""How much red, green and blue count; black adds 16 / 255."""

STABILIZERS = (0.01**2, 0.03**2)
"""The constants C1 and C2 of SSIM."""


def luma(images: Images) -> Luma:
    """Return the luma Y of RGB images in [0, 1], from 16 / 255 to 235 / 255."""
    return (images * jnp.array(STUDIO)).sum(-1) + 16 / 255


def psnr(images: Images, originals: Images) -> Float[Array, " n"]:
    """Return the peak signal-to-noise ratio in decibels: -10 log10 of the mean square.

    It is infinite for the original itself.
    """
    squares = jnp.square(luma(images) - luma(originals)).mean((1, 2))
    return -10 * jnp.log10(squares)


def ssim(images: Images, originals: Images) -> Float[Array, " n"]:
    """Return the structural similarity: 1 for the original itself, and less for others.

    With means m, variances v and the covariance c of x and y under a Gaussian of sigma
    1.5 in windows of 11x11 pixels, it is the mean over all windows of

        (2 m_x m_y + C1) (2 c + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))

    Source: Wang et al. (2004), "Image quality assessment: from error visibility to
    structural similarity". Images must have 11 pixels or more a side.
    """
    x, y = luma(images), luma(originals)
    planes = jnp.stack([x, y, x * x, y * y, x * y], axis=-1)
    m_x, m_y, m_xx, m_yy, m_xy = jnp.moveaxis(blur(planes, sigma=1.5, reach=5), -1, 0)
    variances = m_xx - m_x**2 + m_yy - m_y**2
    covariance = m_xy - m_x * m_y
    c1, c2 = STABILIZERS
    likeness = (2 * m_x * m_y + c1) * (2 * covariance + c2)
    found: Luma = likeness / ((m_x**2 + m_y**2 + c1) * (variances + c2))
    return found.mean((1, 2))
