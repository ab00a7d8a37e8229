"""Make a picture: from the first step, or a checkpoint, to the last."""

import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli.optimize.picture_outputs import (
    Progress,
    Run,
    add_frame,
    fail,
    finish,
    run_scheduled,
    save_preview,
)
from jaxstyle.cli.optimize.programs import ScaleProgram
from jaxstyle.cli.optimize.scales import CAPACITY
from jaxstyle.cli.optimize.scene_inputs import resize
from jaxstyle.cli.runtime import (
    Interrupts,
    if_slow,
    until_halt,
)
from jaxstyle.files import checkpoints
from jaxstyle.losses.perceptual import Problem

CHECKPOINT_SECONDS = 60.0
"""How much time a run that is killed may lose."""

SECONDS_PER_CALL = 4.0
"""About how long one call of the device takes, each with memory of its own.

Between calls the progress is shown, and interrupts are noticed.
"""

PREVIEW_SECONDS = 5.0
"""How old a preview may get."""


def optimize(run: Run, interrupts: Interrupts) -> int:
    """Make a picture, or resume it, and write all files; return the exit code."""
    resumes = run.arguments.resume and checkpoints.find_checkpoints(run.checkpoints)
    start = restore(run) if resumes else begin(run)
    try:
        progress = follow(run, start, interrupts)
        return fail(run, progress) if progress.failed else finish(run, progress)
    finally:
        run.programs.compiled.drop()


# --- steps --------------------------------------------------------------------------


def follow(run: Run, start: Progress, interrupts: Interrupts) -> Progress:
    """Make the steps, with a progress bar and checkpoints, until the end.

    That is the last step, a loss that is not finite, or an interrupt.
    """
    progress, quiet = start, run.arguments.quiet
    saved = previewed = time.monotonic()
    with tqdm(
        total=run.steps, initial=start.step, unit="step", disable=quiet or None
    ) as bar:
        for progress, problem in drive(run, start, bar.set_description_str):
            bar.update(progress.step - bar.n)
            bar.set_postfix(loss=f"{progress.loss:.4g}")
            if progress.failed:
                break
            run_scheduled(run, progress, problem)
            old = time.monotonic() - previewed > PREVIEW_SECONDS
            if old or progress.step in run.programs.ends:
                save_preview(run, progress)
                previewed = time.monotonic()
            due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if (interrupts.received or due) and progress.step < run.steps:
                save_progress(run, progress)
                saved = time.monotonic()
            if interrupts.received:
                break
    return progress


def drive(
    run: Run, start: Progress, say: Callable[[str], object]
) -> Iterator[tuple[Progress, Problem]]:
    """Make all steps, scale by scale; yield the progress after each call of the device.

    With it comes the loss that is minimized. A call makes as many steps as take about
    `SECONDS_PER_CALL`, and stops when a file is due, at the end of a scale, and at a
    loss that is not finite, which ends all.
    """
    progress, detailed = start, run.arguments.config.init == "content"
    run.programs.compile_ahead(start.step)
    for scale, (begin, end) in enumerate(run.programs.spans):
        if progress.step >= end or progress.failed:
            continue
        size = run.inputs.sizes[scale]
        with if_slow(say, f"{size} px, compiling"):
            enter = run.programs.compiled[scale].enter
        say(f"{size} px, {run.programs.needed_memory(scale) / 1e9:.1f} GB")
        if enter is not None and progress.step == begin:
            detail = resize(run.inputs, scale).content if detailed else None
            progress = progress._replace(state=enter(progress.state, detail))
        progress = yield from make_steps(run, scale, progress, end)


def make_steps(
    run: Run, scale: int, start: Progress, end: int
) -> Generator[tuple[Progress, Problem], None, Progress]:
    """Make the steps of one scale as `drive` does; return the last progress."""
    program, problem = run.programs.compiled[scale], run.problem(scale)
    progress, count = start, 1
    while progress.step < end and not progress.failed:
        before, started = progress.step, time.perf_counter()
        count = min(count, until_halt(before, end, run.intervals))
        progress = advance(program, problem, progress, count)
        pace = (progress.step - before) / (time.perf_counter() - started)
        yield progress, problem
        count = max(1, min(int(SECONDS_PER_CALL * pace), CAPACITY))
    return progress


def advance(
    program: ScaleProgram, problem: Problem, progress: Progress, count: int
) -> Progress:
    """Make up to ``count`` steps, until a loss is not finite."""
    first, losses = progress.step, progress.losses.copy()
    state, history = program.run_steps(progress.state, problem, count)
    made = int(state.step) - first  # waits for the device
    losses[first : first + made] = np.asarray(history["loss"])[:made]
    return Progress(state, losses)


# --- where it begins ----------------------------------------------------------------


def begin(run: Run) -> Progress:
    """Make the progress before the first step, and the folder that shows a begin."""
    shutil.rmtree(run.folder, ignore_errors=True)  # frames without a checkpoint
    with suppress(OSError):  # without it, a run that is killed is not resumed
        run.folder.mkdir(parents=True)
    losses = np.full(run.steps, np.nan, np.float32)
    progress = Progress(run.programs.scales[0].init(run.inputs.init), losses)
    if run.arguments.film is not None:
        add_frame(run, progress)
    return progress


def restore(run: Run) -> Progress:
    """Load the newest undamaged checkpoint, written with any number of devices."""
    losses = np.empty(run.steps, np.float32)

    def shapes(step: int) -> Progress:
        scale = run.programs.scales[run.programs.find_scale(step)]
        return Progress(jax.eval_shape(scale.layout.unshard, scale.state), losses)

    progress = checkpoints.load_checkpoint(
        run.checkpoints,
        shapes,
        run.configuration,
        say=lambda line: print(f"jaxstyle optimize: {line}", file=sys.stderr),
    )
    layout = run.programs.layout(progress.state)
    return progress._replace(state=layout.put(progress.state))


def save_progress(run: Run, progress: Progress) -> None:
    """Write a checkpoint; if that fails, say so: the picture may still be made."""
    layout = run.programs.layout(progress.state)
    whole = progress._replace(state=layout.fetch(progress.state))
    try:
        checkpoints.save_checkpoint(run.checkpoints, whole, run.configuration)
    except ValueError as error:
        tqdm.write(f"jaxstyle optimize: {error}", file=sys.stderr)
