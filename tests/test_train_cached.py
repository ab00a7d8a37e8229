"""``jaxstyle train --data-cache device``: the same run, with all photos in memory."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from command_line import contents
from training_runs import TINY, Finished, checkpoints, lines, timeless, train

from jaxstyle.cli import runtime
from jaxstyle.cli.loss_inputs import load_paintings, load_params
from jaxstyle.cli.main import parse
from jaxstyle.cli.runtime import NotFiniteError
from jaxstyle.cli.train import train_command
from jaxstyle.cli.train.training_inputs import choose_settings
from jaxstyle.cli.train.training_programs import (
    Programs,
    compile_programs,
    init_state,
    make_optimizer,
    make_problem,
)
from jaxstyle.cli.train.training_run import PendingSteps, log_metrics
from jaxstyle.data.batches import read_squares
from jaxstyle.data.sources import hold_out, open_source
from jaxstyle.files.param_files import leaves
from jaxstyle.files.run_log import RunLog
from jaxstyle.files.style_files import load_style_file
from jaxstyle.scaling import memory
from jaxstyle.training import loop

pytestmark = pytest.mark.usefixtures("data")

STEPS = 40

CACHED = (
    *("--data-cache", "device", "--seed", "3", "--steps", str(STEPS)),
    *("--validate-every", "9", "--picture-every", "1000", "--checkpoint-every", "6"),
)


@contextmanager
def counted(*, seconds: float) -> Iterator[list[int]]:
    """Yield how many steps each call makes, which may take so many seconds."""
    counts: list[int] = []

    def spy(*arguments: Any) -> Programs:
        programs = compile_programs(*arguments)

        def step(state: Any, cached: Any, problem: Any, count: int) -> Any:
            counts.append(count)
            return programs.step(state, cached, problem, count)

        step.memory_analysis = programs.step.memory_analysis  # type: ignore[attr-defined]
        return programs._replace(step=step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_command, "compile_programs", spy)
        patch.setattr(runtime, "SECONDS_PER_CALL", seconds)
        yield counts


@pytest.fixture(scope="module")
def finished(data: Path) -> tuple[Finished, list[int]]:
    """A run in the folder ``cached``, with progress and with long calls."""
    with counted(seconds=1000) as counts:
        return train("-o", "cached", *CACHED), counts


@pytest.fixture
def cached(finished: tuple[Finished, list[int]], data: Path) -> Path:
    """The folder of that run."""
    return data / "cached"


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder) if "loss" in line]


def assert_same_run(folder: Path, other: Path) -> None:
    """Assert that runs have the same losses and nets, bit for bit."""
    assert timeless(lines(folder)) == timeless(lines(other))
    assert net(folder) == net(other)
    assert checkpoints(folder)[-1] == checkpoints(other)[-1] == STEPS


def net(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the parameters of a run's net."""
    params, _ = load_style_file(folder / "style.safetensors")
    return {name: array.tobytes() for name, array in leaves(params)}


# --- a run --------------------------------------------------------------------------


def test_photos_are_read_once_and_counted(
    finished: tuple[Finished, list[int]],
) -> None:
    done, _ = finished
    assert done.code == 0
    _, _, second, third, reading, _, training_bar, _, end = done.err.split("\n")
    assert second.startswith("compiled in ")
    assert third == "9 photos of 18x18 pixels take 0.00 GB on each device"
    assert "reading: 100%" in reading
    assert "9/9" in reading
    assert "MB" in reading
    assert f"{STEPS}/{STEPS}" in training_bar
    assert "loss=" in training_bar
    assert end == ""
    _, report = done.out.splitlines()
    assert report.startswith("photos: repaired 1 gray, skipped 1 (07.png: ")


def test_every_step_is_logged_and_all_is_done_in_time(cached: Path) -> None:
    logged = lines(cached)
    assert [x["step"] for x in logged if "loss" in x] == [*range(1, STEPS + 1)]
    validated = [line["step"] for line in logged if "validation_loss" in line]
    assert validated == [0, 9, 18, 27, 36, 40]
    assert checkpoints(cached) == [30, 36, 40]


def test_the_losses_are_those_of_single_steps_on_the_batches(cached: Path) -> None:
    command = ["train", *TINY, *CACHED, "-o", "x"]
    settings = choose_settings(parse(command)[1])
    params = load_params(settings.loss)
    styles = load_paintings(["style.png"], settings.style_size, settings.loss, params)
    problem = make_problem(settings.loss, params, styles)
    photos, _ = hold_out(open_source("photos"), 3)
    squares = np.concatenate(list(read_squares(photos, side=18)))
    key = jax.random.key(3)
    state = jax.jit(partial(init_state, settings))(key)
    take = jax.jit(partial(loop.take_batch, batch=2, size=16))
    step = jax.jit(loop.make_step(make_optimizer(settings)))
    found = []
    for number in range(6):
        state, metrics = step(state, take(squares, key, number), problem)
        found.append(float(metrics["loss"]))
    # Later ones drift: Adam makes steps of gradients that are rounding alone.
    np.testing.assert_allclose(losses(cached)[:2], found[:2], rtol=1e-4)
    np.testing.assert_allclose(losses(cached)[:6], found, rtol=0.05)
    assert np.ptp(found) > 0.1 * np.mean(found)


# --- many steps at a time -----------------------------------------------------------


def test_calls_end_where_something_is_due(finished: tuple[Finished, list[int]]) -> None:
    _, counts = finished
    assert sum(counts) == STEPS
    assert set(np.cumsum(counts)) >= {6, 9, 12, 18, 24, 27, 30, 36, 40}
    # The pace is measured by the first ones. After step 12 nothing else ends a call.
    assert counts[-6:] == [6, 6, 3, 3, 6, 4]


def test_how_many_are_made_at_a_time_changes_nothing(cached: Path) -> None:
    with counted(seconds=0) as counts:
        assert train("-o", "singly", "--quiet", *CACHED).code == 0
    assert counts == [1] * STEPS
    assert_same_run(Path("singly"), cached)


# --- going on -----------------------------------------------------------------------


@contextmanager
def sent(number: int, *, at: int) -> Iterator[None]:
    """Let a signal come when a step is logged."""
    write = RunLog.write

    def write_and_send(log: RunLog, step: int, metrics: Any) -> None:
        write(log, step, metrics)
        if step == at:
            signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", write_and_send)
        yield


def test_a_run_that_was_killed_and_interrupted_ends_with_the_same_bytes(
    cached: Path,
) -> None:
    command, folder = ("-o", "parts", "--quiet", *CACHED), Path("parts")

    def die(*_: object) -> None:
        raise ConnectionError("killed")

    before = signal.signal(signal.SIGUSR1, die)
    try:
        with sent(signal.SIGUSR1, at=20):
            assert train(*command).code == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert checkpoints(folder)[-1] == 18
    with sent(signal.SIGTERM, at=26):
        done = train(*command, "--resume")
    step = checkpoints(folder)[-1]
    assert 26 <= step <= 36
    assert len(losses(folder)) == step
    assert done.code == 130
    assert done.err == (
        f"interrupted after step {step} of {STEPS}; go on with: jaxstyle train "
        "--resume parts\n"
    )
    assert train(*command, "--resume").code == 0
    assert_same_run(folder, cached)


def test_a_run_does_not_go_on_with_other_crops(cached: Path) -> None:
    before = contents(cached)
    done = train("-o", str(cached), "--resume", *CACHED, "--data-cache", "none")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"jaxstyle train: error: the checkpoints in {cached}/checkpoints are of "
        "another configuration: data_cache device -> None\n"
    )
    assert contents(cached) == before


# --- runs that end early ------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_what_is_not_finite_is_named_with_its_step(name: str) -> None:
    fine = np.ones(4, np.float32)
    broken = np.array([3.0, 2.0, np.inf, 1.0], np.float32)
    metrics: Any = {"loss": fine, "gradient_norm": fine, name: broken}
    written: list[int] = []
    log = SimpleNamespace(write=lambda step, values: written.append(step))
    session: Any = SimpleNamespace(log=log)
    run: Any = None
    with pytest.raises(NotFiniteError, match=f"{name[:4]}.* is not finite at step 45"):
        log_metrics(run, session, PendingSteps(42, 4, metrics))
    assert written == [43, 44]


def test_photos_that_are_too_large_for_memory_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = [10**9, 1000]
    monkeypatch.setattr(memory, "free_memory", lambda: free.pop(0))
    done = train("-o", "large", "--quiet", *CACHED)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "jaxstyle train: error: not enough memory for 9 photos of 18x18 pixels beside "
        "the training: needs 0.0 GB, but only 0.0 GB is free; use fewer photos, a "
        "smaller --size, or no --data-cache\n"
    )
    assert list(Path("large").iterdir()) == []
