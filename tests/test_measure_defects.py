"""The tables of nets' defects: what is measured on which pictures, and printed."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from measure_defects import (
    SOLIDS,
    main,
    measure_flat_regions,
    measure_large,
    measure_photos,
    measure_solids,
)
from planted_defects import board, canvas, with_blob
from training_runs import save_data

from jaxstyle.cli.options import describe_config
from jaxstyle.files.style_files import save_style
from jaxstyle.nets.transform_net import init_net
from jaxstyle.training.recipes import TRAINING_PRESETS

pytestmark = pytest.mark.usefixtures("plain_convolutions")


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


def test_a_net_that_does_nothing_keeps_solid_colors() -> None:
    painting = np.concatenate(
        [np.full((8, 8, 3), color, np.float32) for color in SOLIDS.values()]
    )
    cells = measure_solids(lambda image: image, [painting])
    assert cells["finite"] == "yes"
    for header in ("off palette, %", "border, %", "lopsided, %"):
        assert cells[header].split()[1] == "0.0"
    assert cells["texture, % (painting)"].split()[1] == "0.0"


def test_the_worst_solid_color_is_named() -> None:
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
        "settings": describe_config(TRAINING_PRESETS["alone"])
        | {"style_size": 48}
        | settings,
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
