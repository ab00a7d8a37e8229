"""Sheets of images: where they lie, and their labels."""

import numpy as np
import pytest

from jaxstyle.files.figures import GAP, draw_text, make_sheet


def flat(height: int, width: int, value: float) -> np.ndarray:
    return np.full((height, width, 3), value, np.float32)


def place(sheet: np.ndarray, value: float) -> tuple[slice, slice]:
    """Return the rows and columns of the box that has a value."""
    rows, columns = np.nonzero((np.abs(sheet - value) < 1e-6).all(-1))
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    assert (np.abs(sheet[box] - value) < 1e-6).all()
    return box


def test_one_image_has_white_around_it() -> None:
    image = np.random.default_rng(0).uniform(size=(5, 7, 3)).astype(np.float32)
    sheet = make_sheet([[image]])
    assert sheet.shape == (5 + 2 * GAP, 7 + 2 * GAP, 3)
    assert sheet.dtype == np.float32
    np.testing.assert_array_equal(sheet[GAP:-GAP, GAP:-GAP], image)
    outside = sheet.sum() - image.sum()
    assert outside == pytest.approx(3 * (sheet[..., 0].size - 35), rel=1e-5)


def test_images_lie_in_the_middle_of_their_cells() -> None:
    rows = [
        [flat(10, 4, 0.1), flat(4, 10, 0.2)],
        [flat(6, 8, 0.3), flat(6, 2, 0.4), flat(2, 2, 0.5)],
    ]
    sheet = make_sheet(rows)
    # Columns are 8, 10 and 2 wide, rows 10 and 6 high.
    assert sheet.shape == (10 + 6 + 3 * GAP, 8 + 10 + 2 + 4 * GAP, 3)
    left, right = GAP, GAP + 8 + GAP
    top, below = GAP, GAP + 10 + GAP
    assert place(sheet, 0.1) == (slice(top, top + 10), slice(left + 2, left + 6))
    assert place(sheet, 0.2) == (slice(top + 3, top + 7), slice(right, right + 10))
    assert place(sheet, 0.3) == (slice(below, below + 6), slice(left, left + 8))
    assert place(sheet, 0.4)[1] == slice(right + 4, right + 6)
    assert place(sheet, 0.5)[0] == slice(below + 2, below + 4)


def test_labels_are_written_above_columns_and_before_rows() -> None:
    images = [[flat(60, 80, 0.5)] * 2] * 2
    plain = make_sheet(images)
    columns = make_sheet(images, column_labels=["one", "two"])
    rows = make_sheet(images, row_labels=["one", "two"])
    both = make_sheet(images, column_labels=["one", "two"], row_labels=["x", "y"])
    above, before = len(columns) - len(plain), rows.shape[1] - plain.shape[1]
    assert above > GAP
    assert before > GAP
    np.testing.assert_array_equal(columns[above:], plain)
    np.testing.assert_array_equal(rows[:, before:], plain)
    assert columns[:above].min() < 0.1
    assert rows[:, :before].min() < 0.1
    left = both.shape[1] - columns.shape[1]
    np.testing.assert_array_equal(both[:, left:], columns)
    assert (both[:above, :left] == 1).all()


def test_a_long_label_widens_its_column_or_row() -> None:
    label = "a name that is longer than the image is wide"
    sheet = make_sheet([[flat(16, 16, 0.5)]], column_labels=[label])
    width = draw_text(label, size=12).shape[1]
    assert sheet.shape[1] == width + 2 * GAP > 100
    _, columns = place(sheet, 0.5)
    assert columns.start - GAP == pytest.approx((width - 16) / 2, abs=1)


def test_letters_grow_with_the_images_within_bounds() -> None:
    heights = []
    for side in (16, 400, 3000):
        image = flat(side, 16, 0.5)
        labeled = make_sheet([[image]], column_labels=["x"])
        heights.append(len(labeled) - len(make_sheet([[image]])) - GAP)
    assert heights == [15, 25, 50]


def test_a_sheet_of_nothing_is_refused() -> None:
    nothing: list[list[list[np.ndarray]]] = [[], [[]]]
    for rows in nothing:
        with pytest.raises(ValueError, match="at least one image"):
            make_sheet(rows)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u6d6a", "\u6ce2"),  # Chinese
        ("\u0436", "\u0434"),  # Russian
        ("\xe9", "\xe8"),  # French
        ("\udcff", "\udcfe"),  # names that are not UTF-8
        ("a\nb", "a\tb"),
    ],
)
def test_labels_of_all_languages_differ(one: str, other: str) -> None:
    pictures = [draw_text(text, size=20) for text in (one, other, one)]
    assert not np.array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])
