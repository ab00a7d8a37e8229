"""The making of one picture: from the first step, or a checkpoint, to the last."""

import argparse
import shutil
import sys
import time

import numpy as np
from tqdm import tqdm

from jaxstyle.checkpoints import find_checkpoints, load_checkpoint, save_checkpoint
from jaxstyle.commands.interrupts import catch_interrupts
from jaxstyle.commands.optimize_job import Job, Run, make_run
from jaxstyle.commands.optimize_programs import make_init, state_shapes
from jaxstyle.commands.optimize_results import Outcome, attend, finish, make_picture
from jaxstyle.commands.optimize_steps import Progress, drive
from jaxstyle.presets import Preset

CHECKPOINT_SECONDS = 60.0
"""How much time a run that is killed may lose."""


def optimize(arguments: argparse.Namespace, settings: Preset, job: Job) -> Outcome:
    """Make a picture, or go on with it, and write it with all that is wanted.

    Raises:
        ValueError: the unfinished run to go on with is another, or damaged.
    """
    run = make_run(arguments, settings, job)
    resumes = arguments.resume and find_checkpoints(run.checkpoints)
    start = restore(run) if resumes else begin(run)
    progress, saved = start, time.monotonic()
    with (
        catch_interrupts() as interrupts,
        tqdm(
            total=settings.steps,
            initial=start.step,
            unit="step",
            disable=arguments.quiet,
        ) as bar,
    ):
        plan = run.plan._replace(say=bar.set_description_str)
        for progress in drive(plan, start):
            bar.update(progress.step - bar.n)
            bar.set_postfix(loss=f"{progress.loss:.4g}")
            attend(run, progress)
            due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if (interrupts.received or due) and progress.step < settings.steps:
                keep(run, progress)
                saved = time.monotonic()
            if interrupts.received:
                break
    return finish(run, progress)


def begin(run: Run) -> Progress:
    """Return the progress before the first step."""
    shutil.rmtree(run.unfinished, ignore_errors=True)  # frames without a checkpoint
    state = make_init(run.job.method)(run.job.inputs.init)
    progress = Progress(state, np.full(run.plan.ends[-1], np.nan, np.float32))
    if run.frames is not None:
        run.frames.add(0, make_picture(run, progress))
    return progress


def restore(run: Run) -> Progress:
    """Return the progress of the last good checkpoint; tell of those that are not."""

    def shapes(step: int) -> Progress:
        scale = run.plan.scale_of(step)
        losses = np.empty(run.plan.ends[-1], np.float32)
        return Progress(state_shapes(run.job.inputs, run.job.method, scale), losses)

    restored = load_checkpoint(run.checkpoints, shapes, run.configuration)
    for line in restored.notes:
        print(f"jaxstyle optimize: {line}", file=sys.stderr)
    state, losses = restored.state
    return Progress(state, np.asarray(losses))


def keep(run: Run, progress: Progress) -> None:
    """Write a checkpoint; if that fails, say so: the picture may still be made."""
    try:
        save_checkpoint(run.checkpoints, progress, run.configuration)
    except ValueError as error:
        tqdm.write(f"jaxstyle optimize: {error}", file=sys.stderr)
