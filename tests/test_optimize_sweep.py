"""A sweep makes the pictures that its options make alone, to the last bit."""

import logging
from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import (
    TWO_SCALES,
    loss,
    make,
    optimize,
    settings,
)
from image_samples import noise, places, smooth
from PIL import Image

from jaxstyle.cli.optimize.programs import Programs
from jaxstyle.files.image_files import load_image
from jaxstyle.optimize import optimizers
from jaxstyle.scaling.memory import TooLargeError

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("picture_folder")

ONE_TO_THREE = ("--style-weight", "relu1_1=1,relu2_1=3")
"""Weights in the proportions of one to three."""

BY_LBFGS = (*TWO_SCALES, "--optimizer", "lbfgs", "--keep", "best", "--steps", "6")

COARSE = 4
"""How many of these steps are made at the coarser scale."""

HUGE = "1e+38"
"""A weight with which the loss is finite at the first step only."""


@pytest.fixture
def more_pictures(picture_folder: Path) -> None:
    """Save another content and another style, each of the size of the first."""
    content = np.rint(smooth(36, 48)[::-1] * 255).astype(np.uint8)
    Image.fromarray(content).save(picture_folder / "upside, down.png")
    Image.fromarray(255 - noise(40, 30, 3) // 2).save(picture_folder / "pale.jpg")


def found(picture: np.ndarray, sheet: np.ndarray) -> tuple[int, int]:
    (place,) = places(picture, sheet)
    return place


def assert_same(name: str, alone: np.ndarray) -> None:
    """Compare a picture of a sweep with out.png, the one that was made alone."""
    np.testing.assert_array_equal(load_image(name), alone)
    assert loss(name) == loss()


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
    assert [settings(name)["settings"]["style"] for name in names] == [
        {"relu1_1": 0.5, "relu2_1": 1.5},
        {"relu1_1": 0.5e6, "relu2_1": 1.5e6},
    ]
    alone = make("--style-weight", "relu1_1=5e5,relu2_1=1.5e6", "--steps", "6")
    np.testing.assert_array_equal(pictures[1], alone)
    assert loss(names[1]) == loss()


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
    assert np.abs(one - other).max() > 1.5 / 255
    np.testing.assert_array_equal(other, make(option, value))


def test_a_sweep_compiles_no_more_for_more_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Equal settings compile once: each count has a learning rate of its own."""

    def count_compilations(sweep: str, rate: str) -> int:
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            make("--sweep", sweep, "--learning-rate", rate, *TWO_SCALES)
        return sum("Finished XLA compilation" in text for text in caplog.messages)

    make("--sweep", "tv_weight=1", *TWO_SCALES)  # with what needs no numbers
    one = count_compilations("tv_weight=1", "0.011")
    assert one > 0
    assert count_compilations("tv_weight=1,2,3", "0.012") == one


@pytest.mark.usefixtures("more_pictures")
def test_pictures_of_a_sweep_are_those_made_alone() -> None:
    """Contents, styles and a strength at once, at two scales, by L-BFGS."""
    sheet = make(
        *BY_LBFGS,
        *("--sweep", r"content=content.png,upside\, down.png"),
        *("--sweep", "style=style.png,pale.jpg"),
        *("--sweep", "strength=0.6"),
    )
    contents, styles = ("content", "upside, down"), ("style", "pale")
    names = [
        f"out.content={content}.style={style}.strength=0.6.png"
        for content, style in product(contents, styles)
    ]
    tops, lefts = np.array([found(load_image(name), sheet) for name in names]).T
    assert tops[0] == tops[1] < tops[2] == tops[3]
    assert lefts[0] == lefts[2] < lefts[1] == lefts[3]
    for name, (content, style) in zip(names, product(contents, styles), strict=True):
        inputs = [f"{content}.png", f"{style}.{'jpg' if style == 'pale' else 'png'}"]
        recorded = settings(name)["arguments"]
        assert [recorded["content"], *recorded["styles"]] == inputs
        assert recorded["sweep"] == []
        if (content, style) in (("content", "pale"), ("upside, down", "style")):
            more = (*BY_LBFGS, "--strength", "0.6")
            assert_same(name, make(*more, content=inputs[0], styles=inputs[1:]))


def test_seeds_of_a_sweep_are_those_alone() -> None:
    """By Adam from noise, of which the average is kept, with another loss."""
    common = (
        *("--optimizer", "adam", "--keep", "average", "--init", "noise"),
        *("--style-loss", "wasserstein", "--steps", "5", "--save-every", "4"),
    )
    make(*common, "--sweep", "seed=3,4")
    one, other = (load_image(f"out.seed={seed}.png") for seed in (3, 4))
    assert np.abs(one - other).max() > 0.1
    on_the_way = load_image("out.seed=4.00004.png")
    assert_same("out.seed=4.png", make(*common, "--seed", "4"))
    np.testing.assert_array_equal(on_the_way, load_image("out.00004.png"))


def test_pictures_of_other_sizes_are_those_made_alone() -> None:
    """The second style is wider than it is high; both are as they are alone."""
    make("--sweep", "style=style.png,style2.png")
    for style in ("style", "style2"):
        assert_same(f"out.style={style}.png", make(styles=[f"{style}.png"]))


def test_a_lack_of_memory_is_known_before_the_first_picture(
    picture_folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def check(programs: Programs) -> None:
        checked.append(programs)
        if len(checked) == 2:
            raise TooLargeError(needed=4 * 10**9, free=10**9)

    monkeypatch.setattr(Programs, "check_memory", check)
    before = set(picture_folder.iterdir())
    assert optimize("--sweep", "style=style.png,style2.png") == 2
    assert set(picture_folder.iterdir()) == before
    assert "needs 4.0 GB, but only 1.0 GB is free; about --size 16" in (
        capsys.readouterr().err
    )


# --- pictures that cannot be made ---------------------------------------------------


def test_a_picture_that_fails_leaves_the_others_alone(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends at the coarse of two scales."""
    monkeypatch.setattr(optimizers, "LONGEST_STEP", 10.0)  # far out of range
    anew = (*BY_LBFGS, "--history", "6")  # compiled for no other test
    sweeps = (f"style_weight={HUGE},1000", "tv_weight=0,9")
    assert optimize(*anew, "--sweep", sweeps[0], "--sweep", sweeps[1]) == 1
    printed = capsys.readouterr()
    failed, made = (
        [f"out.style_weight={weight}.tv_weight={tv}.png" for tv in (0, 9)]
        for weight in (HUGE, 1000)
    )
    steps = [settings(name)["result"]["steps"] for name in failed]
    assert 1 < min(steps) <= max(steps) <= COARSE
    assert sorted(printed.err.splitlines()) == [
        f"jaxstyle optimize: error: the loss is not finite at step {step}; "
        f"{name} is the best picture before it"
        for step, name in zip(steps, failed, strict=True)
    ]
    assert printed.out.splitlines()[-1] == "out.png: 2 pictures"
    assert not Path("out.png.unfinished").exists()
    sheet = load_image("out.png")
    for name in made:
        assert found(load_image(name), sheet)
    assert_same(made[0], make(*anew, *weigh("1000")))
    assert optimize(*anew, *weigh(HUGE)) == 1
    assert settings()["result"]["steps"] == steps[0]
    assert_same(failed[0], load_image("out.png"))


def test_a_ledger_that_cannot_be_written_does_not_end_a_sweep(
    capsys: Captured,
) -> None:
    Path("out.png.unfinished").write_text("a file in the way")
    make("--sweep", "strength=0.5", "--steps", "1")
    lines = capsys.readouterr().err.splitlines()
    reason = "jaxstyle optimize: cannot write out.png.unfinished/sweep.json: "
    assert len(lines) == 2  # when it begins, and when there is a picture
    assert all(line.startswith(reason) for line in lines)
    assert settings("out.strength=0.5.png")["result"]["steps"] == 1


def weigh(weight: str) -> tuple[str, str]:
    """Return the option that gives the two layers of the style the same weight."""
    return "--style-weight", f"relu1_1={weight},relu2_1={weight}"
