"""Nets are measured as their training measured them, and against optimization."""

import argparse
import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ship_style
from compare_nets import main
from net_losses import Programs, compare, make_problem, optimize
from trained_nets import Net, load_net, load_nets, load_photos, print_table
from training_runs import lines, save_data, train

from jaxstyle.data.batches import validation_batches
from jaxstyle.data.sources import hold_out, open_source
from jaxstyle.files.image_files import load_image
from jaxstyle.files.style_files import load_style_file, save_style
from jaxstyle.losses.config import LossConfig
from jaxstyle.losses.perceptual import Problem
from jaxstyle.training.recipes import TRAINING_PRESETS

pytestmark = pytest.mark.usefixtures("plain_convolutions")

HELD_OUT = 3
"""How many photos `training_runs.TINY` holds out."""

OPTIONS = (
    *("--style", "style.png", "style2.png", "--blend", "3,1"),
    *("--style-loss", "wasserstein", "--padding", "replicate"),
    *("--tv-weight", "0.5"),
)
"""Whatever may be in an objective, but for the layers."""


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with paintings, photos and a run of three steps."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    (folder / "photos" / "07.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train("-o", "run", "--steps", "3", *OPTIONS).code == 0
        yield folder


@pytest.fixture(scope="module")
def net(data: Path) -> Net:
    return load_net("run/style.safetensors", data)


@pytest.fixture(scope="module")
def problem(net: Net) -> Problem:
    return make_problem(net)


@pytest.fixture(scope="module")
def programs() -> Programs:
    return Programs()


def arguments(**changes: Any) -> argparse.Namespace:
    given = {"photos": "photos", "count": 9, "size": 16, "unseen": False, **changes}
    return argparse.Namespace(**given)


def changed(folder: Path, **facts: Any) -> Path:
    """Return the file of the net with other metadata, or less where it is None."""
    params, metadata = load_style_file("run/style.safetensors")
    texts = {**metadata, **{key: json.dumps(value) for key, value in facts.items()}}
    kept = {key: text for key, text in texts.items() if text != "null"}
    save_style(params, folder / "changed.safetensors", metadata=kept)
    return folder / "changed.safetensors"


# --- the net ------------------------------------------------------------------------


def test_settings_are_read_back(net: Net) -> None:
    expected = replace(
        TRAINING_PRESETS["alone"],
        summary="",
        loss=LossConfig(
            content={"relu1_2": 1.0},
            style={"relu1_1": 10.0},
            variation={"total": 0.5},
            style_loss="wasserstein",
            blend=[3, 1],
            padding="replicate",
        ),
        steps=3,
        batch=2,
        size=16,
        style_size=24,
        halve_every=20,
        width=2,
    )
    assert net.settings == expected
    assert [path.name for path in net.paintings] == ["style.png", "style2.png"]
    assert net.name == "run"


def test_settings_that_an_older_file_lacks_are_the_defaults(
    data: Path, tmp_path: Path
) -> None:
    settings = json.loads(load_style_file("run/style.safetensors")[1]["settings"])
    for name in ("style_loss", "padding", "stability"):
        del settings[name]
    found = load_net(changed(tmp_path, settings=settings), data).settings
    assert (found.loss.style_loss, found.loss.padding) == ("gram", "zero")


def test_a_style_that_ships_is_read_as_its_run_is(
    net: Net, data: Path, tmp_path: Path
) -> None:
    about = ("--title", "T", "--painter", "P", "--year", "1900")
    with contextlib.redirect_stdout(io.StringIO()):
        code = ship_style.main(["run", "both", *about, "--output", str(tmp_path)])
    assert code == 0
    shipped = load_net(tmp_path / "both.safetensors", data)
    settings = replace(shipped.settings, summary=net.settings.summary)
    assert settings == net.settings
    for key in ("paintings", "validation", "data"):
        assert getattr(shipped, key) == getattr(net, key)
    assert shipped.name == "both"


def test_unknown_settings_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another version: color; known are "):
        load_net(changed(tmp_path, settings={"color": 1}), data)


@pytest.mark.parametrize("key", ["settings", "arguments", "data"])
def test_a_file_without_a_record_is_refused(
    data: Path, tmp_path: Path, key: str
) -> None:
    path = changed(tmp_path, **{key: None})
    with pytest.raises(ValueError, match=f"does not tell its training's {key}"):
        load_net(path, data)


def test_a_missing_painting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trained on style\.png; no such file"):
        load_net("run/style.safetensors", tmp_path)


def test_nets_are_loaded_in_order(data: Path, tmp_path: Path) -> None:
    styles = [str(changed(tmp_path)), "run/style.safetensors"]
    given = argparse.Namespace(styles=styles, paintings=data)
    assert [net.name for net in load_nets(given)] == ["changed", "run"]


# --- photos -------------------------------------------------------------------------


def test_photos_are_those_that_were_held_out(net: Net) -> None:
    held_out = hold_out(open_source("photos"), HELD_OUT)[1]
    expected = np.concatenate(list(validation_batches(held_out, size=16, batch=1)))
    np.testing.assert_array_equal(load_photos(net, arguments()), expected)
    (one,) = load_photos(net, arguments(count=1))
    np.testing.assert_array_equal(one, expected[1])


def test_other_photos_are_refused_unless_they_are_unseen(
    net: Net, tmp_path: Path
) -> None:
    for name in ("00.png", "01.png", "02.png"):
        (tmp_path / name).write_bytes(Path("photos", name).read_bytes())
    other = arguments(photos=str(tmp_path))
    with pytest.raises(ValueError, match="does not hold the photos that run"):
        load_photos(net, other)
    assert len(load_photos(net, arguments(photos=str(tmp_path), unseen=True))) == 3


# --- losses -------------------------------------------------------------------------


def test_losses_are_those_of_the_validation(
    net: Net, problem: Problem, programs: Programs
) -> None:
    found = [
        compare(programs, net, problem, photo, iterations=1).net
        for photo in load_photos(net, arguments())
    ]
    last = lines(Path("run"))[-1]
    for name in ("loss", "content", "style", "total_variation"):
        mean = np.mean([losses[name] for losses in found])
        assert mean > 0
        assert mean == pytest.approx(last[f"validation_{name}"], rel=1e-5)


def test_optimization_starts_from_the_photo_and_gets_better(
    net: Net, problem: Problem, programs: Programs
) -> None:
    photo = load_photos(net, arguments())[0] / np.float32(255)
    losses, picture = optimize(programs, problem, photo, iterations=20)
    assert losses["content"][0] == pytest.approx(0, abs=1e-6)
    assert losses["loss"].shape == (20,)
    assert losses["loss"].min() < losses["loss"][0] / 2
    for part in ("content", "style", "total_variation"):
        losses["loss"] -= losses[part]
    np.testing.assert_allclose(losses["loss"], 0, atol=1e-4)
    assert picture.shape == (16, 16, 3)
    assert 0 <= picture.min() < picture.max() <= 1


def test_the_picture_that_is_kept_has_the_lowest_loss(
    net: Net, problem: Problem, programs: Programs
) -> None:
    photo = load_photos(net, arguments())[0] / np.float32(255)
    first = optimize(programs, problem, photo, iterations=1)[1]
    np.testing.assert_array_equal(first, photo)


# --- the command --------------------------------------------------------------------


def command(*options: str) -> int:
    return main(
        [
            "run/style.safetensors",
            *("--photos", "photos", "--paintings", ".", "--size", "16", *options),
        ]
    )


def test_a_table_and_a_sheet_are_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], net: Net
) -> None:
    pictures = str(tmp_path / "new" / "pictures")
    options = ("--count", "2", "--iterations", "60", "--pictures", pictures)
    assert command(*options) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    names, values = ([x.strip() for x in line.split("|")] for line in (header, row))
    cells = dict(zip(names, values, strict=True))
    assert cells["style"] == "run"
    assert cells["photos"] == "2"
    lowest = float(cells["60 iterations"])
    assert lowest <= float(cells["50 iterations"])
    assert "100 iterations" not in cells
    assert float(cells["ratio"]) == pytest.approx(float(cells["net"]) / lowest, rel=0.1)
    assert float(cells["worst ratio"]) >= float(cells["ratio"]) - 0.01
    sheet = load_image(Path(pictures) / "run.png")
    photo = load_photos(net, arguments(count=2))[0] / np.float32(255)
    rows, columns = sheet.shape[0] - 15, sheet.shape[1] - 15
    assert any(
        np.allclose(sheet[y : y + 16, x : x + 16], photo, atol=1e-6)
        for y in range(rows)
        for x in range(columns)
    )


def test_a_missing_style_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    missing = ["none.safetensors", "--photos", "photos", "--paintings", "."]
    assert main(missing) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare_nets: error: no style none.safetensors")


def test_tables_are_printed_row_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"a": "1", "b": "2"}
        assert capsys.readouterr().out == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        yield {"a": "3", "b": "4"}

    print_table(rows())
    assert capsys.readouterr().out == "| 3 | 4 |\n"
