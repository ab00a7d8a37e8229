"""A sweep makes the pictures that its options make alone, side by side or not."""

import logging
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

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

from jaxstyle.cli.ahead import Ahead
from jaxstyle.cli.optimize import scale_programs
from jaxstyle.cli.optimize import sweep as optimize_sweep
from jaxstyle.cli.optimize.job import Job
from jaxstyle.cli.optimize.optimize_settings import make_method
from jaxstyle.cli.optimize.sweep import find_lanes, most_lanes
from jaxstyle.files.image_files import load_image
from jaxstyle.optimize import PRESETS
from jaxstyle.scaling import make_row_mesh
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

Lanes = list[int]


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """Let as many pictures be side by side as there are; note each program's number."""
    numbers: Lanes = []
    compile_steps = scale_programs.compile_steps

    def noting(*given: object) -> object:
        numbers.append(int(str(given[-1])))
        return compile_steps(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(optimize_sweep, "ON_CPU", 100)
    monkeypatch.setattr(scale_programs, "compile_steps", noting)
    return numbers


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
    np.testing.assert_allclose(load_image(name), alone, atol=1.01 / 255, rtol=0)
    assert loss(name) == pytest.approx(loss(), rel=1e-4)


# --- one after the other ------------------------------------------------------------


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
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(other, make(option, value))


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


# --- side by side -------------------------------------------------------------------


@pytest.mark.usefixtures("more_pictures")
def test_pictures_side_by_side_are_those_made_alone(lanes: Lanes) -> None:
    """Contents, styles and a strength at once, at two scales, by L-BFGS."""
    sheet = make(
        *BY_LBFGS,
        *("--sweep", r"content=content.png,upside\, down.png"),
        *("--sweep", "style=style.png,pale.jpg"),
        *("--sweep", "strength=0.6"),
    )
    assert lanes == [4, 4]
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
        assert recorded["sweep"] is None
        if (content, style) in (("content", "pale"), ("upside, down", "style")):
            more = (*BY_LBFGS, "--strength", "0.6")
            assert_same(name, make(*more, content=inputs[0], styles=inputs[1:]))


def test_seeds_side_by_side_are_those_alone(lanes: Lanes) -> None:
    """By Adam from noise, of which the average is kept, with another loss."""
    common = (
        *("--optimizer", "adam", "--keep", "average", "--init", "noise"),
        *("--style-loss", "wasserstein", "--steps", "5", "--save-every", "4"),
    )
    make(*common, "--sweep", "seed=3,4")
    assert lanes == [2]
    one, other = (load_image(f"out.seed={seed}.png") for seed in (3, 4))
    assert np.abs(one - other).max() > 0.1
    on_the_way = load_image("out.seed=4.00004.png")
    assert_same("out.seed=4.png", make(*common, "--seed", "4"))
    np.testing.assert_allclose(
        on_the_way, load_image("out.00004.png"), atol=1.01 / 255, rtol=0
    )


def test_pictures_of_other_sizes_are_made_by_other_programs(lanes: Lanes) -> None:
    """The second style is wider than it is high; both are as they are alone."""
    make("--sweep", "style=style.png,style2.png")
    assert lanes == [1, 1]
    for style in ("style", "style2"):
        assert_same(f"out.style={style}.png", make(styles=[f"{style}.png"]))


def test_as_many_are_side_by_side_as_memory_allows() -> None:
    tried = []

    class Program(NamedTuple):
        lanes: int

        def check(self, *, states: int) -> None:
            tried.append(self.lanes)
            if self.lanes > fit:
                raise TooLargeError(needed=10 * self.lanes, free=10 * fit + 5)

    def find(count: int) -> int:
        tried.clear()
        programs: Any = Ahead(lambda key: Program(key[1]))
        return find_lanes(Job(Any, (1,), programs), count, most=count)  # type: ignore[arg-type]

    fit = 3
    assert find(2) == 2
    assert find(7) == 3
    assert tried == [7, 3]
    assert find(4) == 2  # not three and one
    fit = 1
    assert find(9) == 1
    fit = 0
    with pytest.raises(TooLargeError):
        find(9)
    assert tried[-1] == 1


def test_lanes_are_for_single_accelerators() -> None:
    preset = PRESETS["default"]
    assert most_lanes(make_method(preset), 9) == 1  # on a CPU, where these tests run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        assert most_lanes(make_method(preset), 9) == 9
        assert most_lanes(make_method(preset, mesh=make_row_mesh()), 9) == 1


def test_a_lack_of_memory_is_known_before_the_first_picture(
    picture_folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = []

    def find(*given: object, **_: object) -> int:
        groups.append(given)
        if len(groups) == 2:
            raise TooLargeError(needed=4 * 10**9, free=10**9)
        return 1

    monkeypatch.setattr(optimize_sweep, "find_lanes", find)
    before = set(picture_folder.iterdir())
    assert optimize("--sweep", "style=style.png,style2.png") == 2
    assert set(picture_folder.iterdir()) == before
    assert "needs 4.0 GB, but only 1.0 GB is free; about --size 16" in (
        capsys.readouterr().err
    )


# --- pictures that cannot be made ---------------------------------------------------


def test_a_picture_that_fails_leaves_the_others_alone(
    lanes: Lanes, capsys: Captured
) -> None:
    """It ends at the coarse of two scales, where the others go on."""
    sweeps = (f"style_weight={HUGE},1000", "tv_weight=0,9")
    assert optimize(*BY_LBFGS, "--sweep", sweeps[0], "--sweep", sweeps[1]) == 1
    assert lanes == [4, 4]
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
    assert_same(made[0], make(*BY_LBFGS, *weigh("1000")))
    assert optimize(*BY_LBFGS, *weigh(HUGE)) == 1
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
