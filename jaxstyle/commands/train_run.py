"""A training as it runs: steps, and what is done on the way."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.checkpoints import save_checkpoint
from jaxstyle.commands.interrupts import Interrupts, catch_interrupts
from jaxstyle.commands.train_inputs import Inputs
from jaxstyle.commands.train_processes import ask_to_stop, is_first
from jaxstyle.commands.train_programs import Programs
from jaxstyle.commands.train_results import save_pictures
from jaxstyle.commands.train_settings import CHECKPOINTS
from jaxstyle.data import make_batches, prefetch_to_device
from jaxstyle.devices import Placement
from jaxstyle.perceptual import Metrics
from jaxstyle.run_log import RunLog
from jaxstyle.training import Problem, State
from jaxstyle.training_presets import TrainingPreset


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
        problem: what is minimised.
        programs: what was compiled.
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
    every: Every
    settings: TrainingPreset
    placement: Placement
    seed: int
    record: Mapping[str, Any]


class Session(NamedTuple):
    """What is open while steps are made; the first process alone has a log."""

    batches: Iterator[jax.Array]
    log: RunLog | None
    bar: Any
    interrupts: Interrupts


class NotFiniteError(Exception):
    """A loss, a gradient or a part of the state is not finite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} is not finite at step {step}")


@contextmanager
def open_session(run: Run, start: State, *, quiet: bool) -> Iterator[Session]:
    """Open the logs and the data where a state stands, and the progress bar."""
    step, steps = int(start.step), run.settings.steps
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
    with (
        catch_interrupts() as interrupts,
        RunLog(run.folder, step=step) if is_first() else nullcontext() as log,
        closing(prefetch_to_device(batches, sharding=sharding)) as arrays,
        tqdm(total=steps, initial=step, unit="step", disable=quiet) as bar,
    ):
        yield Session(arrays, log, bar, interrupts)


def train(run: Run, state: State, session: Session) -> State:
    """Make steps to the end or to an interrupt of any process; return the last state.

    The metrics of a step are looked at once the next one is under way, so that the
    device does not wait. At a checkpoint nothing is under way.

    Raises:
        NotFiniteError: the step is named; no checkpoint holds anything that came of it.
    """
    step, steps, waiting = int(state.step), run.settings.steps, None
    if step == 0:
        write_log(session, step, validate(run, state))
        session.bar.unpause()
    while step < steps:
        photos = next(session.batches)
        to_stop = ask_to_stop(session.interrupts, run.placement)
        state, metrics = run.programs.step(state, photos, run.problem)
        step += 1
        if waiting is not None:
            note(run, session, step - 1, waiting)
        waiting, interrupted = metrics, to_stop()
        if interrupted or step == steps or is_due(step, *run.every):
            note(run, session, step, waiting)
            waiting = None
            attend(run, state, session, interrupted=interrupted)
        if interrupted:
            break
    return state


def is_due(step: int, *intervals: int) -> bool:
    """Return whether a step is a multiple of an interval."""
    return any(step % interval == 0 for interval in intervals)


def note(run: Run, session: Session, step: int, metrics: Metrics) -> None:
    """Log the metrics of a step, and show them.

    Raises:
        NotFiniteError: the loss or the gradient is not finite.
    """
    values = {name: float(x) for name, x in jax.device_get(metrics).items()}
    for name in ("loss", "gradient_norm"):
        if not np.isfinite(values[name]):
            raise NotFiniteError(f"the {name.replace('_', ' ')}", step)
    write_log(session, step, values)
    shown = {"loss": f"{values['loss']:.4g}"}
    if rate := session.bar.format_dict["rate"]:
        shown["images/s"] = f"{rate * run.settings.batch:.3g}"
    session.bar.set_postfix(shown, refresh=False)
    session.bar.update()


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
    measured = [
        jax.device_get(run.programs.evaluate(state.params, photo[None], run.problem))
        for photo in run.inputs.held_out
    ]
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
