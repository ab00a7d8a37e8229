"""What moves from one frame to the next, and what is warped by it."""

from itertools import product
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image

Flow = Float[Array, "h w 2"]
"""How far away, in rows and columns of pixels, what a pixel shows was."""

SLACK, SHARE = 0.5, 0.01
"""How far there and back may end from where it began: this many pixels, squared, and
this share of the squared lengths of both ways."""

WINDOW, DIFFERENCE = 5, 0.01
"""The side of windows, in pixels, in which a frame and the one before are compared, and
the mean squared difference up to which they show the same."""

AROUND = 48
"""How many pixels around its own nothing may change where a pixel stands still: with
fewer, things would leave a trail of what styles make of their surroundings."""


class Motion(NamedTuple):
    """The motion of a frame since the one before.

    Attributes:
        flow: for each pixel of the frame, how many rows and columns away from it the
            frame before shows the same, ``[h, w, 2]``.
        trust: how far it can be trusted, ``[h, w]`` in [0, 1]; 0 for what has just come
            into view.
        still: 1 where the frame does not differ at all from the one before, nor for
            some way around, and 0 elsewhere, ``[h, w]``.
    """

    flow: Flow
    trust: Float[Array, "h w"]
    still: Float[Array, "h w"]


def match_flows(image: Image, before: Image, backward: Flow, forward: Flow) -> Motion:
    """Make the motion of a frame of the flow to the frame before, and of that forth.

    Where no motion explains the frame as well as the flow does, as for all that stands
    still, the flow is zero. Elsewhere it is trusted if both flows agree: from a pixel
    the one leads to a point of the frame before, and the other from there to where the
    pixel is, but for::

        (there + back)^2 < 0.01 (there^2 + back^2) + 0.5

    Both frames must then show the same: within windows of 5x5 pixels, their mean
    squared difference is at most 0.01. What stands still are pixels around which not
    one differs, up to 48 pixels away, by any amount.

    Source: Sundaram et al. (2010), "Dense point trajectories by GPU-accelerated large
    displacement optical flow", as in Ruder et al. (2016), "Artistic style transfer for
    videos". To compare pixels is not in these papers.

    Args:
        image: the frame, RGB in [0, 1], ``[h, w, 3]``.
        before: the frame before.
        backward: from each pixel of the frame to the frame before, in rows and columns.
        forward: from each pixel of the frame before to the frame.

    Returns:
        The motion of the frame, with a trust of 0 or 1.

    Examples:
        >>> right = jnp.zeros((16, 16, 2)).at[..., 1].set(2)
        >>> moved = jnp.roll(photo, 2, axis=1)
        >>> motion = jaxstyle.video.match_flows(moved, photo, -right, right)
        >>> motion.trust[8, :8]
        Array([0., 0., 0., 0., 1., 1., 1., 1.], dtype=float32)
    """
    back = warp(forward, backward)
    squares = jnp.square(backward).sum(-1) + jnp.square(back).sum(-1)
    agree = jnp.square(backward + back).sum(-1) < SHARE * squares + SLACK
    moved, still = (_differ(image, x) for x in (warp(before, backward), before))
    stands = still <= moved
    trusted = stands | (agree & _is_inside(backward))
    trusted &= jnp.minimum(still, moved) <= DIFFERENCE
    flow = jnp.where(stands[..., None], 0, backward)
    fixed = _is_fixed(image, before)
    return Motion(flow, *(x.astype(backward.dtype) for x in (trusted, fixed)))


def _differ(image: Image, other: Image) -> Float[Array, "h w"]:
    """Compute the mean squared difference of two images in windows."""
    squares = jnp.square(image - other).mean(-1)
    sums = lax.reduce_window(
        squares, 0.0, lax.add, (WINDOW, WINDOW), (1, 1), padding="SAME"
    )
    return sums / WINDOW**2


def _is_fixed(image: Image, before: Image) -> Array:
    """Find the pixels around which two images are equal."""
    equal = (image == before).all(-1)
    for window in ((2 * AROUND + 1, 1), (1, 2 * AROUND + 1)):
        equal = lax.reduce_window(equal, True, lax.bitwise_and, window, (1, 1), "SAME")
    return equal


def _points(flow: Flow) -> Flow:
    """Compute the rows and columns that a flow leads to."""
    return flow + jnp.moveaxis(jnp.indices(flow.shape[:2]), 0, -1)


def _is_inside(flow: Flow) -> Array:
    points = _points(flow)
    last = jnp.array(flow.shape[:2]) - 1
    return ((points >= 0) & (points <= last)).all(-1)


def warp(before: Float[Array, "_h _w c"], flow: Flow) -> Float[Array, "h w c"]:
    """Move the pixels of the frame before to where a frame shows them.

    Between pixels it interpolates by cubic convolution, so that a film does not become
    blurred when each frame is made of the one before. Where a flow is zero, pixels are
    taken as they are. What lies outside is continued by the edge.

    Source: Keys (1981), "Cubic convolution interpolation for digital image processing",
    with a = -1/2.

    Args:
        before: what belongs to the frame before, ``[_h, _w, c]``, as a rule of the same
            size.
        flow: of the frame, as in `Motion`, ``[h, w, 2]``.

    Returns:
        The same for the frame, ``[h, w, c]``.

    Examples:
        >>> left = jnp.zeros((16, 16, 2)).at[..., 1].set(1)  # all moves to the left
        >>> moved = jaxstyle.video.warp(photo, left)
        >>> jnp.array_equal(moved[:, :-1], photo[:, 1:])
        Array(True, dtype=bool)
    """
    height, width, channels = before.shape
    points = _points(flow)
    first = jnp.floor(points)
    rows, columns = (_cubic(x) for x in jnp.moveaxis(points - first, -1, 0))
    row, column = jnp.moveaxis(first.astype(jnp.int32), -1, 0)
    pixels = before.reshape(-1, channels)
    warped = jnp.zeros((*flow.shape[:2], channels), before.dtype)
    for i, j in product(range(4), range(4)):
        at = jnp.clip(row + i - 1, 0, height - 1) * width
        at = at + jnp.clip(column + j - 1, 0, width - 1)
        warped += (rows[i] * columns[j])[..., None] * pixels[at]
    return warped


def _cubic(t: Array) -> tuple[Array, Array, Array, Array]:
    """Compute the weights of four neighbors at a distance t from the second."""
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )


def warping_error(image: Image, before: Image, motion: Motion) -> Float[Array, ""]:
    """Compute how much a film flickers from one frame to the next.

    The mean squared difference between a frame and the one before, warped, where the
    motion can be trusted::

        sum_p trust_p (image_p - warp(before)_p)^2 / (3 sum_p trust_p)

    Source: Lai et al. (2018), "Learning blind video temporal consistency".

    Args:
        image: the frame, RGB, ``[h, w, 3]``.
        before: the frame before.
        motion: of the frame.

    Returns:
        The error, of pixels in [0, 1]; 0 where nothing can be trusted.

    Examples:
        >>> nothing = jnp.zeros((16, 16, 2))
        >>> motion = jaxstyle.video.match_flows(photo, photo, nothing, nothing)
        >>> float(jaxstyle.video.warping_error(photo, photo, motion))
        0.0
    """
    squares = jnp.square(image - warp(before, motion.flow)).mean(-1)
    total = jnp.maximum(motion.trust.sum(), 1)
    return (motion.trust * squares).sum() / total
