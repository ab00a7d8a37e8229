"""Pictures of photos that were painted small, brought to the size of the photos.

Window by window, by one program for photos of all sizes, so that no more memory is
needed than for the pixels; see `jaxstyle.images.detail`.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from math import ceil
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Compiled
from jaxtyping import Float, UInt8

from jaxstyle.files.image_files import check_finite
from jaxstyle.images.arrays import Images, fit_size
from jaxstyle.images.detail import SUPPORT, apply_detail, fit_detail, place_window

PAINTED = 1024
"""The longer side at which larger photos are painted, in pixels, by default."""

WINDOW = 512
"""The side of windows, in pixels."""

STEP = 16
"""The sides of the windows' coefficients are multiples of this: few programs."""

Picture: TypeAlias = Float[np.ndarray, "h w 3"]

Pixels: TypeAlias = UInt8[np.ndarray, "h w 3"]

Finish: TypeAlias = Callable[[Images, Images], Images]
"""``finish(photos, pictures) -> pictures`` in [0, 1]."""


def painted_size(
    size: tuple[int, int], *, stroke_size: float, smallest: int
) -> tuple[int, int]:
    """Choose the height and width at which a photo is painted.

    Strokes of size 0 are as fine as they get: those of the photo at its full size. No
    side becomes less than ``smallest`` pixels.
    """
    longest = max(size)
    if stroke_size == 0:
        return size
    side = max(
        round(min(longest, PAINTED) / stroke_size), ceil(smallest * longest / min(size))
    )
    return size if side >= longest else fit_size(size, side)


def restore_size(
    photo: Pixels, small: Picture, painted: Picture, finish: Finish
) -> Pixels:
    """Enlarge a painting of a small photo, with the detail of the photo.

    A ValueError says if the painting has pixels that are not finite.
    """
    check_finite(painted)
    sizes = photo.shape[:2], small.shape[:2]
    scale = min(full / few for full, few in zip(*sizes, strict=True))
    side = ceil(WINDOW / scale) + 2 * SUPPORT + 2
    side += -side % STEP
    before = SUPPORT + 1
    margins = (before, side), (before, side), (0, 0)
    coefficients = np.pad(np.asarray(_fit_detail(small, painted)), margins, "edge")
    restore, restored = compile_window(side, finish), np.empty_like(photo)
    for corner in product(*(range(0, full, WINDOW) for full in sizes[0])):
        places = list(map(place_window, corner, *sizes))
        starts = [before + place.start for place in places]
        part = coefficients[tuple(slice(start, start + side) for start in starts)]
        moves = [(place.scale, place.translation) for place in places]
        scales, translations = np.array(moves, np.float32).T
        window = tuple(slice(first, first + WINDOW) for first in corner)
        pixels = restore(_fill(photo[window]), part, scales, translations)
        height, width, _ = restored[window].shape
        restored[window] = np.asarray(pixels)[:height, :width]
    return restored


def _fill(window: Pixels) -> Pixels:
    """Extend a window at the end of a photo to full size."""
    height, width, _ = window.shape
    return np.pad(window, ((0, WINDOW - height), (0, WINDOW - width), (0, 0)))


_fit_detail = jax.jit(fit_detail)


@cache
def compile_window(side: int, finish: Finish) -> Compiled:
    """Compile the program for windows with as many coefficients on a side.

    It is kept when JAX forgets those that paint, as `Painter` lets it.
    """

    def restore(
        pixels: UInt8[Any, "r c 3"],
        coefficients: Float[Any, "s s 5"],
        scale: Float[Any, "2"],
        translation: Float[Any, "2"],
    ) -> UInt8[Any, "r c 3"]:
        photo = pixels.astype(jnp.float32) / 255
        restored = apply_detail(coefficients, photo, scale, translation)
        finished = finish(photo, restored)
        return jnp.rint(jnp.clip(finished, 0, 1) * 255).astype(jnp.uint8)

    pixels = jax.ShapeDtypeStruct((WINDOW, WINDOW, 3), jnp.uint8)
    pair = jax.ShapeDtypeStruct((2,), jnp.float32)
    coefficients = jax.ShapeDtypeStruct((side, side, 5), jnp.float32)
    return jax.jit(restore).lower(pixels, coefficients, pair, pair).compile()
