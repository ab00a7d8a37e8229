"""Sheets: images in rows and columns, with labels, as one image."""

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

import numpy as np
from jaxtyping import Float

Picture = Float[np.ndarray, "_h _w 3"]

GAP = 8
"""The white between images and around them, in pixels."""

LETTERS = range(12, 41)
"""The size of a label's letters, in pixels: a twentieth of the highest image."""


def make_sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Float[np.ndarray, "h w 3"]:
    """Lay images out in rows and columns on white, each in the middle of its cell.

    A column is as wide as the widest that is in it, a row as high as the highest. Rows
    may differ in length.

    Args:
        rows: images in [0, 1], of any sizes.
        row_labels: what to write before the rows, if anything.
        column_labels: what to write above the columns, if anything.

    Raises:
        ValueError: there is no image.
    """
    heights = [len(image) for row in rows for image in row]
    if not heights:
        raise ValueError("a sheet needs at least one image")
    size = min(max(max(heights) // 20, LETTERS.start), LETTERS.stop - 1)
    write = partial(draw_text, size=size)
    cells = [list(row) for row in rows]
    if column_labels:
        cells.insert(0, [write(label) for label in column_labels])
        row_labels = ["", *row_labels] if row_labels else ()
    if row_labels:
        labels = [write(label) for label in row_labels]
        cells = [[label, *row] for label, row in zip(labels, cells, strict=True)]
    return _lay_out(cells)


def draw_text(text: str, *, size: int) -> Picture:
    """Return one line of black letters of a size, in pixels, on white."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    width = max(1, round(font.getlength(text)))
    picture = Image.new("L", (width, round(1.25 * size)), "white")
    ImageDraw.Draw(picture).text((0, size), text, "black", font, anchor="ls")
    gray = np.asarray(picture, np.float32) / 255
    return np.repeat(gray[..., None], 3, axis=-1)


def _lay_out(rows: Sequence[Sequence[Picture]]) -> Picture:
    nothing = np.ones((0, 0, 3), np.float32)
    columns = list(zip_longest(*rows, fillvalue=nothing))
    heights = [max(len(image) for image in row) for row in rows]
    widths = [max(image.shape[1] for image in column) for column in columns]
    tops, lefts = _starts(heights), _starts(widths)
    sheet = np.ones((tops[-1], lefts[-1], 3), np.float32)
    for row, top, cell_height in zip(rows, tops, heights, strict=False):
        for image, left, cell_width in zip(row, lefts, widths, strict=False):
            height, width, _ = image.shape
            y, x = top + (cell_height - height) // 2, left + (cell_width - width) // 2
            sheet[y : y + height, x : x + width] = image
    return sheet


def _starts(lengths: Sequence[int]) -> list[int]:
    """Return where cells of these lengths begin, and at the end where all is over."""
    return [GAP, *(int(end) for end in GAP + np.cumsum(np.array(lengths) + GAP))]
