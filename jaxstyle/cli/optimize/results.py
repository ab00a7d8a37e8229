"""What comes of a run of ``jaxstyle optimize``, on the way and at its end."""

import shutil
import sys
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from jaxstyle.cli.optimize.job import Run
from jaxstyle.cli.optimize.lanes import split
from jaxstyle.cli.optimize.picture_outputs import (
    in_color,
    in_masks,
    numbered,
    save_picture,
    save_plot,
    save_sheet,
)
from jaxstyle.cli.optimize.scale_steps import Progress, kept_pictures, measure
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.images.arrays import Image

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""The exit codes."""

Lanes: TypeAlias = Bool[np.ndarray, " lanes"]
"""Some of the lanes."""


def make_images(run: Run, progress: Progress) -> list[Image]:
    """Return the pictures so far, in [0, 1], with what is to stay of the photos."""
    kept = split(kept_pictures(run.plan, progress), len(run.pictures))
    images = []
    for picture, image in zip(run.pictures, kept, strict=True):
        image = in_masks(jnp.asarray(image), picture.inputs.scene)
        if picture.arguments.config.preserve_color:
            image = in_color(image, picture.inputs.photo)
        images.append(image)
    return images


def attend(run: Run, progress: Progress) -> None:
    """Write what is due after a step but the last: pictures, a frame."""
    step, last, every = progress.step, run.plan.ends[-1], run.arguments.save_every
    if step == last or progress.failed.all():
        return
    if every is not None and step % every == 0:
        images = make_images(run, progress)
        for lane in np.flatnonzero(~progress.failed).tolist():
            picture, loss = run.pictures[lane], float(progress.last[lane])
            path = numbered(picture.arguments.output, step)
            result = {"steps": step, "loss": loss}
            save_picture(images[lane], path, picture.record, result)
    if run.frames is not None and step % run.frames.every == 0:
        run.frames.add(step, make_images(run, progress)[0])


def fail(run: Run, progress: Progress, lost: Lanes) -> None:
    """Write the pictures of lanes whose loss has just ceased to be finite; say so."""
    made = lost & np.isfinite(progress.losses[:, 0])
    if made.any():
        copy = jax.tree.map(jnp.copy, progress.state)  # others may go on
        save(run, progress._replace(state=copy), made)
    for lane in np.flatnonzero(lost).tolist():
        output, step = run.pictures[lane].arguments.output, progress.steps[lane]
        what = "is the best picture before it" if made[lane] else "is not written"
        tqdm.write(
            f"jaxstyle optimize: error: the loss is not finite at step {step}; "
            f"{output} {what}",
            file=sys.stderr,
        )


def finish(run: Run, progress: Progress) -> list[int]:
    """Write what a run has come to, and say so; return an exit code for each lane."""
    step, last, failed = progress.step, run.plan.ends[-1], progress.failed
    if failed.all():
        shutil.rmtree(run.unfinished, ignore_errors=True)  # it would end there again
        return [FAILED] * len(failed)
    images, losses = save(run, progress, ~failed)
    save_more(run, progress, images[0])
    for lane in np.flatnonzero(~failed).tolist():
        output = run.pictures[lane].arguments.output
        print(f"{output}: {step} steps, loss {losses[lane]:.5g}")
    if step < last:
        more = "; --resume goes on" if find_checkpoints(run.checkpoints) else ""
        print(f"interrupted after step {step} of {last}{more}", file=sys.stderr)
    else:
        shutil.rmtree(run.unfinished, ignore_errors=True)
    code = INTERRUPTED if step < last else DONE
    return [FAILED if lost else code for lost in failed]


def save(
    run: Run, progress: Progress, lanes: Lanes
) -> tuple[list[Image], Float[np.ndarray, " lanes"]]:
    """Write the pictures of some lanes; return the pictures and losses of all.

    The state is used up.
    """
    images, steps = make_images(run, progress), progress.steps.tolist()
    losses = measure(run.plan, progress)
    for lane in np.flatnonzero(lanes).tolist():
        picture = run.pictures[lane]
        result = {"steps": steps[lane], "loss": float(losses[lane])}
        path = picture.arguments.output
        save_picture(images[lane], path, picture.record, result)
    return images, losses


def save_more(run: Run, progress: Progress, image: Image) -> None:
    """Write the film, the sheet and the plot that are wanted of a single picture."""
    arguments = run.arguments
    if arguments.film is not None and run.frames is not None:
        run.frames.save(arguments.film, image)
    if arguments.sheet is not None:
        save_sheet(arguments.sheet, arguments, run.pictures[0].inputs, image)
    if arguments.plot is not None:
        save_plot(arguments.plot, progress.losses[0], run.plan.marks())
