"""The making of pictures: from the first step, or a checkpoint, to the last."""

import shutil
import sys
import time

import numpy as np
from tqdm import tqdm

from jaxstyle.cli.interrupts import Interrupts
from jaxstyle.cli.optimize.job import Run
from jaxstyle.cli.optimize.lanes import stack
from jaxstyle.cli.optimize.results import attend, fail, finish, make_images
from jaxstyle.cli.optimize.scale_states import init_states, state_shapes
from jaxstyle.cli.optimize.scale_steps import Progress, drive
from jaxstyle.files.checkpoints import (
    find_checkpoints,
    load_checkpoint,
    save_checkpoint,
)

CHECKPOINT_SECONDS = 60.0
"""How much time a run that is killed may lose."""


def optimize(run: Run, interrupts: Interrupts) -> list[int]:
    """Make pictures, or go on with them, and write them with all that is wanted.

    Returns:
        An exit code for each picture.

    Raises:
        ValueError: the unfinished run to go on with is another, or damaged.
    """
    resumes = run.arguments.resume and find_checkpoints(run.checkpoints)
    start = restore(run) if resumes else begin(run)
    try:
        return finish(run, follow(run, start, interrupts))
    finally:
        run.job.programs.drop()


def follow(run: Run, start: Progress, interrupts: Interrupts) -> Progress:
    """Make the steps, show and write what comes on the way; return how far it got."""
    progress, saved, failed = start, time.monotonic(), start.failed
    last = run.plan.ends[-1]
    with tqdm(
        total=last, initial=start.step, unit="step", disable=run.arguments.quiet
    ) as bar:
        lanes = f"{len(failed)} pictures, " if len(failed) > 1 else ""
        plan = run.plan._replace(say=lambda what: bar.set_description_str(lanes + what))
        for progress in drive(plan, start):
            bar.update(progress.step - bar.n)
            bar.set_postfix(loss=describe_losses(progress))
            if (lost := progress.failed & ~failed).any():
                fail(run, progress, lost)
                failed = progress.failed
            attend(run, progress)
            due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if (interrupts.received or due) and progress.step < last:
                keep(run, progress)
                saved = time.monotonic()
            if interrupts.received:
                break
    return progress


def describe_losses(progress: Progress) -> str:
    """Return the loss of the last step, or how far those of several lanes reach."""
    losses = progress.last[~progress.failed]
    if not len(losses):
        return "nan"
    low, high = f"{losses.min():.4g}", f"{losses.max():.4g}"
    return low if low == high else f"{low} to {high}"


def begin(run: Run) -> Progress:
    """Return the progress before the first step."""
    shutil.rmtree(run.unfinished, ignore_errors=True)  # frames without a checkpoint
    lanes, steps = len(run.pictures), run.plan.ends[-1]
    images = stack([picture.inputs.init for picture in run.pictures])
    state = init_states(run.job.method, run.plan.layout(0), images, lanes)
    progress = Progress(state, np.full((lanes, steps), np.nan, np.float32))
    if run.frames is not None:
        run.frames.add(0, make_images(run, progress)[0])
    return progress


def restore(run: Run) -> Progress:
    """Return the progress of the last good checkpoint; tell of those that are not.

    It may have been written by another number of devices.
    """
    lanes, inputs = len(run.pictures), run.pictures[0].inputs

    def shapes(step: int) -> Progress:
        scale, layout = run.plan.scale_of(step), run.plan.layout(step).undivided
        losses = np.empty((lanes, run.plan.ends[-1]), np.float32)
        state = state_shapes(inputs, run.job.method, layout, scale, lanes)
        return Progress(state, losses)

    restored = load_checkpoint(run.checkpoints, shapes, run.configuration)
    for line in restored.notes:
        print(f"jaxstyle optimize: {line}", file=sys.stderr)
    progress = Progress(*restored.state)
    return progress._replace(state=run.plan.layout(progress.step).put(progress.state))


def keep(run: Run, progress: Progress) -> None:
    """Write a checkpoint; if that fails, say so: the pictures may still be made."""
    whole = run.plan.layout(progress.step).fetch(progress.state)
    try:
        save_checkpoint(
            run.checkpoints, progress._replace(state=whole), run.configuration
        )
    except ValueError as error:
        tqdm.write(f"jaxstyle optimize: {error}", file=sys.stderr)
