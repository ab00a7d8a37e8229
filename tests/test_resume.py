"""A training that was killed, again and again, ends with the same bytes."""

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from forked import Forked
from training_runs import (
    TINY,
    Finished,
    checkpoints,
    lines,
    make_nets_small,
    save_data,
    timeless,
    train,
)

from jaxstyle.cli.main import parse
from jaxstyle.cli.train.training_inputs import choose_settings
from jaxstyle.cli.train.training_programs import state_shapes
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.files.param_files import leaves
from jaxstyle.files.run_log import read_metrics
from jaxstyle.files.style_files import load_style_file
from jaxstyle.training.loop import State

STEPS = 60

RUN = (
    *("--steps", str(STEPS)),
    *("--validate-every", "7", "--picture-every", "1000", "--checkpoint-every", "4"),
)

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with paintings and photos."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_nets_small(patch)
        yield folder


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    """A run without an interruption."""
    assert train("-o", "whole", "--quiet", *RUN).code == 0
    return data / "whole"


@pytest.fixture(scope="module")
def ends(data: Path, whole: Path) -> dict[int, list[Finished]]:
    """How processes ended that trained one net, by the signal that ended them.

    Then the training is finished in this process.
    """
    ended: dict[int, list[Finished]] = {}
    drawn = random.Random(0)
    for sent in SIGNALS:
        ended.setdefault(sent, []).append(
            interrupt(data / "parts", sent, after=drawn.randint(1, 9))
        )
    done = train("-o", "parts", "--quiet", "--resume", *RUN)
    ended[0] = [done]
    return ended


def interrupt(folder: Path, sent: int, *, after: int) -> Finished:
    """Train on, and end the process some steps and a moment later."""
    done = find_checkpoints(folder / "checkpoints")
    resume = ["--resume"] if done else []
    command = ["train", *TINY, "-o", folder.name, "--quiet", *RUN, *resume]
    process = Forked(command, change=make_nets_small)
    wait_for_step(folder, max([0, *done]) + after, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode is not None
    return Finished(process.returncode, out, err)


def wait_for_step(folder: Path, step: int, process: Forked) -> None:
    """Wait until a process has logged a step, which must come in two minutes."""
    path, deadline = folder / "metrics.jsonl", time.monotonic() + 120
    before = path.stat().st_ino if path.exists() else None
    while process.poll() is None and time.monotonic() < deadline:
        # A run that goes on replaces the file by one without the later steps.
        if path.exists() and path.stat().st_ino != before:
            logged = read_metrics(path)
            if logged and logged[-1]["step"] >= step:
                return
        time.sleep(0.002)
    process.kill()
    raise AssertionError(f"step {step} did not come: {process.communicate()}")


Ends = dict[int, list[Finished]]


def test_kills_leave_nothing_but_what_was_written(ends: Ends) -> None:
    assert ends[signal.SIGKILL] == [Finished(-signal.SIGKILL, "", "")] * SIGNALS.count(
        signal.SIGKILL
    )


def test_an_interrupt_saves_what_there_is(ends: Ends) -> None:
    (done,) = ends[signal.SIGTERM]
    assert done.code == 130
    last = done.err.splitlines()[-1]
    step = int(last.split()[3])
    assert done.err == (
        f"interrupted after step {step} of {STEPS}; go on with: jaxstyle train "
        "--resume parts\n"
    )
    assert 0 < step < STEPS
    assert done.out.startswith(f"parts/style.safetensors: {step} steps, loss ")


def test_the_net_is_that_of_a_run_without_interruptions(
    ends: Ends, data: Path, whole: Path
) -> None:
    assert ends[0][0].code == 0
    params, metadata = load_style_file(data / "parts" / "style.safetensors")
    expected, _ = load_style_file(whole / "style.safetensors")
    got = {name: array.tobytes() for name, array in leaves(params)}
    assert got == {name: array.tobytes() for name, array in leaves(expected)}
    assert metadata["steps"] == str(STEPS)


def test_the_optimizer_is_that_of_a_run_without_interruptions(
    ends: Ends, data: Path, whole: Path
) -> None:
    states = [last_state(folder) for folder in (data / "parts", whole)]
    got, expected = (
        [np.asarray(array).tobytes() for array in jax.tree.leaves(state)]
        for state in states
    )
    assert len(got) > 100
    assert got == expected
    assert checkpoints(data / "parts") == checkpoints(whole) == [52, 56, 60]


def last_state(folder: Path) -> State:
    """Return the state in the last checkpoint of a run."""
    _, parsed = parse(["train", *TINY, *RUN, "-o", str(folder)])
    like = state_shapes(choose_settings(parsed))
    manifest = folder / "checkpoints" / str(STEPS) / "manifest.json"
    configuration = json.loads(manifest.read_text())["configuration"]
    state = load_checkpoint(
        folder / "checkpoints", lambda _: like, configuration, say=print
    )
    assert int(state.step) == STEPS
    return state


def test_the_log_is_that_of_a_run_without_interruptions(
    ends: Ends, data: Path, whole: Path
) -> None:
    got = timeless(lines(data / "parts"))
    assert got == timeless(lines(whole))
    assert len(got) == STEPS + 10


def test_the_pictures_are_those_of_a_run_without_interruptions(
    ends: Ends, data: Path, whole: Path
) -> None:
    *interrupted, got = sorted((data / "parts" / "pictures").iterdir())
    assert len(interrupted) == SIGNALS.count(signal.SIGTERM)
    assert got.name == f"step_000{STEPS}.png"
    assert got.read_bytes() == (whole / "pictures" / got.name).read_bytes()
