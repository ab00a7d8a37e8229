"""A picture whose making was interrupted, and killed, is the same to the last bit."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from command_line import (
    SHALLOW,
    TWO_SCALES,
    loss,
    make,
    refused_picture,
    save_pictures,
    settings,
)
from forked import Forked

from jaxstyle.cli.optimize import picture_run
from jaxstyle.cli.optimize.picture_outputs import Progress, Run
from jaxstyle.files.checkpoints import MANIFEST, find_checkpoints
from jaxstyle.files.image_files import load_image

Captured = pytest.CaptureFixture[str]

STEPS = 15
COARSE = 10
"""How many of them are made at the coarser of two scales."""

METHODS = {
    "lbfgs": ("--optimizer", "lbfgs", "--keep", "best"),
    "adam": ("--optimizer", "adam", "--keep", "average"),
}


def options(method: str) -> tuple[str, ...]:
    """Return the options of a run that halts at every step, for its film."""
    film = ("--film", "film.gif", "--plot", "plot.png")
    return (*METHODS[method], *TWO_SCALES, "--steps", str(STEPS), *film)


by_lbfgs = pytest.mark.parametrize("method", ["lbfgs"], indirect=True)


class Made(NamedTuple):
    """What a run has written."""

    picture: np.ndarray
    loss: float
    film: bytes


class Interrupted(NamedTuple):
    """What was there, and what was printed, when a run was interrupted."""

    folder: Path
    code: int
    err: str


def made() -> Made:
    return Made(load_image("out.png"), loss(), Path("film.gif").read_bytes())


@pytest.fixture(scope="module", params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, method: str) -> Made:
    """What a run makes that is not interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("whole"))
        save_pictures(folder)
        make(*options(method))
        return made()


@pytest.fixture(scope="module")
def interrupted(
    tmp_path_factory: pytest.TempPathFactory, method: str, whole: Made
) -> Interrupted:
    """A run that was killed at the coarse scale, and interrupted at the fine one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("parts"))
        save_pictures(folder)
        killed = end(method, signal.SIGKILL, after=2)
        assert killed.code == -signal.SIGKILL
        assert find_checkpoints(checkpoints(folder))[-1] <= COARSE
        return end(method, signal.SIGINT, "--resume", after=COARSE + 1)


def checkpoint_at_halts() -> None:
    """Save a checkpoint whenever there is a halt."""
    picture_run.CHECKPOINT_SECONDS = 0


def change_nothing() -> None:
    """Let a process be as it is."""


def end(method: str, sent: int, *more: str, after: int) -> Interrupted:
    """Make the picture in a process that gets a signal after a checkpoint's step."""
    inputs = ("content.png", "style.png", "-o", "out.png", *SHALLOW, "--quiet")
    command = ["optimize", *inputs, *options(method), *more]
    process = Forked(command, change=checkpoint_at_halts)
    deadline = time.monotonic() + 120
    while (found := find_checkpoints(checkpoints(Path()))) == [] or found[-1] < after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode is not None
    return Interrupted(Path.cwd(), process.returncode, err)


def checkpoints(folder: Path) -> Path:
    return folder / "out.png.unfinished" / "checkpoints"


@pytest.fixture
def folder(
    tmp_path: Path, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Go to a copy of what the interrupted run has left."""
    copy = tmp_path / "copy"
    shutil.copytree(interrupted.folder, copy)
    monkeypatch.chdir(copy)
    return copy


# --- an interrupt -------------------------------------------------------------------


def test_an_interrupt_leaves_a_picture_and_what_to_go_on_from(
    folder: Path, interrupted: Interrupted
) -> None:
    steps = settings()["result"]["steps"]
    assert COARSE + 1 <= steps < STEPS
    assert interrupted.code == 130
    line = f"interrupted after step {steps} of {STEPS}; --resume goes on\n"
    assert interrupted.err == line
    assert find_checkpoints(checkpoints(folder))[-1] == steps
    assert load_image("out.png").shape == (34, 45, 3)
    assert {"film.gif", "plot.png"} <= {path.name for path in folder.iterdir()}


def test_the_end_is_that_of_a_run_without_interruptions(
    folder: Path, whole: Made, method: str
) -> None:
    assert made().film != whole.film
    make(*options(method), "--resume")
    end = made()
    np.testing.assert_array_equal(end.picture, whole.picture)
    assert end.loss == whole.loss
    assert end.film == whole.film
    assert settings()["result"]["steps"] == STEPS
    assert not (folder / "out.png.unfinished").exists()


@by_lbfgs
def test_a_run_from_a_coarse_checkpoint_goes_on_the_same(
    folder: Path,
    whole: Made,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.rmtree(folder / "out.png.unfinished")
    monkeypatch.setattr(picture_run, "save_progress", stop_after(COARSE))
    monkeypatch.setattr(picture_run, "CHECKPOINT_SECONDS", -1)
    with pytest.raises(StopError):
        make(*options(method))
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert find_checkpoints(checkpoints(folder)) == [COARSE]
    make(*options(method), "--resume")
    np.testing.assert_array_equal(made().picture, whole.picture)


class StopError(Exception):
    """Ends a run in the middle, as a kill would."""


def stop_after(step: int) -> Callable[..., None]:
    def save_and_stop(run: Run, progress: Progress) -> None:
        if progress.step == step:
            save_progress(run, progress)
            raise StopError

    save_progress = picture_run.save_progress
    return save_and_stop


# --- what is refused ----------------------------------------------------------------


@by_lbfgs
def test_another_run_does_not_lose_an_interrupted_one(
    folder: Path, capsys: Captured, method: str
) -> None:
    line = refused_picture(capsys, *options(method))
    assert "out.png.unfinished holds an interrupted run; go on with it by" in line


@by_lbfgs
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (("--steps", "16"), "settings steps 15 -> 16"),
        (("--size", "46"), "size 45 -> 46"),
        (("--strength", "0.6"), "strength 0.5 -> 0.6"),
        (("--style-scale", "2"), "style_scale 1.0 -> 2.0"),
        (("--style-weight", "relu1_1=1,relu2_1=1e3"), "style relu1_1 1000.0 -> 1.0"),
        (("--preserve-color",), "preserve_color False -> True"),
        (("--match-color", "histogram"), "match_color None -> histogram"),
        (("--blend", "2"), "blend None -> [2.0]"),
        (("--coarsest", "45"), "settings coarsest 32 -> 45"),
        (("--masks", "content.png"), "images and network "),
    ],
)
def test_a_resume_with_other_settings_is_refused(
    folder: Path, capsys: Captured, method: str, changes: tuple[str, ...], named: str
) -> None:
    line = refused_picture(capsys, *options(method), "--resume", *changes)
    assert "unfinished/checkpoints are of another configuration: " in line
    assert named in line


@by_lbfgs
def test_another_photo_is_refused(folder: Path, capsys: Captured, method: str) -> None:
    shutil.copy("style.png", "content.png")
    line = refused_picture(capsys, *options(method), "--resume")
    assert "of another configuration: images and network " in line


def test_without_an_interrupted_run_there_is_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path)
    line = refused_picture(capsys, "--resume")
    assert "nothing to resume: there is no checkpoint in out.png.unfinished" in line


@by_lbfgs
def test_what_was_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, whole: Made
) -> None:
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path)
    inputs = ("content.png", "style.png", "-o", "out.png", *SHALLOW, "--quiet")
    process = Forked(["optimize", *inputs, *options(method)], change=change_nothing)
    folder = Path("out.png.unfinished")
    while not folder.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert folder.exists()
    assert not find_checkpoints(checkpoints(Path()))
    make(*options(method), "--resume")
    assert made().loss == whole.loss
    assert np.array_equal(made().picture, whole.picture)
    assert not folder.exists()


# --- damage -------------------------------------------------------------------------


@by_lbfgs
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(
    folder: Path, capsys: Captured, method: str, whole: Made
) -> None:
    newest = find_checkpoints(checkpoints(folder))[-1]
    (checkpoints(folder) / str(newest) / MANIFEST).write_text("{")
    make(*options(method), "--resume")
    line = f"jaxstyle optimize: the checkpoint of step {newest} is damaged: "
    assert capsys.readouterr().err.startswith(line)
    np.testing.assert_array_equal(made().picture, whole.picture)


@by_lbfgs
def test_what_a_kill_leaves_without_a_checkpoint_does_not_matter(
    folder: Path, method: str, whole: Made
) -> None:
    shutil.rmtree(checkpoints(folder))
    frames = folder / "out.png.unfinished" / "frames"
    (frames / "000999.png").write_bytes((frames / "000001.png").read_bytes())
    make(*options(method))
    assert made().film == whole.film


@by_lbfgs
def test_a_frame_that_a_kill_cut_short_is_left_out(
    folder: Path, method: str, whole: Made
) -> None:
    (folder / "out.png.unfinished" / "frames" / ".000009-x.png").write_bytes(b"")
    make(*options(method), "--resume")
    assert made().film == whole.film


def test_a_checkpoint_that_cannot_be_written_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path)
    (tmp_path / "out.png.unfinished").write_text("a file in the way")
    monkeypatch.setattr(picture_run, "CHECKPOINT_SECONDS", -1)
    make("--save-every", "1")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith(
        "jaxstyle optimize: cannot write the checkpoint of step 1"
    )
    assert settings()["result"]["steps"] == 3
