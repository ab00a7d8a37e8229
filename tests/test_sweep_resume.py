"""A sweep that was interrupted, or killed, goes on to the same pictures."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_line import (
    TWO_SCALES,
    loss,
    make,
    optimize,
    refused_picture,
    save_pictures,
    settings,
)

from jaxstyle.cli.optimize import optimize_command, picture_run
from jaxstyle.cli.optimize.picture_outputs import Progress, Run, run_scheduled
from jaxstyle.cli.optimize.programs import Programs, make_programs
from jaxstyle.cli.optimize.sweep import LEDGER
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.image_files import load_image
from jaxstyle.losses import Problem

Captured = pytest.CaptureFixture[str]

STEPS = 6

SWEEP = (
    *(*TWO_SCALES, "--optimizer", "lbfgs", "--keep", "best"),
    *("--steps", str(STEPS), "--save-every", "1"),
    *("--sweep", "strength=0.3,0.5,0.7,0.9"),
)
"""Four pictures, with a halt at every step."""

NAMES = [f"out.strength={strength}.png" for strength in ("0.3", "0.5", "0.7", "0.9")]

UNFINISHED = Path("out.png.unfinished")


class StopError(Exception):
    """Ends a sweep in the middle, as a kill would."""


@pytest.fixture(scope="module", autouse=True)
def programs() -> Iterator[None]:
    """Compile once for all sweeps here, whose pictures are of one size."""
    made: list[Programs] = []

    def make_once(*given: Any) -> Programs:
        if not made:
            made.append(make_programs(*given))
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimize_command, "make_programs", make_once)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> "Made":
    """What a sweep makes that is not interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("whole"))
        save_pictures(folder)
        make(*SWEEP)
        assert not UNFINISHED.exists()
        return made()


@pytest.fixture(autouse=True)
def every_checkpoint(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write every checkpoint that may be."""
    monkeypatch.setattr(picture_run, "CHECKPOINT_SECONDS", -1)


class Made(NamedTuple):
    """The pictures of a sweep, with their losses, and its sheet."""

    pictures: list[bytes]
    losses: list[float]
    sheet: bytes


def made() -> Made:
    pictures = [load_image(name).tobytes() for name in NAMES]
    return Made(pictures, [loss(name) for name in NAMES], Path("out.png").read_bytes())


def end(
    patch: pytest.MonkeyPatch, strength: float, step: int, how: Callable[[], None]
) -> None:
    """Let a sweep end after a step of the picture of a strength."""

    def ending(run: Run, progress: Progress, problem: Problem) -> None:
        run_scheduled(run, progress, problem)
        if run.arguments.config.strength == strength and progress.step == step:
            how()

    patch.setattr(picture_run, "run_scheduled", ending)


def stop() -> None:
    raise StopError


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def interrupted(strength: float, step: int) -> int:
    """Interrupt a sweep; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        end(patch, strength, step, interrupt)
        return optimize(*SWEEP)


def killed(strength: float, step: int, *options: str) -> None:
    """Stop a sweep where it stands."""
    with pytest.MonkeyPatch.context() as patch:
        end(patch, strength, step, stop)
        with pytest.raises(StopError):
            make(*SWEEP, *options)


def written() -> list[tuple[int, int]]:
    """Return what tells whether the first two pictures are written again."""
    found = [Path(name).stat() for name in NAMES[:2]]
    return [(file.st_ino, file.st_mtime_ns) for file in found]


def test_a_sweep_that_was_killed_twice_ends_the_same(whole: Made) -> None:
    killed(0.3, 3)
    assert find_checkpoints(UNFINISHED / NAMES[0] / "checkpoints") == [1, 2]
    killed(0.7, 4, "--resume")
    assert find_checkpoints(UNFINISHED / NAMES[2] / "checkpoints") == [1, 2, 3]
    before = written()
    make(*SWEEP, "--resume")
    assert written() == before
    assert made() == whole
    assert not UNFINISHED.exists()


def test_an_interrupted_sweep_is_not_lost(whole: Made, capsys: Captured) -> None:
    assert interrupted(0.3, 4) == 130
    line = f"interrupted after step 4 of {STEPS}; --resume goes on\n"
    assert capsys.readouterr().err == line
    assert settings(NAMES[0])["result"]["steps"] == 4
    assert not Path(NAMES[1]).exists()
    assert not Path("out.png").exists()
    refused = {
        (): "out.png.unfinished holds an interrupted run; go on with it by --resume",
        ("--resume", "--steps", "7"): "of another configuration: settings steps 6 -> 7",
        ("--resume", "--sweep", "seed=1", "--init", "noise"): "sweep seed None -> [1]",
        ("--resume", "--masks", "content.png"): "configuration: images and network ",
    }
    for options, named in refused.items():
        assert named in refused_picture(capsys, *SWEEP, *options)
    line = refused_picture(capsys, "--resume")
    assert "nothing to resume: there is no checkpoint in out.png.unfinished" in line
    make(*SWEEP, "--resume")
    assert made() == whole


def test_a_sweep_may_be_interrupted_between_pictures(
    whole: Made, capsys: Captured
) -> None:
    """A picture that is missing afterwards is made again."""
    assert interrupted(0.3, STEPS) == 130
    line = "interrupted between pictures; --resume goes on\n"
    assert capsys.readouterr().err == line
    ledger = UNFINISHED / LEDGER
    assert json.loads(ledger.read_bytes())["codes"] == {NAMES[0]: 0}
    Path(NAMES[0]).unlink()
    make(*SWEEP, "--resume")
    assert made() == whole


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", "3", "{}", "[" * 10**5, '{"codes": {}, "configuration": []}'),
        *('{"configuration": {}, "codes": []}', '{"configuration": 1, "codes": {}}'),
        '{"configuration": {}, "codes": {"out.png": "0"}}',
        '{"configuration": {}, "codes": {}, "digest": "0"}',
    ],
)
def test_a_damaged_ledger_is_refused(capsys: Captured, content: str) -> None:
    UNFINISHED.mkdir()
    (UNFINISHED / LEDGER).write_text(content)
    line = refused_picture(capsys, *SWEEP, "--resume")
    assert "sweep.json is damaged; delete out.png.unfinished" in line
