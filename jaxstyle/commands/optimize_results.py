"""What comes of a run of ``jaxstyle optimize``, on the way and at its end."""

import shutil
import sys
from typing import NamedTuple

import numpy as np

from jaxstyle.checkpoints import find_checkpoints
from jaxstyle.commands.optimize_job import Run
from jaxstyle.commands.optimize_outputs import (
    in_color,
    in_masks,
    numbered,
    save_picture,
    save_plot,
    save_sheet,
)
from jaxstyle.commands.optimize_steps import Progress, measure
from jaxstyle.gatys import kept_picture
from jaxstyle.images import Image


class Outcome(NamedTuple):
    """The picture of a run, and its exit code."""

    picture: Image
    code: int


def make_picture(run: Run, progress: Progress) -> Image:
    """Return the picture so far, in [0, 1], with what is to stay of the photo."""
    kept = kept_picture(progress.state, run.job.method.keeper)
    picture = in_masks(kept, run.job.inputs.scene)
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
