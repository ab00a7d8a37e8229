"""The measures of nets' defects: low on clean pictures, high where one is planted."""

import json
from dataclasses import asdict
from pathlib import Path

import defects
import jax
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
from measure_defects import (
    SOLIDS,
    main,
    measure_flat_regions,
    measure_large,
    measure_photos,
    measure_solids,
)
from training_runs import save_data

from jaxstyle.style_files import save_style
from jaxstyle.training_presets import TRAINING_PRESETS
from jaxstyle.transform_net import init_net

pytestmark = pytest.mark.usefixtures("plain_convolutions")

ORANGE = (0.9, 0.4, 0.0)


def canvas(height: int = 128, width: int = 128, *, seed: int = 0) -> np.ndarray:
    """Return a rough blue-grey picture, like paint."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(scale=0.08, size=(height, width, 1))
    return np.clip(np.array([0.3, 0.4, 0.6]) + rough, 0, 1).astype(np.float32)


def with_blob(
    picture: np.ndarray, color: tuple[float, float, float], *, at: int = 48
) -> np.ndarray:
    """Return a picture with a square of 16 pixels."""
    changed = picture.copy()
    changed[at : at + 16, at : at + 16] = color
    return changed


def board(size: int, period: int) -> np.ndarray:
    """Return a checkerboard of -1 and 1."""
    place = np.arange(size) // (period // 2)
    return (1 - 2 * (np.add.outer(place, place) % 2))[..., None]


def spots(picture: np.ndarray, *, photo: np.ndarray | None = None) -> float:
    """Return how many patches of a picture are spots, by the palette of a canvas."""
    blank = np.zeros_like(picture)
    palette = make_palette([canvas(seed=1)])
    density = spot_density(picture, blank if photo is None else photo, palette)
    height, width, _ = picture.shape
    return float(density * height * width / 1e6)


# --- colours ------------------------------------------------------------------------


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


def test_the_nearest_colour_counts() -> None:
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
def test_a_blob_of_another_colour_is_a_spot(color: tuple[float, float, float]) -> None:
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


def test_a_blob_in_a_colour_of_the_painting_is_no_spot() -> None:
    picture = with_blob(canvas(), ORANGE)
    painting = np.full((16, 16, 3), ORANGE)
    assert find_spots(picture, make_palette([canvas()])).sum() == 4
    assert find_spots(picture, make_palette([canvas(), painting])).sum() == 0


def test_a_blob_without_detail_is_a_spot_in_any_colour() -> None:
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


# --- borders, flat regions, solid colours -------------------------------------------


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


# --- tables -------------------------------------------------------------------------


def test_the_photos_count_beside_the_pictures() -> None:
    photos = np.stack([canvas(seed=seed) for seed in range(3)])
    pictures = photos + np.float32(0.05) * board(128, 2)
    pictures[:, :8] -= 0.1
    cells = measure_photos(pictures, photos, [canvas(seed=9)])
    assert cells["finite"] == "yes"
    found, usual = cells["period 2, dB (photos)"].split()
    assert float(found) > 20
    assert abs(float(usual.strip("()"))) < 3
    step, usual = cells["border less the photos', % (photos)"].split()
    assert float(step) == pytest.approx(-10 * 128 / 480, abs=0.1)
    assert abs(float(usual.strip("()"))) < 1


def test_spots_are_counted_per_megapixel() -> None:
    photos = np.stack([canvas(seed=seed) for seed in range(2)])
    pictures = photos.copy()
    pictures[0] = with_blob(pictures[0], (1, 1, 1))
    cells = measure_photos(pictures, photos, [canvas(seed=9)])
    density = 4 / (2 * 128**2 / 1e6)
    assert cells["spots per megapixel (photos)"] == f"{density:.1f} (0.0)"


def test_photos_without_flat_regions_give_no_number() -> None:
    photos = canvas()[None]
    cells = measure_flat_regions(photos, photos, [canvas()])
    assert cells["flat: off palette, %"] == "nan"


def test_a_cast_on_flat_regions_is_seen() -> None:
    photos = np.full((1, 64, 64, 3), 0.5, np.float32)
    painting = np.full((32, 32, 3), 0.5)
    cells = measure_flat_regions(photos + np.float32(0.1), photos, [painting])
    assert cells["flat: off palette, %"] == "10.0"
    header = "flat: texture, % (painting's flattest quarter)"
    assert cells[header] == "0.0 (0.0)"


def test_a_net_that_does_nothing_keeps_solid_colours() -> None:
    painting = np.concatenate(
        [np.full((8, 8, 3), color, np.float32) for color in SOLIDS.values()]
    )
    cells = measure_solids(lambda image: image, [painting])
    assert cells["finite"] == "yes"
    for header in ("off palette, %", "border, %", "lopsided, %"):
        assert cells[header].split()[1] == "0.0"
    assert cells["texture, % (painting)"].split()[1] == "0.0"


def test_the_worst_solid_colour_is_named() -> None:
    def darken_red(image: np.ndarray) -> np.ndarray:
        picture = image.copy()
        if image[0, 0].tolist() == [1, 0, 0]:
            picture[:, :128] /= 2
            picture[:8] = 0
        return picture

    painting = np.concatenate(
        [np.full((8, 8, 3), color, np.float32) for color in SOLIDS.values()]
    )
    cells = measure_solids(darken_red, [painting])
    assert {cells[header].split()[0] for header in list(cells)[1:]} == {"red"}
    assert float(cells["border, %"].split()[1]) < 0


def test_pixels_that_are_not_finite_are_told() -> None:
    def fail(image: np.ndarray) -> np.ndarray:
        return np.where(image.sum() == 0, np.nan, image)

    assert measure_solids(fail, [canvas()])["finite"] == "no"
    photo = np.full((32, 32, 3), 0.5, np.float32)
    broken = np.full((64, 64, 3), np.nan)
    cells = measure_large(
        lambda image: broken if len(image) == 64 else image, photo, size=64
    )
    assert cells["finite at 64 px"] == "no"


def test_what_is_blown_out_is_compared_with_the_small_picture() -> None:
    def blow_out(image: np.ndarray) -> np.ndarray:
        picture = image.copy()
        picture[: len(image) // 4 if len(image) == 64 else 0] = 1
        return picture

    cells = measure_large(blow_out, np.full((32, 32, 3), 0.5, np.float32), size=64)
    assert cells["finite at 64 px"] == "yes"
    assert cells["blown out at 64 px, % (at 32)"] == "25.0 (0.0)"


def save_net(folder: Path, **settings: object) -> None:
    """Write a new net, ``net.safetensors``, as if it had been trained."""
    save_data(folder)
    (folder / "photos" / "07.png").unlink()
    arguments = {"styles": ["elsewhere/style.png"], "blend": None, "validation": 3}
    record = {
        "settings": asdict(TRAINING_PRESETS["default"]) | {"style_size": 48} | settings,
        "arguments": arguments,
        "data": {"fingerprint": "of other photos"},
    }
    net = jax.tree.map(np.asarray, init_net(jax.random.key(0), width=2))
    metadata = {key: json.dumps(value) for key, value in record.items()}
    save_style(net, folder / "net.safetensors", metadata=metadata)


def measure(folder: Path, *options: str) -> int:
    return main(
        [
            str(folder / "net.safetensors"),
            *("--photos", str(folder / "photos"), "--paintings", str(folder)),
            *("--size", "64", "--large", "80", "--count", "2", *options),
        ]
    )


def test_both_tables_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_net(tmp_path)
    assert measure(tmp_path, "--unseen") == 0
    lines = capsys.readouterr().out.splitlines()
    tables = lines[:3], lines[4:7]
    assert lines[3::4] == ["", ""]
    for header, rule, row in tables:
        names, values = ([cell.strip() for cell in x.split("|")] for x in (header, row))
        assert set(rule) <= {"|", "-", " "}
        assert header.count("|") == rule.count("|") == row.count("|")
        cells = dict(zip(names[1:-1], values[1:-1], strict=True))
        assert cells["finite"] == "yes"
        assert "net" in cells.values()
    assert "| 2 |" in tables[0][2]


def test_photos_of_unknown_origin_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_net(tmp_path)
    assert measure(tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("measure_defects: error: ")
    assert "does not hold the photos that net was trained on" in line


def test_photos_too_small_for_a_spectrum_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_net(tmp_path)
    assert measure(tmp_path, "--unseen", "--size", "63") == 2
    assert "--size must be 64 or more, got 63" in capsys.readouterr().err
