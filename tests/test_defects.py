"""The measures of defects: low on clean pictures, high where one is planted."""

import defects
import numpy as np
import pytest
from checkerboards import checkerboard
from defects import (
    blown_out,
    border_step,
    deviation,
    find_spots,
    flat_colors,
    flat_textures,
    isolation,
    lopsidedness,
    make_palette,
    off_palette,
    spot_density,
    texture,
)
from planted_defects import board, canvas, with_blob

ORANGE = (0.9, 0.4, 0.0)


def spots(picture: np.ndarray, *, photo: np.ndarray | None = None) -> float:
    """Return how many patches of a picture are spots, by the palette of a canvas."""
    blank = np.zeros_like(picture)
    palette = make_palette([canvas(seed=1)])
    density = spot_density(picture, blank if photo is None else photo, palette)
    height, width, _ = picture.shape
    return float(density * height * width / 1e6)


# --- colors ------------------------------------------------------------------------


def test_a_painting_keeps_to_its_own_palette() -> None:
    painting, other = canvas(), canvas(40, 50, seed=1) / 2
    palette = make_palette([painting, other])
    assert palette.shape == (16 * 16 + 5 * 6, 3)
    means = painting[:8, 8:16].mean((0, 1)), other[32:40, 40:48].mean((0, 1))
    np.testing.assert_allclose(off_palette(np.stack(means), palette), 0, atol=1e-6)


def test_black_and_white_are_one_apart() -> None:
    colors = np.array([[[1, 1, 1], [0, 0, 0]], [[0, 0, 1], [0.5, 0.5, 0.5]]])
    found = off_palette(colors, np.zeros((1, 3)))
    np.testing.assert_allclose(found, [[1, 0], [np.sqrt(1 / 3), 0.5]])


def test_the_nearest_color_counts() -> None:
    palette = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    assert off_palette(np.array([0.6, 0.6, 0.6]), palette) == pytest.approx(0.1)


def test_pixels_are_blown_out_in_all_channels() -> None:
    row = [(1, 1, 1), (0, 0, 0), (1, 1, 0), (0.99, 1, 1), (0.996, 1, 1), (0, 0.004, 0)]
    assert blown_out(np.array([row])).tolist() == [[1, 1, 0, 0, 1, 1]]


# --- spots --------------------------------------------------------------------------


def test_clean_pictures_have_no_spots() -> None:
    assert spots(canvas()) == 0
    assert spots(np.full((64, 64, 3), 0.4)) == 0
    ramp = np.broadcast_to(np.linspace(0, 1, 128)[:, None], (128, 128))
    assert spots(np.repeat(ramp[..., None], 3, axis=-1)) == 0


@pytest.mark.parametrize("color", [(1, 1, 1), (0, 0, 0), ORANGE])
def test_a_blob_of_another_color_is_a_spot(color: tuple[float, float, float]) -> None:
    assert spots(with_blob(canvas(), color)) == pytest.approx(4)


def test_a_blob_off_the_grid_is_a_spot() -> None:
    assert spots(with_blob(canvas(), (1, 1, 1), at=45)) >= 4


def test_a_blob_in_the_corner_is_a_spot() -> None:
    assert spots(with_blob(canvas(), (1, 1, 1), at=0)) == pytest.approx(4)


def test_what_stands_out_in_the_photo_is_no_spot() -> None:
    picture = with_blob(canvas(), (1, 1, 1))
    photo = canvas(seed=2) / 2
    assert spots(picture, photo=photo) == pytest.approx(4)
    assert spots(picture, photo=with_blob(photo, ORANGE)) == 0
    assert spots(picture, photo=with_blob(photo, ORANGE, at=56)) == 0
    assert spots(picture, photo=with_blob(photo, ORANGE, at=96)) == pytest.approx(4)


def test_a_blob_in_a_color_of_the_painting_is_no_spot() -> None:
    picture = with_blob(canvas(), ORANGE)
    painting = np.full((16, 16, 3), ORANGE)
    assert find_spots(picture, make_palette([canvas()])).sum() == 4
    assert find_spots(picture, make_palette([canvas(), painting])).sum() == 0


def test_a_blob_without_detail_is_a_spot_in_any_color() -> None:
    picture = with_blob(canvas(), (1, 1, 1))
    white = np.ones((16, 16, 3))
    assert find_spots(picture, make_palette([canvas(), white])).sum() == 4


def test_a_wide_bright_region_is_no_spot() -> None:
    picture = canvas()
    picture[:, 64:] = 1
    assert spots(picture) == 0


def test_isolation_is_in_robust_deviations() -> None:
    picture = np.full((56, 56, 3), 0.5)
    picture[24:32, 24:32] += 0.1
    found = isolation(picture)
    assert found.shape == (7, 7)
    assert found[3, 3] == pytest.approx(0.1 / defects.ROUGHNESS)
    assert np.delete(found.ravel(), 24).max() == 0


# --- checkerboards ------------------------------------------------------------------


def test_pictures_without_a_grid_have_no_checkerboard() -> None:
    for period in (2, 4):
        assert abs(checkerboard(canvas(), period=period)) < 3
        assert checkerboard(np.full((64, 64, 3), 0.4), period=period) == 0


@pytest.mark.parametrize(("period", "other"), [(2, 4), (4, 2)])
def test_a_faint_checkerboard_is_found(period: int, other: int) -> None:
    picture = canvas() + 0.02 * board(128, period)
    assert checkerboard(picture, period=period) > 10
    assert abs(checkerboard(picture, period=other)) < 3


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
def test_stripes_along_one_axis_are_found(axes: tuple[int, int, int]) -> None:
    stripes = np.broadcast_to(1 - 2 * (np.arange(128) % 2), (128, 128))[..., None]
    picture = canvas() + 0.02 * stripes.transpose(axes)
    assert checkerboard(picture, period=2) > 10


def test_a_checkerboard_in_a_part_is_found() -> None:
    picture, planted = canvas(), 0.04 * board(128, 2)
    picture[:64, :64] += planted[:64, :64]
    assert checkerboard(picture, period=2) > 10


def test_ten_times_the_amplitude_is_twenty_decibels_more() -> None:
    weak, strong = (
        checkerboard(canvas() + amplitude * board(128, 2), period=2)
        for amplitude in (0.02, 0.2)
    )
    assert strong - weak == pytest.approx(20, abs=1)


# --- borders, flat regions, solid colors -------------------------------------------


@pytest.mark.parametrize("step", [-0.1, 0.1])
def test_a_border_is_measured_in_percent_of_white(step: float) -> None:
    picture = np.full((64, 48, 3), 0.5)
    inside = picture[8:-8, 8:-8].copy()
    picture += step
    picture[8:-8, 8:-8] = inside
    assert border_step(picture) == pytest.approx(100 * step)


def test_a_picture_without_a_border_has_no_step() -> None:
    assert abs(border_step(canvas())) < 1
    ramp = np.broadcast_to(np.linspace(0, 1, 64)[:, None], (48, 64, 1))
    assert border_step(np.repeat(ramp, 3, axis=-1)) == pytest.approx(0, abs=1e-9)


def test_flat_regions_are_where_the_photo_is_flat() -> None:
    photo, picture = canvas(48, 32), canvas(48, 32, seed=1)
    photo[16:32, :16] = 0.7
    picture[16:32, :16] = ORANGE
    np.testing.assert_allclose(flat_colors(picture, photo), [ORANGE], rtol=1e-6)
    assert flat_textures(picture, photo).max() < 1e-3
    picture[16:32, :16] += 0.1 * board(16, 2)
    np.testing.assert_allclose(flat_textures(picture, photo), 0.1, rtol=1e-3)


def test_texture_does_not_count_differences_between_patches() -> None:
    picture = np.full((32, 32, 3), 0.2)
    picture[16:] = 0.8
    np.testing.assert_allclose(texture(picture), 0, atol=1e-6)
    assert deviation(picture) == pytest.approx(30)


def test_a_mirrored_picture_is_not_lopsided() -> None:
    half = canvas(64, 32)
    assert lopsidedness(np.concatenate([half, half[:, ::-1]], 1)) < 1e-4


def test_a_cast_on_one_side_is_lopsided() -> None:
    picture = canvas(256, 256)
    usual = lopsidedness(picture)
    assert usual < 1
    picture[:, :128] -= 0.2
    assert lopsidedness(picture) == pytest.approx(20, abs=1)
