"""A training as it runs: steps, and what is scheduled between them."""

import math
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

FIRST_PICTURES, CHECKPOINT_SECONDS = 40, 240
"""After how many seconds the first sheet is due, and always another checkpoint."""

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
    schedule: "Schedule"


class Schedule:
    """What is due, by steps and, in the process that writes files, by the clock."""

    def __init__(self, run: Run, start: int) -> None:
        steps, given = run.settings.steps, run.arguments
        self.start, self.last = start, steps
        self.validate_every = given.validate_every or max(500, steps // 20)
        self.picture_every = given.picture_every or max(1, steps // 10)
        self.checkpoint_every = given.checkpoint_every or steps
        self.begun = self.saved = time.monotonic()
        self.first_pictures = self.saved + FIRST_PICTURES if start == 0 else math.inf

    @property
    def intervals(self) -> tuple[int, int, int]:
        """The numbers of steps between what is due by steps."""
        return self.validate_every, self.picture_every, self.checkpoint_every

    def left(self, step: int) -> str:
        """Estimate the time that is left after a step, in words."""
        pace = (time.monotonic() - self.begun) / max(1, step - self.start)
        minutes = pace * (self.last - step) / 60
        if minutes > 90:
            return f"about {minutes / 60:.1f} hours left"
        return f"about {max(1, round(minutes))} min left"

    def wants_validation(self, step: int) -> bool:
        """Test whether the loss on held-out photos is due after a step."""
        return step == self.last or step % self.validate_every == 0

    def wants_pictures(self, step: int) -> bool:
        """Test whether a sheet of pictures is due."""
        by_steps = step == self.last or step % self.picture_every == 0
        return is_first() and (by_steps or time.monotonic() > self.first_pictures)

    def wants_checkpoint(self, step: int) -> bool:
        """Test whether a checkpoint is due."""
        by_steps = step == self.last or step % self.checkpoint_every == 0
        late = is_first() and time.monotonic() > self.saved + CHECKPOINT_SECONDS
        return by_steps or late


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
        yield Session(advance, log, bar, interrupts, Schedule(run, step))


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
    most, schedule = 1 if run.cached is None else MOST_STEPS, session.schedule
    count, requested, pending = 1, 1, None
    if step == 0:
        log_validation(run, state, session)
        session.bar.unpause()
    while step < steps:
        started = time.perf_counter()
        count = min(count, runtime.until_halt(step, steps, schedule.intervals))
        next_count = agree_on_steps(session.interrupts, requested, run.placement)
        state, metrics = session.advance(state, count)
        if pending is not None:
            log_metrics(run, session, pending)
            pace = pending.steps / (time.perf_counter() - started)
            requested = max(1, min(int(runtime.SECONDS_PER_CALL * pace), most))
        pending = PendingSteps(step, count, metrics)
        step, count = step + count, next_count()
        due = (
            schedule.wants_validation(step),
            schedule.wants_pictures(step) or (count == 0 and is_first()),
            schedule.wants_checkpoint(step) or count == 0,
        )
        if any(due):
            log_metrics(run, session, pending)
            pending = None
            run_scheduled(run, state, session, *due)
        if count == 0:
            break
    return state


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
    run: Run,
    state: State,
    session: Session,
    validation: bool,
    pictures: bool,
    checkpoint: bool,
) -> None:
    """Do what is due after a step."""
    if validation:
        log_validation(run, state, session)
    if pictures:
        save_pictures(run, state)
        step, schedule = int(state.step), session.schedule
        if math.isfinite(schedule.first_pictures) and step < schedule.last:
            say(
                run.arguments,
                f"{schedule.left(step)}; pictures are in {run.folder / PICTURES}",
            )
        schedule.first_pictures = math.inf
    if checkpoint:
        if session.log is not None:
            session.log.sync()
        save(run, state)
        session.schedule.saved = time.monotonic()


def log_validation(run: Run, state: State, session: Session) -> None:
    """Measure on held-out photos, and say so where there is no bar."""
    step, means = int(state.step), validate(run, state)
    write_log(session, step, means)
    if session.bar.disable:
        loss = f"validation loss {means['validation_loss']:.5g}"
        schedule = session.schedule
        left = f", {schedule.left(step)}" if 0 < step < schedule.last else ""
        say(run.arguments, f"step {step} of {run.settings.steps}: {loss}{left}")


def validate(run: Run, state: State) -> dict[str, float]:
    """Average the metrics of held-out photos; a NotFiniteError names the loss."""
    inputs, programs = run.inputs, run.programs
    measured = jax.device_get(
        [
            programs.evaluate(state.params, batch, run.problem)
            for batch in inputs.make_batches(inputs.held_out, programs.aim_held_out)
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
    """Write held-out photos, each beside what the net makes of it, and paintings.

    One painting is at the top; if there are many, each is beside its photo.
    """
    inputs, params = run.inputs, jax.tree.map(np.asarray, state.params)  # of no mesh
    squares = inputs.squares / np.float32(255)
    rows: list[list[Any]] = [[np.asarray(style) for style in inputs.styles]]
    batches = inputs.make_batches(inputs.shown, run.programs.aim_held_out)
    for index, (photo, batch) in enumerate(zip(inputs.shown, batches, strict=True)):
        on_host = jax.tree.map(np.asarray, batch)
        picture = np.clip(inputs.kind.paint(params, on_host)[0], 0, 1)
        own = [] if rows[0] else [squares[index % len(squares)]]
        rows.append([*own, photo / np.float32(255), picture])
    pictures = run.folder / PICTURES
    pictures.mkdir(exist_ok=True)
    sheet = make_sheet([row for row in rows if row])
    save_image(sheet, pictures / f"step_{int(state.step):05d}.png")


def save(run: Run, state: State) -> None:
    """Write a checkpoint, in the first process; a NotFiniteError names what is not."""
    runtime.check_finite(state)
    if is_first():
        save_checkpoint(run.folder / CHECKPOINTS, state, run.inputs.configuration)
