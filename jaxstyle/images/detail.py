"""Bring a picture that was painted small to the size of its photo, with its detail.

Brush strokes have a size in pixels, so a large photo that is painted as it is shows
only faint ones. Painted small and enlarged, it shows them, and is soft. Here the fine
detail of the photo, which the small one lacks, is added wherever the painting followed
the photo, and left out where strokes go their own way: there it would be drawn over
them. In flat areas, such as a sky, that also leaves out the noise of the camera.

With the small photo s and its painting p, of luma Y(s) and Y(p), and with variances and
covariances over windows of 5x5 pixels,

    g = clip((cov(Y(s), Y(p)) + e) / sqrt((var(Y(s)) + e) (var(Y(p)) + e)), 0, 1)
    h = e / (mean |p - s|^2 + e)
    b = p - g Y(s) - h (s - Y(s))

are computed in the small size and enlarged. They are applied to the photo x:

    result = b + g Y(x) + h (x - Y(x))

Sources: to fit a relation of two small images and to apply it to the large one is the
fast guided filter of He and Sun (2015); g is the structure term of the structural
similarity of Wang et al. (2004). Where nothing was painted, g = h = 1 and b = 0: the
photo stays as it is. Elsewhere h is nearly 0: the colors are the painting's alone.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images, check_one_shape
from jaxstyle.images.color import luma_of

Coefficients = Float[Array, "*n h w 5"]
"""For each pixel of the small size: b, three channels, then g, then h."""

METHOD, SUPPORT = "lanczos3", 3
"""The kernel that enlarges coefficients, and its reach on each side, in pixels."""

RADIUS = 2
"""The windows have sides of 2 * RADIUS + 1 pixels."""

EPSILON = 1e-4
"""The variance e below which there is no structure: a standard deviation of 1 %."""


def restore_detail(photos: Images, small: Images, painted: Images) -> Images:
    """Enlarge paintings of small photos, with the detail of the large ones.

    Pure, under `jax.jit`, `jax.vmap` and `jax.grad`. The source has the equations.

    Args:
        photos: the large photos, RGB in [0, 1], ``[*n, h, w, 3]``.
        small: the same in a smaller size, as by `jax.image.resize`.
        painted: pictures that were painted from ``small``, of its shape.

    Returns:
        Images of the shape of ``photos``, not clipped.

    Raises:
        TypeError: some images are not floating-point.
        ValueError: a shape is wrong.

    Examples:
        >>> small = jax.image.resize(photo, (8, 8, 3), "lanczos3")
        >>> restore = jax.jit(jaxstyle.images.restore_detail)
        >>> restore(photo, small, 1 - small).shape
        (16, 16, 3)

        Where nothing was painted, the photo stays as it is:

        >>> jnp.allclose(restore(photo, small, small), photo, atol=1e-4)
        Array(True, dtype=bool)
    """
    check_images(photos, name="photos")
    if photos.shape[:-3] != small.shape[:-3]:
        raise ValueError(
            "photos and small must be as many images, [*n, height, width, 3] with the "
            f"same *n, got {photos.shape} and {small.shape}"
        )
    *_, height, width, _ = small.shape
    scale = (photos.shape[-3] / height, photos.shape[-2] / width)
    coefficients = _pad_edges(fit_detail(small, painted), SUPPORT)
    translation = [-SUPPORT * each for each in scale]
    return apply_detail(coefficients, photos, jnp.array(scale), jnp.array(translation))


def fit_detail(small: Images, painted: Images) -> Coefficients:
    """Compute the coefficients of small photos and their paintings."""
    check_one_shape(small=small, painted=painted)
    gray, moved = luma_of(small), luma_of(painted)
    mean, other = _average(gray), _average(moved)
    covariance = _average(gray * moved) - mean * other
    variance = _average(gray**2) - mean**2, _average(moved**2) - other**2
    product = (jnp.maximum(variance[0], 0) + EPSILON) * (
        jnp.maximum(variance[1], 0) + EPSILON
    )
    structure = jnp.clip((covariance + EPSILON) / jnp.sqrt(product), 0, 1)
    change = _average((painted - small) ** 2).mean(-1, keepdims=True)
    color = EPSILON / (change + EPSILON)
    offset = painted - structure * gray - color * (small - gray)
    return jnp.concatenate([offset, structure, color], axis=-1)


def apply_detail(
    coefficients: Coefficients, photos: Images, scale: ArrayLike, translation: ArrayLike
) -> Images:
    """Enlarge coefficients, and apply them to photos.

    The scale and the translation are those of rows and columns, as in
    `jax.image.scale_and_translate`; those of a window are in `Place`.
    """
    axes = photos.ndim - 3, photos.ndim - 2
    shape = (*photos.shape[:-1], coefficients.shape[-1])
    enlarged = jax.image.scale_and_translate(
        coefficients, shape, axes, jnp.asarray(scale), jnp.asarray(translation), METHOD
    )
    offset, structure, color = jnp.split(enlarged, (3, 4), axis=-1)
    gray = luma_of(photos)
    return offset + structure * gray + color * (photos - gray)


def _average(x: Images) -> Images:
    """Average over windows; at the borders the last pixel is repeated."""
    *_, height, width, _ = x.shape
    padded, side = _pad_edges(x, RADIUS), 2 * RADIUS + 1
    rows = jnp.stack([padded[..., at : at + height, :, :] for at in range(side)])
    column = rows.mean(0)
    columns = jnp.stack([column[..., at : at + width, :] for at in range(side)])
    return columns.mean(0)


def _pad_edges(x: Array, margin: int) -> Array:
    widths = [(0, 0)] * (x.ndim - 3) + [(margin, margin)] * 2 + [(0, 0)]
    return jnp.pad(x, widths, "edge")


# --- windows ------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a window of a photo lies on one side of its coefficients.

    Attributes:
        start: the first coefficient that it needs; below 0, repeat the first one.
        scale: the size of the photo relative to that of the coefficients.
        translation: from the coefficients that begin at ``start`` to the window.
    """

    start: int
    scale: float
    translation: float


def place_window(first: int, side: int, small: int) -> Place:
    """Find what the window of a photo needs that begins at its pixel ``first``.

    The photo has ``side`` pixels, and the coefficients are ``small``. A window of n
    pixels needs n / scale + 2 * SUPPORT + 2 coefficients.
    """
    scale = side / small
    start = math.floor((first + 0.5) / scale - 0.5) - SUPPORT
    return Place(start, scale, start * scale - first)
