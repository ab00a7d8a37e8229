"""A training as it runs: steps, and what is done on the way."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli.interrupts import Interrupts, catch_interrupts
from jaxstyle.cli.pacing import SECONDS_PER_CALL, until_halt
from jaxstyle.cli.train.device_cache import CAPACITY, Album
from jaxstyle.cli.train.processes import ask_how_many, is_first
from jaxstyle.cli.train.training_inputs import Inputs
from jaxstyle.cli.train.training_programs import Programs
from jaxstyle.cli.train.training_results import save_pictures
from jaxstyle.cli.train.training_settings import CHECKPOINTS
from jaxstyle.data.batches import make_batches, prefetch_to_device
from jaxstyle.files.checkpoints import save_checkpoint
from jaxstyle.files.run_log import RunLog
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.scaling.sharding import Placement
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig

Advance: TypeAlias = Callable[[State, int], tuple[State, Metrics]]
"""Makes steps from a state on, so many; returns their metrics, ``[n]``."""


class Every(NamedTuple):
    """After how many steps what is done."""

    validate: int
    picture: int
    checkpoint: int


class Run(NamedTuple):
    """All that stays the same while a net is trained.

    Attributes:
        folder: where everything is written.
        inputs: what was read from files.
        problem: what is minimized.
        programs: what was compiled.
        album: all photos, if they are in memory.
        every: after how many steps what is done.
        settings: what shapes the net.
        placement: on which devices.
        seed: of the crops.
        record: what is to be known about the net: arguments, settings, versions.
    """

    folder: Path
    inputs: Inputs
    problem: Problem
    programs: Programs
    album: Album | None
    every: Every
    settings: TrainConfig
    placement: Placement
    seed: int
    record: Mapping[str, Any]


class Session(NamedTuple):
    """What is open while steps are made; the first process alone has a log."""

    advance: Advance
    log: RunLog | None
    bar: Any
    interrupts: Interrupts


class Made(NamedTuple):
    """Steps that are made or under way: after which one, how many, their metrics."""

    first: int
    steps: int
    metrics: Metrics


class NotFiniteError(Exception):
    """A loss, a gradient or a part of the state is not finite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} is not finite at step {step}")


@contextmanager
def open_session(run: Run, start: State, *, quiet: bool) -> Iterator[Session]:
    """Open the logs and the data where a state stands, and the progress bar."""
    step, steps = int(start.step), run.settings.steps
    with (
        catch_interrupts() as interrupts,
        RunLog(run.folder, step=step) if is_first() else nullcontext() as log,
        open_photos(run, step) as advance,
        tqdm(total=steps, initial=step, unit="step", disable=quiet) as bar,
    ):
        yield Session(advance, log, bar, interrupts)


@contextmanager
def open_photos(run: Run, step: int) -> Iterator[Advance]:
    """Open the photos after some step, and yield what makes steps on them."""
    make, problem = run.programs.step, run.problem
    if run.album is not None:
        yield lambda state, count: make(state, run.album, problem, count)
        return
    batches = make_batches(
        run.inputs.photos,
        size=run.settings.size,
        batch=run.settings.batch,
        seed=run.seed,
        start=step,
        report=run.inputs.report,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    sharding = run.placement.batches
    with closing(prefetch_to_device(batches, sharding=sharding)) as arrays:
        yield lambda state, _: make(state, next(arrays), problem)


def train(run: Run, state: State, session: Session) -> State:
    """Make steps to the end or to an interrupt of any process; return the last state.

    One step at a time, or with all photos in memory as many as take about
    `SECONDS_PER_CALL`. Their metrics are looked at once the next ones are under way, so
    that the device does not wait. At a checkpoint nothing is under way.

    Raises:
        NotFiniteError: the step is named; no checkpoint holds anything that came of it.
    """
    step, steps = int(state.step), run.settings.steps
    most = 1 if run.album is None else CAPACITY
    count, wish, waiting = 1, 1, None
    if step == 0:
        write_log(session, step, validate(run, state))
        session.bar.unpause()
    while step < steps:
        started = time.perf_counter()
        count = min(count, until_halt(step, steps, run.every))
        how_many = ask_how_many(session.interrupts, wish, run.placement)
        state, metrics = session.advance(state, count)
        if waiting is not None:
            note(run, session, waiting)
            pace = waiting.steps / (time.perf_counter() - started)
            wish = max(1, min(int(SECONDS_PER_CALL * pace), most))
        waiting = Made(step, count, metrics)
        step, count = step + count, how_many()
        if count == 0 or step == steps or is_due(step, *run.every):
            note(run, session, waiting)
            waiting = None
            attend(run, state, session, interrupted=count == 0)
        if count == 0:
            break
    return state


def is_due(step: int, *intervals: int) -> bool:
    """Return whether a step is a multiple of an interval."""
    return any(step % interval == 0 for interval in intervals)


def note(run: Run, session: Session, made: Made) -> None:
    """Log the metrics of steps, and show the last ones.

    Raises:
        NotFiniteError: the loss or the gradient of a step is not finite.
    """
    found = {name: np.ravel(x) for name, x in jax.device_get(made.metrics).items()}
    for index in range(made.steps):
        step = made.first + index + 1
        values = {name: float(array[index]) for name, array in found.items()}
        for name in ("loss", "gradient_norm"):
            if not np.isfinite(values[name]):
                raise NotFiniteError(f"the {name.replace('_', ' ')}", step)
        write_log(session, step, values)
    shown = {"loss": f"{values['loss']:.4g}"}
    if rate := session.bar.format_dict["rate"]:
        shown["images/s"] = f"{rate * run.settings.batch:.3g}"
    session.bar.set_postfix(shown, refresh=False)
    session.bar.update(made.steps)


def write_log(session: Session, step: int, values: Mapping[str, float]) -> None:
    """Log values, if this process does."""
    if session.log is not None:
        session.log.write(step, values)


def attend(run: Run, state: State, session: Session, *, interrupted: bool) -> None:
    """Do what is due after a step: validation, pictures, a checkpoint."""
    step = int(state.step)
    last = step == run.settings.steps
    if last or is_due(step, run.every.validate):
        write_log(session, step, validate(run, state))
    if is_first() and (last or is_due(step, run.every.picture)):
        save_pictures(run.folder, run.inputs, state, run.programs.stylize)
    if last or interrupted or is_due(step, run.every.checkpoint):
        if session.log is not None:
            session.log.sync()
        save(run, state)


def validate(run: Run, state: State) -> dict[str, float]:
    """Return the mean metrics over the held-out photos.

    Raises:
        NotFiniteError: the loss is not finite.
    """
    measured = jax.device_get(
        [
            run.programs.evaluate(state.params, photo[None], run.problem)
            for photo in run.inputs.held_out
        ]
    )
    means = {
        f"validation_{name}": float(np.mean([metrics[name] for metrics in measured]))
        for name in measured[0]
    }
    if not np.isfinite(means["validation_loss"]):
        raise NotFiniteError("the validation loss", int(state.step))
    return means


def save(run: Run, state: State) -> None:
    """Write a checkpoint, in the first process.

    Raises:
        NotFiniteError: a part of the state is not finite; nothing is written.
    """
    check_finite(state)
    if is_first():
        save_checkpoint(run.folder / CHECKPOINTS, state, run.inputs.configuration)


def check_finite(state: State) -> None:
    """Raise a NotFiniteError that names a part of a state, if one is not finite."""
    for path, leaf in jax.tree.leaves_with_path(state):
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NotFiniteError(name, int(state.step))
