"""A training as it runs: steps, and what is scheduled between them."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli import runtime
from jaxstyle.cli.train.processes import agree_on_steps, is_first, is_quiet, say
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.cli.train.training_inputs import (
    CHECKPOINTS,
    PICTURES,
    Inputs,
    painting_side,
)
from jaxstyle.cli.train.training_kinds import pair_batches
from jaxstyle.cli.train.training_programs import MOST_STEPS, CachedPhotos, Programs
from jaxstyle.data.batches import make_batches, prefetch_to_device
from jaxstyle.data.sources import Source
from jaxstyle.files.checkpoints import save_checkpoint
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import save_image
from jaxstyle.files.run_log import RunLog
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.scaling.sharding import Placement
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig

Advance: TypeAlias = Callable[[State, int], tuple[State, Metrics]]
"""Makes ``n`` steps from a state on; returns their metrics too, ``[n]``."""

ROWS = 4
"""How many held-out photos a sheet of pictures shows."""

LARGEST_PAINTING = 1.4
"""The largest shorter side of paintings beside the squares that are cut of them."""


class Run(NamedTuple):
    """Everything that stays the same while a net is trained."""

    arguments: TrainOptions
    settings: TrainConfig
    inputs: Inputs
    placement: Placement
    problem: Problem
    programs: Programs
    cached: CachedPhotos | None

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return Path(self.arguments.output)


class Session(NamedTuple):
    """What is open while steps are made; the first process alone has a log."""

    advance: Advance
    log: RunLog | None
    bar: Any
    interrupts: runtime.Interrupts


class PendingSteps(NamedTuple):
    """Steps under way: the one before the first, how many, and their metrics."""

    start: int
    steps: int
    metrics: Metrics


@contextmanager
def open_session(run: Run, start: State) -> Iterator[Session]:
    """Open the logs and the photos where a state stands, and the progress bar."""
    step, steps = int(start.step), run.settings.steps
    hidden = is_quiet(run.arguments) or None  # None hides it outside of terminals
    with (
        runtime.catch_interrupts() as interrupts,
        RunLog(run.folder, step=step) if is_first() else nullcontext() as log,
        open_photos(run, step) as advance,
        tqdm(total=steps, initial=step, unit="step", disable=hidden) as bar,
    ):
        yield Session(advance, log, bar, interrupts)


@contextmanager
def open_photos(run: Run, step: int) -> Iterator[Advance]:
    """Open the photos after some step, and yield what makes steps on them."""
    make, problem = run.programs.step, run.problem
    if run.cached is not None:
        yield lambda state, count: make(state, run.cached, problem, count)
        return

    def draw(source: Source, **options: Any) -> Generator[Any, None, None]:
        batches = make_batches(
            source,
            batch=run.settings.batch,
            seed=run.arguments.seed,
            report=run.inputs.report,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            **options,
        )
        return prefetch_to_device(batches, sharding=run.placement.batches)

    batches = draw(run.inputs.photos, size=run.settings.size, start=step)
    if run.inputs.paintings is not None:
        side, hold = painting_side(run.settings), run.settings.hold
        sides = (side, int(LARGEST_PAINTING * side))
        paintings = draw(
            run.inputs.paintings, size=side, start=step // hold, shorter_side=sides
        )
        batches = pair_batches(
            batches, paintings, run.programs.aim, start=step, hold=hold
        )
    with closing(batches) as examples:
        yield lambda state, _: make(state, next(examples), problem)


def train(run: Run, state: State, session: Session) -> State:
    """Make steps to the end or to an interrupt of any process; return the last state.

    One step at a time, or with cached photos as many as take about `SECONDS_PER_CALL`.
    Their metrics are read once the next steps are under way, so that the device does
    not wait. At a checkpoint no step is under way.

    A NotFiniteError names the step; no checkpoint holds anything that came of it.
    """
    step, steps = int(state.step), run.settings.steps
    most = 1 if run.cached is None else MOST_STEPS
    schedule = (
        run.arguments.validate_every,
        run.arguments.picture_every,
        run.arguments.checkpoint_every,
    )
    count, requested, pending = 1, 1, None
    if step == 0:
        log_validation(run, state, session)
        session.bar.unpause()
    while step < steps:
        started = time.perf_counter()
        count = min(count, runtime.until_halt(step, steps, schedule))
        next_count = agree_on_steps(session.interrupts, requested, run.placement)
        state, metrics = session.advance(state, count)
        if pending is not None:
            log_metrics(run, session, pending)
            pace = pending.steps / (time.perf_counter() - started)
            requested = max(1, min(int(runtime.SECONDS_PER_CALL * pace), most))
        pending = PendingSteps(step, count, metrics)
        step, count = step + count, next_count()
        if count == 0 or step == steps or is_due(step, *schedule):
            log_metrics(run, session, pending)
            pending = None
            run_scheduled(run, state, session, interrupted=count == 0)
        if count == 0:
            break
    return state


def is_due(step: int, *intervals: int) -> bool:
    """Test whether a step is a multiple of an interval."""
    return any(step % interval == 0 for interval in intervals)


def log_metrics(run: Run, session: Session, pending: PendingSteps) -> None:
    """Log the metrics of steps, and show the last ones; a NotFiniteError names one."""
    found = {name: np.ravel(x) for name, x in jax.device_get(pending.metrics).items()}
    for index in range(pending.steps):
        step = pending.start + index + 1
        values = {name: float(array[index]) for name, array in found.items()}
        for name in ("loss", "gradient_norm"):
            if not np.isfinite(values[name]):
                raise runtime.NotFiniteError(f"the {name.replace('_', ' ')}", step)
        write_log(session, step, values)
    shown = {"loss": f"{values['loss']:.4g}"}
    if rate := session.bar.format_dict["rate"]:
        shown["images/s"] = f"{rate * run.settings.batch:.3g}"
    session.bar.set_postfix(shown, refresh=False)
    session.bar.update(pending.steps)


def write_log(session: Session, step: int, values: Mapping[str, float]) -> None:
    """Log values, if this process has the log."""
    if session.log is not None:
        session.log.write(step, values)


def run_scheduled(
    run: Run, state: State, session: Session, *, interrupted: bool
) -> None:
    """Do what is due after a step: validation, pictures, a checkpoint."""
    step, every = int(state.step), run.arguments
    last = step == run.settings.steps
    if last or is_due(step, every.validate_every):
        log_validation(run, state, session)
    if is_first() and (last or is_due(step, every.picture_every)):
        save_pictures(run, state)
    if last or interrupted or is_due(step, every.checkpoint_every):
        if session.log is not None:
            session.log.sync()
        save(run, state)


def log_validation(run: Run, state: State, session: Session) -> None:
    """Measure on held-out photos, and say so where there is no bar."""
    step, means = int(state.step), validate(run, state)
    write_log(session, step, means)
    if session.bar.disable:
        loss = f"validation loss {means['validation_loss']:.5g}"
        say(run.arguments, f"step {step} of {run.settings.steps}: {loss}")


def validate(run: Run, state: State) -> dict[str, float]:
    """Average the metrics of held-out photos; a NotFiniteError names the loss."""
    measured = jax.device_get(
        [
            run.programs.evaluate(
                state.params,
                run.inputs.take_held_out(index, index + 1, run.programs.aim_held_out),
                run.problem,
            )
            for index in range(len(run.inputs.held_out))
        ]
    )
    means = {
        f"validation_{name}": float(np.mean([metrics[name] for metrics in measured]))
        for name in measured[0]
    }
    if not np.isfinite(means["validation_loss"]):
        raise runtime.NotFiniteError("the validation loss", int(state.step))
    return means


def save_pictures(run: Run, state: State) -> None:
    """Write rows of a painting, a held-out photo, and the stylized photo."""
    inputs, kind = run.inputs, run.inputs.kind
    batch = inputs.take_held_out(0, ROWS, run.programs.aim_held_out)
    on_host = jax.tree.map(np.asarray, (state.params, batch))  # of no mesh
    outputs = np.clip(kind.paint(*on_host), 0, 1)
    styles = [np.asarray(style) for style in inputs.styles]
    styles += [square / np.float32(255) for square in inputs.squares]
    rows = [
        (styles[index % len(styles)], photo, output)
        for index, (photo, output) in enumerate(
            zip(inputs.held_out / np.float32(255), outputs, strict=False)
        )
    ]
    sheet = make_sheet(rows, column_labels=("style", "content", "output"))
    pictures = run.folder / PICTURES
    pictures.mkdir(exist_ok=True)
    save_image(sheet, pictures / f"step_{int(state.step):05d}.png")


def save(run: Run, state: State) -> None:
    """Write a checkpoint, in the first process; a NotFiniteError names what is not."""
    runtime.check_finite(state)
    if is_first():
        save_checkpoint(run.folder / CHECKPOINTS, state, run.inputs.configuration)
