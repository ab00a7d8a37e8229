"""What ``jaxstyle train`` writes between steps, and how it goes on by its folder."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from training_runs import (
    Finished,
    checkpoints,
    lines,
    run_train,
    timeless,
    train,
)

from jaxstyle.cli import runtime
from jaxstyle.cli.train import train_command, training_run
from jaxstyle.files.param_files import leaves
from jaxstyle.files.style_files import load_style_file


@pytest.fixture(scope="module", autouse=True)
def whole(data: Path) -> None:
    """Make the run ``whole`` of four steps, in the folder of the data."""
    assert train("-o", "whole", "--steps", "4", "--quiet").code == 0


def pictures(folder: str) -> list[str]:
    """Name the sheets of a run."""
    return sorted(path.stem for path in Path(folder, "pictures").iterdir())


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Finished:
    """How a run ends that is interrupted in its first step."""
    monkeypatch.setattr(runtime.Interrupts, "received", True)
    return train("-o", "interrupted", "--steps", "30", "--quiet")


# --- what is written ----------------------------------------------------------------


def test_sheets_come_a_few_times_and_at_the_end() -> None:
    assert train("-o", "sheets", "--steps", "30", "--quiet").code == 0
    expected = [f"step_{step:05d}" for step in range(3, 31, 3)]
    assert pictures("sheets") == expected
    logged = lines(Path("sheets"))
    assert [x["step"] for x in logged if "validation_loss" in x] == [0, 30]


def test_the_first_sheet_comes_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < training_run.FIRST_PICTURES < 60
    monkeypatch.setattr(training_run, "FIRST_PICTURES", -1)
    options = ("--steps", "3", "--picture-every", "1000")
    done = train("-o", "first", *options, terminal=False)
    assert pictures("first") == ["step_00001", "step_00003"]
    assert done.err.count("pictures are in first/pictures") == 1


def test_checkpoints_come_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "CHECKPOINT_SECONDS", -1)
    assert train("-o", "timed", "--steps", "3", "--quiet").code == 0
    assert checkpoints(Path("timed")) == [1, 2, 3]
    assert checkpoints(Path("whole")) == [0, 4]


def test_without_matplotlib_there_is_a_net_and_no_plot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> object:
        return None if name == "matplotlib" else find_spec(name)

    monkeypatch.setattr(train_command, "find_spec", find)
    done = train("-o", "bare", "--steps", "1", terminal=False)
    assert done.code == 0
    assert "no plot of losses: pip install 'jaxstyle[plots]'\n" in done.err
    assert Path("bare/style.safetensors").exists()
    assert not Path("bare/loss.png").exists()
    assert Path("whole/loss.png").exists()


def test_an_interrupted_run_leaves_a_sheet_and_says_what_is_how_old(
    interrupted: Finished,
) -> None:
    assert interrupted.code == 130
    assert pictures("interrupted") == ["step_00001"]
    before, after = lines(Path("interrupted"))
    assert interrupted.out.startswith(
        f"interrupted/style.safetensors: 1 steps, loss {after['loss']:.5g}, "
        f"validation loss {before['validation_loss']:.5g} at step 0\n"
    )
    assert interrupted.err == (
        "interrupted after step 1 of 30; go on with: jaxstyle train --resume "
        "interrupted\n"
    )


# --- the folder alone ---------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_folder_alone_is_enough(
    data: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    folder = data / f"parts{elsewhere}"
    assert train("-o", folder.name, "--steps", "2", "--quiet").code == 0
    if elsewhere:
        (data / "other").mkdir()
        monkeypatch.chdir(data / "other")
    done = run_train("--resume", str(folder), "--steps", "4", "--quiet")
    assert (done.code, done.err) == (0, "")
    found, expected = (
        dict(leaves(load_style_file(each / "style.safetensors")[0]))
        for each in (folder, data / "whole")
    )
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    logs = [
        [x for x in timeless(lines(each)) if "loss" in x]
        for each in (folder, data / "whole")
    ]
    assert logs[0] == logs[1]


def test_a_folder_that_was_moved_is_enough() -> None:
    assert train("-o", "old", "--steps", "1", "--quiet").code == 0
    Path("old").rename("new")
    done = run_train("--resume", "new", "--steps", "2")
    assert done.code == 0
    assert "going on from step 1" in done.err
    assert checkpoints(Path("new"))[-1] == 2
    assert not Path("old").exists()


DAMAGES = {
    "no file": None,
    "no JSON": "{",
    "another kind of JSON": "[]",
    "no arguments": "{}",
    "arguments of another kind": json.dumps({"arguments": [1], "directory": ""}),
    "no paintings": json.dumps({"arguments": {"output": "x"}, "directory": ""}),
    "no directory": json.dumps({"arguments": {"styles": ["x"]}}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_without_settings_is_one_line(damage: str, tmp_path: Path) -> None:
    text = DAMAGES[damage]
    if text is not None:
        (tmp_path / "settings.json").write_text(text)
    done = run_train("--resume", str(tmp_path))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert done.err.startswith(
        f"jaxstyle train: error: cannot go on with a run in {tmp_path}: "
    )


@pytest.mark.parametrize(
    ("options", "missing"),
    [((), "--style, -o"), (("--style", "x"), "-o"), (("--resume",), "--style, -o")],
)
def test_what_is_missing_is_told(options: tuple[str, ...], missing: str) -> None:
    done = run_train(*options)
    assert done.code == 2
    assert done.err == (
        f"jaxstyle train: error: the following are required: {missing}; or --resume "
        "DIR alone, to go on with a run\n"
    )
