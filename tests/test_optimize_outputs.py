"""What ``jaxstyle optimize`` writes besides: films, sheets, plots, sweeps."""

import logging
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import (
    CONTENT_SHAPE,
    TWO_SCALES,
    loss,
    make,
    optimize,
    refused_picture,
    settings,
)
from PIL import Image

from jaxstyle import films
from jaxstyle.commands import optimize_outputs, optimize_run
from jaxstyle.commands.optimize_job import Run
from jaxstyle.commands.optimize_steps import Progress
from jaxstyle.image_files import load_image

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("optimize_cache", "picture_folder")


def frames(path: str) -> list[np.ndarray]:
    """Return the frames of a film in [0, 1]."""
    if path.endswith(".mp4"):
        import av

        with av.open(path) as film:
            return [f.to_ndarray(format="rgb24") / 255 for f in film.decode(video=0)]
    with Image.open(path) as film:
        count = range(getattr(film, "n_frames", 1))
        return [frame(film, number) for number in count]


def frame(film: Image.Image, number: int) -> np.ndarray:
    film.seek(number)
    return np.asarray(film.convert("RGB")) / 255


def places(part: np.ndarray, whole: np.ndarray) -> list[tuple[int, int]]:
    """Return where an image lies in another, pixel by pixel."""
    height, width, _ = part.shape
    tops = range(whole.shape[0] - height + 1)
    corners = [
        (top, left)
        for top in tops
        for left in range(whole.shape[1] - width + 1)
        if np.array_equal(whole[top, left], part[0, 0])
    ]
    return [
        (top, left)
        for top, left in corners
        if np.array_equal(whole[top : top + height, left : left + width], part)
    ]


# --- pictures on the way, film, sheet, plot -----------------------------------------


def test_save_every_keeps_pictures_on_the_way(picture_folder: Path) -> None:
    before = set(picture_folder.iterdir())
    make("--steps", "5", "--save-every", "2")
    made = sorted(path.name for path in set(picture_folder.iterdir()) - before)
    assert made == ["out.00002.png", "out.00004.png", "out.png"]
    assert [settings(name)["result"]["steps"] for name in made] == [2, 4, 5]
    assert loss("out.00002.png") > loss("out.00004.png") > loss("out.png")


@pytest.mark.parametrize(
    ("film", "within"), [("film.gif", 0.2), ("film.webp", 0.2), ("film.mp4", 0.3)]
)
def test_a_film_goes_from_the_start_to_the_picture(
    picture_folder: Path, film: str, within: float
) -> None:
    picture = make(*TWO_SCALES, "--steps", "6", "--film", film)
    made = frames(film)
    assert len(made) > 2
    height, width, _ = picture.shape
    last = made[-1][:height, :width]
    assert np.abs(last - picture).mean() < within / 4
    photo = load_image("content.png", longest_side=width)
    start = made[0][:height, :width]
    assert np.abs(start - photo).mean() < np.abs(start - picture).mean() / 3
    assert not (picture_folder / "out.png.unfinished").exists()


def test_a_long_film_leaves_steps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimize_outputs, "FRAMES", 4)
    make("--steps", "10", "--film", "film.mp4")
    held = 20 * films.HOLD
    assert len(frames("film.mp4")) == 5 + held  # after 0, 2, 4, 6 and 8 steps


def test_a_sheet_shows_photo_paintings_and_picture_side_by_side() -> None:
    picture = make("--sheet", "sheet.png", styles=("style.png", "style2.png"))
    sheet = load_image("sheet.png")
    photo = load_image("content.png", longest_side=32)
    ((top, left),) = places(photo, sheet)
    ((same, right),) = places(picture, sheet)
    assert same == top
    assert right > left + 32 + 18 + 48  # the paintings, as high as the picture
    assert sheet.shape[1] > right + 32


def test_a_plot_is_a_picture_of_the_losses(picture_folder: Path) -> None:
    make(*TWO_SCALES, "--steps", "9", "--plot", "plot.svg")
    drawn = (picture_folder / "plot.svg").read_text()
    assert "<!-- 32 px -->" in drawn
    assert "<!-- 45 px -->" in drawn
    make("--plot", "plot.png")
    assert load_image("plot.png").std() > 0.01


# --- what is refused before any work ------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--film", "film.avi"), "film film.avi: unknown suffix '.avi', use one of"),
        (("--sheet", "sheet.gif"), "sheet.gif: unknown suffix '.gif', use one of"),
        (("--plot", "plot.jpg"), "plot plot.jpg: unknown suffix '.jpg', use one of"),
        (("--plot", "missing/plot.png"), "there is no folder missing"),
        (("--sheet", "content.png"), "content.png is an input; writing"),
        (("--plot", "style.png"), "style.png is an input; writing"),
        (("--masks", "m.png", "--sheet", "m.png"), "m.png is an input; writing"),
        (("--style-masks", "m.png", "-o", "m.png"), "m.png is an input; writing"),
        (("--sheet", "out.png"), "two of the files to write are the same"),
        (("--sheet", "x.png", "--plot", "./x.png"), "two of the files to write are"),
        (
            ("--steps", "9", "--save-every", "4", "--plot", "out.00004.png"),
            "two of the files to write are the same",
        ),
        (("--sweep", "strength=0,1", "--film", "f.gif"), "--sweep makes a sheet alone"),
        (("--sweep", "strength=0,1", "--sheet", "s.png"), "--sweep makes a sheet alo"),
        (("--sweep", "strength=0,1", "--plot", "p.png"), "--sweep makes a sheet alone"),
        (
            (
                "--sweep",
                "strength=0",
                "--sweep",
                "tv_weight=1",
                "--sweep",
                "tv_weight=2",
            ),
            "a sheet has two sides, rows and columns: got --sweep 3 times",
        ),
        (
            ("--sweep", "strength=0", "--sweep", "strength=1"),
            "--sweep of strength twice",
        ),
        (("--sweep", "strength=0.5,0.50"), "two values of --sweep would have the same"),
        (
            ("--sweep", "strength=0,1", "--init", "out.strength=1.png"),
            "out.strength=1.png is an input; writing",
        ),
        (("--sweep", "strength=0,1", "--resume"), "nothing to resume"),
    ],
)
def test_what_cannot_be_written_is_refused(
    capsys: Captured, options: tuple[str, ...], named: str
) -> None:
    Image.new("L", (48, 36), "white").save("m.png")
    assert named in refused_picture(capsys, *options)


@pytest.mark.parametrize(
    ("sweep", "named"),
    [
        ("steps=1,2", "expected NAME=NUMBER,NUMBER,... with one of strength, style_we"),
        ("strength", "expected a number from 0 to"),
        ("strength=", "expected a number from 0 to"),
        ("strength=0,2", "expected a number from 0 to 1, got '2'"),
        ("style_weight=1,-1", "expected a number from 0 to"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    capsys: Captured, sweep: str, named: str
) -> None:
    assert optimize("--sweep", sweep) == 2
    line = capsys.readouterr().err
    assert line.startswith("jaxstyle optimize: error: argument --sweep: ")
    assert named in line


# --- sweeps -------------------------------------------------------------------------

ONE_TO_THREE = ("--style-weight", "relu1_1=1,relu2_1=3")
"""Weights in the proportions of one to three."""


def test_a_sweep_makes_a_sheet_and_every_picture(
    picture_folder: Path, capsys: Captured
) -> None:
    before = set(picture_folder.iterdir())
    sweep = ("--sweep", "style_weight=1,1000000")
    sheet = make(*sweep, "--steps", "6", *ONE_TO_THREE)
    made = sorted(path.name for path in set(picture_folder.iterdir()) - before)
    names = ["out.style_weight=1.png", "out.style_weight=1e+06.png"]
    assert made == sorted([*names, "out.png"])
    assert capsys.readouterr().out.splitlines()[-1] == "out.png: 2 pictures"
    pictures = [load_image(name) for name in names]
    ((top, left), (same, right)) = [found(picture, sheet) for picture in pictures]
    assert top == same > 8  # a row, with labels above
    assert right > left + 32 + 8
    assert [settings(name)["preset"]["style"] for name in names] == [
        {"relu1_1": 0.5, "relu2_1": 1.5},
        {"relu1_1": 0.5e6, "relu2_1": 1.5e6},
    ]
    alone = make("--style-weight", "relu1_1=5e5,relu2_1=1.5e6", "--steps", "6")
    np.testing.assert_array_equal(pictures[1], alone)
    assert loss(names[1]) == loss()


def found(picture: np.ndarray, sheet: np.ndarray) -> tuple[int, int]:
    (place,) = places(picture, sheet)
    return place


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("strength", "--strength", "0.8"),
        ("tv_weight", "--tv-weight", "500"),
        ("content_weight", "--content-weight", "relu2_1=50"),
    ],
)
def test_a_picture_of_a_sweep_is_that_of_the_option_alone(
    name: str, option: str, value: str
) -> None:
    number = value.split("=")[-1]
    make("--sweep", f"{name}=0.1,{number}")
    one, other = (load_image(f"out.{name}={text}.png") for text in ("0.1", number))
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(other, make(option, value))


def test_two_sweeps_make_rows_and_columns(picture_folder: Path) -> None:
    strengths, weights = ("0.4", "0.6"), ("0", "100", "1000")
    sweeps = (f"strength={','.join(strengths)}", f"tv_weight={','.join(weights)}")
    sheet = make("--steps", "9", "--sweep", sweeps[0], "--sweep", sweeps[1])
    corners = [
        [
            found(load_image(f"out.strength={s}.tv_weight={tv}.png"), sheet)
            for tv in weights
        ]
        for s in strengths
    ]
    height, width, _ = CONTENT_SHAPE
    tops, lefts = np.moveaxis(np.array(corners), -1, 0)
    assert (np.diff(tops, axis=0) == height + 8).all()
    assert (np.diff(tops, axis=1) == 0).all()
    assert (np.diff(lefts, axis=0) == 0).all()
    assert (np.diff(lefts, axis=1) > width).all()
    assert lefts.min() > 3 * 8  # labels before the rows


def test_a_sweep_compiles_no_more_for_more_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def count_compilations(sweep: str) -> int:
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            make("--sweep", sweep, *TWO_SCALES)
        return sum("Finished XLA compilation" in text for text in caplog.messages)

    make("--sweep", "tv_weight=1", *TWO_SCALES)  # with what needs no numbers
    one = count_compilations("tv_weight=1")
    assert one > 0
    assert count_compilations("tv_weight=1,2,3") == one


def test_an_interrupted_sweep_goes_on(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    sweep = ("--steps", "3", "--sweep", "strength=0,1")
    with monkeypatch.context() as patch:
        patch.setattr(optimize_run, "attend", interrupt)
        assert optimize(*sweep) == 130
    assert (
        capsys.readouterr().err == "interrupted after step 1 of 3; --resume goes on\n"
    )
    assert not (picture_folder / "out.png").exists()
    unfinished = picture_folder / "out.strength=1.png.unfinished"
    assert unfinished.exists()
    assert f"{unfinished.name} holds an interrupted run" in refused_picture(
        capsys, *sweep
    )
    make(*sweep, "--resume")
    assert not unfinished.exists()
    resumed = load_image("out.strength=1.png")
    np.testing.assert_array_equal(resumed, make("--strength", "1"))


def interrupt(run: Run, progress: Progress) -> None:
    """Send an interrupt after the first step of the second picture."""
    if run.arguments.strength == 1 and progress.step == 1:
        signal.raise_signal(signal.SIGINT)
