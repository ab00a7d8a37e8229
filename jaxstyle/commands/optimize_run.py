"""The making of one picture: steps at every scale, and what is done on the way."""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxstyle.checkpoints import find_checkpoints, load_checkpoint, save_checkpoint
from jaxstyle.commands.interrupts import catch_interrupts
from jaxstyle.commands.optimize_inputs import Inputs
from jaxstyle.commands.optimize_outputs import (
    Frames,
    in_color,
    in_masks,
    numbered,
    save_picture,
    save_plot,
    save_sheet,
    unfinished,
)
from jaxstyle.commands.optimize_programs import Program, make_init, state_shapes
from jaxstyle.commands.optimize_settings import Method, make_weights
from jaxstyle.commands.optimize_steps import Plan, Progress, drive, measure
from jaxstyle.commands.runtime import versions
from jaxstyle.images import Image
from jaxstyle.presets import Preset

CHECKPOINT_SECONDS = 60.0
"""How much time a run that is killed may lose."""

SHAPING = (
    "size",
    "strength",
    "blend",
    "preserve_color",
    "match_color",
    "learning_rate",
)
"""The arguments that shape the numbers and that are in no preset."""

CHECKPOINTS = "checkpoints"
"""Where they are, in the folder of what is unfinished."""


class Job(NamedTuple):
    """What all pictures of one call of the command share.

    Attributes:
        inputs: what was read from files.
        method: what is compiled for.
        ends: the number of steps after which each scale is over.
        compile_scale: returns the program of a scale by its number.
        digest: of the inputs.
    """

    inputs: Inputs
    method: Method
    ends: tuple[int, ...]
    compile_scale: Callable[[int], Program]
    digest: str


class Outcome(NamedTuple):
    """The picture of a run, and its exit code."""

    picture: Image
    code: int


class Run(NamedTuple):
    """What stays the same while one picture is made.

    Attributes:
        arguments: those of the command.
        job: what it shares with others.
        plan: the steps.
        frames: those of a film, if one is wanted.
        unfinished: a folder that is there until the picture is complete.
        configuration: all that shapes the numbers, for checkpoints.
        record: what is to be known about the picture: arguments, settings, versions.
    """

    arguments: argparse.Namespace
    job: Job
    plan: Plan
    frames: Frames | None
    unfinished: Path
    configuration: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.unfinished / CHECKPOINTS


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


def make_run(arguments: argparse.Namespace, settings: Preset, job: Job) -> Run:
    """Put together what the making of a picture needs."""
    folder, frames = unfinished(arguments.output), None
    intervals = [arguments.save_every or settings.steps]
    if arguments.film is not None:
        frames = Frames(folder / "frames", steps=settings.steps)
        intervals.append(frames.every)
    weights = make_weights(settings, strength=arguments.strength)
    about = {
        "preset": asdict(settings),
        **{name: getattr(arguments, name) for name in SHAPING},
        "style_scale": job.inputs.style_scale,
    } | versions()
    return Run(
        arguments,
        job,
        Plan(job.compile_scale, job.inputs.sizes, job.ends, weights, intervals),
        frames,
        folder,
        about | {"images and network": job.digest},
        {"arguments": vars(arguments)} | about,
    )


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


def make_picture(run: Run, progress: Progress) -> Image:
    """Return the picture so far, in [0, 1], with what is to stay of the photo."""
    kept = run.job.method.keeper.picture(progress.state.kept)
    picture = in_masks(jnp.clip(kept, 0, 1), run.job.inputs.scene)
    if run.arguments.preserve_color:
        return in_color(picture, run.job.inputs.photo)
    return picture


def attend(run: Run, progress: Progress) -> None:
    """Write what is due after a step but the last: a picture, a frame."""
    step, last = progress.step, run.plan.ends[-1]
    if step == last or not np.isfinite(progress.loss):
        return
    every = run.arguments.save_every
    if every is not None and step % every == 0:
        path = numbered(run.arguments.output, step)
        result = {"steps": step, "loss": progress.loss}
        save_picture(make_picture(run, progress), path, run.record, result)
    if run.frames is not None and step % run.frames.every == 0:
        run.frames.add(step, make_picture(run, progress))


def keep(run: Run, progress: Progress) -> None:
    """Write a checkpoint; if that fails, say so: the picture may still be made."""
    try:
        save_checkpoint(run.checkpoints, progress, run.configuration)
    except ValueError as error:
        tqdm.write(f"jaxstyle optimize: {error}", file=sys.stderr)


def finish(run: Run, progress: Progress) -> Outcome:
    """Write what a run has come to, and say so."""
    step, last, output = progress.step, run.plan.ends[-1], run.arguments.output
    picture = make_picture(run, progress)
    if not np.isfinite(progress.loss):
        shutil.rmtree(run.unfinished, ignore_errors=True)  # it would end there again
    if not np.isfinite(progress.losses[0]):
        print(
            "jaxstyle optimize: error: the loss is not finite at step 1",
            file=sys.stderr,
        )
        return Outcome(picture, 1)
    loss = measure(run.plan, progress, run.job.method.keeper)
    save_picture(picture, output, run.record, {"steps": step, "loss": loss})
    if not np.isfinite(progress.loss):
        print(
            f"jaxstyle optimize: error: the loss is not finite at step {step}; "
            f"{output} is the best picture before it",
            file=sys.stderr,
        )
        return Outcome(picture, 1)
    save_more(run, progress, picture)
    print(f"{output}: {step} steps, loss {loss:.5g}")
    if step < last:
        more = "; --resume goes on" if find_checkpoints(run.checkpoints) else ""
        print(f"interrupted after step {step} of {last}{more}", file=sys.stderr)
        return Outcome(picture, 130)
    shutil.rmtree(run.unfinished, ignore_errors=True)
    return Outcome(picture, 0)


def save_more(run: Run, progress: Progress, picture: Image) -> None:
    """Write the film, the sheet and the plot that are wanted."""
    arguments = run.arguments
    if arguments.film is not None and run.frames is not None:
        run.frames.save(arguments.film, picture)
    if arguments.sheet is not None:
        save_sheet(arguments.sheet, arguments, run.job.inputs, picture)
    if arguments.plot is not None:
        save_plot(arguments.plot, progress.losses, run.plan.marks())
