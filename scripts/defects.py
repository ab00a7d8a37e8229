"""Measures of the known defects of transform nets.

A measure is to see the defect and not the texture of a style, so each compares a
picture with itself, with the photo it was made of or with the painting's colors.
Pictures are ``[h, w, 3]`` in [0, 1]. Differences of colors are root mean squares over
red, green and blue, so that black and white differ by 1.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

Picture = Float[np.ndarray, "_h _w 3"]
Palette = Float[np.ndarray, "colors 3"]

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count in the luma Y' of ITU-R BT.601."""

PATCH = 8
"""The side of the patches that may be spots, and that a palette is made of."""

REACH = 5
"""A patch's neighbors are so many patches away at most, in either direction."""

ISOLATED = 2.5
"""The `isolation` from which on a patch stands out."""

ROUGHNESS = 0.01
"""What is added to the variety of neighbors: smaller differences do not show."""

FOREIGN = 0.06
"""The distance from a palette from which on a color is none of the painting's."""

BLOWN = 0.005
"""Pixels nearer than this to black or to white, in all channels, hold no detail."""

BORDER = 8
"""The width of a border, in pixels."""

FLAT_PATCH = 16
"""The side of the patches in which a photo may be flat."""

FLAT = 0.02
"""The `texture` of a photo below which it is flat."""


# --- colors ------------------------------------------------------------------------


def make_palette(paintings: Iterable[Picture]) -> Palette:
    """Return the mean colors of all patches of paintings."""
    return np.concatenate([_means(image, PATCH).reshape(-1, 3) for image in paintings])


def off_palette(
    colors: Float[np.ndarray, "*n 3"], palette: Palette
) -> Float[np.ndarray, "*n"]:
    """Return how far colors are from the nearest of a palette's."""
    flat = colors.reshape(-1, 3)
    nearest = [_rms(color - palette).min() for color in flat]
    return np.array(nearest).reshape(colors.shape[:-1])


def blown_out(picture: Picture) -> Bool[np.ndarray, "h w"]:
    """Return which pixels are white, or black, in all channels: see `BLOWN`."""
    blown: np.ndarray = np.logical_or(
        (picture >= 1 - BLOWN).all(-1), (picture <= BLOWN).all(-1)
    )
    return blown


# --- spots --------------------------------------------------------------------------


def isolation(picture: Picture) -> Float[np.ndarray, "rows columns"]:
    """Return how far each patch stands out from its neighbors, in robust deviations.

        |m - median(n)| / (ROUGHNESS + median |n - median(n)|)

    m is the patch's mean color; n are those of the patches around it and its own,
    (2 REACH + 1)^2 in all. A blob up to about seven patches wide stands out.
    """
    means = _means(picture, PATCH)
    around = _windows(means, REACH)
    middle = np.median(around, axis=-1)
    variety = np.median(_rms(around - middle[..., None], axis=-2), axis=-1)
    deviations: np.ndarray = _rms(means - middle) / (ROUGHNESS + variety)
    return deviations


def find_spots(picture: Picture, palette: Palette) -> Bool[np.ndarray, "rows columns"]:
    """Return which patches stand out and cannot be the style.

    They have an `isolation` above `ISOLATED`, and a mean color that is `FOREIGN` to
    the palette or more pixels that are blown out than not.
    """
    foreign = off_palette(_means(picture, PATCH), palette) > FOREIGN
    blown = _means(blown_out(picture)[..., None], PATCH)[..., 0] > 0.5
    return (isolation(picture) > ISOLATED) & (foreign | blown)


def spot_density(picture: Picture, photo: Picture, palette: Palette) -> float:
    """Return the spots that are not in the photo, per megapixel.

    Those are left out where the photo has a patch that stands out, there or next to it.
    """
    excused = _windows(isolation(photo)[..., None], 1).max(-1)[..., 0] > ISOLATED
    found = find_spots(picture, palette) & ~excused
    return 1e6 * float(found.mean()) / PATCH**2


# --- borders, flat regions, solid colors -------------------------------------------


def border_step(picture: Picture) -> float:
    """Return how much lighter the border is than the ring inside it, in % of white.

    Both are `BORDER` pixels wide; it is the difference of the means of their luma.
    """
    luma = picture @ np.array(LUMA)
    depth = _depth(*luma.shape)
    border, ring = depth < BORDER, (depth >= BORDER) & (depth < 2 * BORDER)
    return 100 * float(luma[border].mean() - luma[ring].mean())


def texture(picture: Picture) -> Float[np.ndarray, "rows columns"]:
    """Return the standard deviation of colors in each patch of `FLAT_PATCH` pixels."""
    squares = _means(np.square(picture, dtype=np.float64), FLAT_PATCH)
    variance = squares - np.square(_means(picture, FLAT_PATCH))
    deviations: np.ndarray = np.sqrt(np.maximum(variance.mean(-1), 0))
    return deviations


def flat_colors(picture: Picture, photo: Picture) -> Float[np.ndarray, "patches 3"]:
    """Return the mean colors of a picture's patches where its photo is flat."""
    return _means(picture, FLAT_PATCH)[texture(photo) < FLAT]


def flat_textures(picture: Picture, photo: Picture) -> Float[np.ndarray, " patches"]:
    """Return the `texture` of a picture's patches where its photo is flat."""
    return texture(picture)[texture(photo) < FLAT]


def deviation(picture: Picture) -> float:
    """Return the standard deviation of a whole picture's colors, in % of white."""
    return 100 * float(_rms((picture - picture.mean((0, 1))).ravel()))


def lopsidedness(picture: Picture) -> float:
    """Return how much a picture differs from its mirror image, in % of white.

    It is the root mean square over the means of 8x8 equal parts, in which fine texture
    averages out, so that casts and blotches remain.
    """
    side = min(picture.shape[:2]) // 8
    coarse = _means(picture, side)[:8, :8]
    return 100 * float(_rms((coarse - coarse[:, ::-1]).ravel()))


# --- arrays -------------------------------------------------------------------------


def _means(picture: np.ndarray, side: int) -> Float[np.ndarray, "rows columns c"]:
    """Return the mean of every patch; what is left over at the end is dropped."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    cut = picture[: rows * side, : columns * side]
    means: np.ndarray = cut.reshape(rows, side, columns, side, -1).mean(
        (1, 3), dtype=np.float64
    )
    return means


def _windows(grid: np.ndarray, reach: int) -> Float[np.ndarray, "rows columns c n"]:
    """Return the values around each place of a grid, mirrored at its edges."""
    side = 2 * reach + 1
    padded = np.pad(grid, ((reach, reach), (reach, reach), (0, 0)), "symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return windows.reshape(*grid.shape, side**2)


def _rms(differences: np.ndarray, axis: int = -1) -> np.ndarray:
    squares: np.ndarray = np.sqrt(np.square(differences).mean(axis))
    return squares


def _depth(height: int, width: int) -> np.ndarray:
    """Return how many pixels each pixel is away from the nearest edge."""
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in (height, width))
    return np.minimum(y[:, None], x)
