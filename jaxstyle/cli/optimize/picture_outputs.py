"""A run of ``jaxstyle optimize``, and its files: pictures, film, sheet, plot."""

import shutil
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.programs import Programs
from jaxstyle.cli.optimize.scene_inputs import Inputs, describe, resize
from jaxstyle.cli.options import describe_options
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.figures import make_sheet, save_loss_plot
from jaxstyle.files.films import save_film
from jaxstyle.files.image_files import (
    load_image,
    save_image,
    to_8_bit,
    write_pixels,
)
from jaxstyle.images import color
from jaxstyle.images.arrays import Image, fit_size
from jaxstyle.losses.perceptual import Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.scenes import in_masks, resize_image

FILM_SIDE = 720
"""The most pixels on the longer side of a film."""

FRAMES = 120
"""About how many frames a film has."""

CHECKPOINTS = "checkpoints"
"""The name of their folder."""

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""The exit codes."""


class Progress(NamedTuple):
    """The state of a run after some steps, and the losses: NaN where still to come."""

    state: steps.State
    losses: Float[np.ndarray, " steps"]

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return int(self.state.step)

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        return float(self.losses[self.step - 1])

    @property
    def failed(self) -> bool:
        """Whether the loss of the last step is not finite."""
        return self.step > 0 and not np.isfinite(self.loss)


@dataclass(frozen=True)
class Run:
    """One picture to make, with the options that make it alone.

    Pictures of the same size share their programs. The folder is there until the
    picture is complete.
    """

    arguments: OptimizeOptions
    inputs: Inputs
    programs: Programs
    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    @property
    def configuration(self) -> dict[str, Any]:
        """All that shapes the numbers, for checkpoints."""
        return {**describe(self.arguments), "images and network": self.inputs.digest}

    @property
    def intervals(self) -> tuple[int, int]:
        """The numbers of steps from picture to picture, and from frame to frame."""
        frames = self.steps if self.arguments.film is None else self.steps // FRAMES
        return self.arguments.save_every or self.steps, max(1, frames)

    @property
    def steps(self) -> int:
        """The number of steps at all scales together."""
        return self.arguments.config.steps

    def problem(self, scale: int) -> Problem:
        """Compute the loss to minimize at a scale."""
        make_problem = self.programs.compiled[scale].make_problem
        return make_problem(resize(self.inputs, scale), self.arguments.config.weights())


def unfinished(path: str) -> Path:
    """Name the folder that is there until a picture is complete."""
    return Path(f"{path}.unfinished")


def numbered(path: str, step: int) -> Path:
    """Put a step's number before the suffix: ``out.00050.png``."""
    return Path(path).with_suffix(f".{step:05d}{Path(path).suffix}")


# --- results ------------------------------------------------------------------------


def run_scheduled(run: Run, progress: Progress, problem: Problem) -> None:
    """Write what is due after a step, except after the last: a picture, a frame."""
    step, (pictures, frames) = progress.step, run.intervals
    if step == run.steps:
        return
    if step % pictures == 0:
        path = numbered(run.arguments.output, step)
        scale = run.programs.scales[run.programs.find_scale(step)]
        loss = float(scale.measure(progress.state, problem))
        save_picture(make_picture(run, progress), path, run, steps=step, loss=loss)
    if step % frames == 0:
        add_frame(run, progress)


def save_preview(run: Run, progress: Progress) -> None:
    """Write the picture so far to where it can be watched, if that is requested."""
    if (path := run.arguments.preview) is not None:
        save_picture(make_picture(run, progress), path, run, steps=progress.step)


def finish(run: Run, progress: Progress) -> int:
    """Write the picture and all other files, and say so; return the exit code."""
    output, step = run.arguments.output, progress.step
    picture, loss = save(run, progress)
    save_others(run, progress, picture)
    print(f"{output}: {step} steps, loss {loss:.5g}")
    if step < run.steps:
        more = "; --resume goes on" if find_checkpoints(run.checkpoints) else ""
        print(f"interrupted after step {step} of {run.steps}{more}", file=sys.stderr)
        return INTERRUPTED
    shutil.rmtree(run.folder, ignore_errors=True)
    return DONE


def fail(run: Run, progress: Progress) -> int:
    """Write the best picture before a loss that is not finite; return the exit code."""
    output, step = run.arguments.output, progress.step
    shutil.rmtree(run.folder, ignore_errors=True)  # resumed, it would fail again
    what = "is not written"
    if np.isfinite(progress.losses[0]):
        save(run, progress)
        what = "is the best picture before it"
    print(
        f"jaxstyle optimize: error: the loss is not finite at step {step}; "
        f"{output} {what}",
        file=sys.stderr,
    )
    return FAILED


def save(run: Run, progress: Progress) -> tuple[Image, float]:
    """Write the picture; return it with its loss, computed by one more step from it.

    The state is used up: the step takes its memory.
    """
    picture, step = make_picture(run, progress), progress.step
    scale, keeper = run.programs.find_scale(step), run.programs.options.keeper
    kept = steps.kept_picture(progress.state, keeper)
    state = progress.state._replace(image=kept)
    run_steps = run.programs.compiled[scale].run_steps
    _, history = run_steps(state, run.problem(scale), 1)
    loss = float(np.asarray(history["loss"])[0])
    save_picture(picture, run.arguments.output, run, steps=step, loss=loss)
    return picture, loss


def save_picture(picture: Image, path: str | Path, run: Run, **result: float) -> None:
    """Write a picture with its settings and its result."""
    record = {
        "arguments": describe_options(run.arguments),
        **describe(run.arguments),
        "result": result,
    }
    opacity, (height, width, _) = run.inputs.opacity, picture.shape
    if opacity is not None:
        opacity = opacity.resize((width, height))
    write_pixels(to_8_bit(picture), path, settings=record, opacity=opacity)


def save_others(run: Run, progress: Progress, picture: Image) -> None:
    """Write the film, the sheet and the plot that are requested."""
    arguments = run.arguments
    if arguments.film is not None:
        save_frames(run, arguments.film, picture)
    if arguments.sheet is not None:
        save_sheet(arguments.sheet, run, picture)
    if arguments.plot is not None:
        (measured,) = np.nonzero(np.isfinite(progress.losses))
        spans = zip(run.programs.spans, run.inputs.sizes, strict=True)
        marks = {begin: f"{size} px" for (begin, end), size in spans if begin < end}
        losses = {"loss": (measured, progress.losses[measured])}
        save_loss_plot(losses, arguments.plot, marks=marks)


# --- pictures -----------------------------------------------------------------------


def make_picture(run: Run, progress: Progress) -> Image:
    """Make the picture so far, in [0, 1], with the photo's colors if preserved."""
    kept = jnp.asarray(run.programs.kept_picture(progress.state))
    picture = in_masks(kept, run.inputs.scene)
    if run.arguments.config.preserve_color:
        photo = resize_image(run.inputs.photo, picture.shape[:2])
        picture = color.keep_chroma(photo, picture)
    return picture


def save_sheet(path: str, run: Run, picture: Image) -> None:
    """Write photo, paintings and picture side by side, all as high as the picture."""
    arguments, height = run.arguments, picture.shape[0]
    paintings = [load_image(path) for path in arguments.styles]
    widths = [max(1, round(x.shape[1] * height / len(x))) for x in paintings]
    as_high = map(
        resize_image, map(jnp.asarray, paintings), ((height, w) for w in widths)
    )
    labels = [Path(path).stem for path in (arguments.content, *arguments.styles)]
    row = [np.asarray(image) for image in (run.inputs.photo, *as_high, picture)]
    save_image(make_sheet([row], column_labels=(*labels, "picture")), path)


# --- films --------------------------------------------------------------------------


def add_frame(run: Run, progress: Progress) -> None:
    """Keep the picture so far as a frame, in a file until the film is made."""
    frames = run.folder / "frames"
    frames.mkdir(parents=True, exist_ok=True)
    picture = make_picture(run, progress)
    frame = resize_image(picture, _frame_size(picture))
    save_image(frame, frames / f"{progress.step:06d}.png")


def save_frames(run: Run, path: str, last: Image) -> None:
    """Write the film of all frames, of which a last picture is the end."""
    files = sorted(run.folder.glob("frames/[0-9]*.png"))  # none that a kill cut short
    frames = (load_image(file) for file in files)
    save_film(chain(frames, [np.asarray(last)]), path, size=_frame_size(last))


def _frame_size(picture: Image) -> tuple[int, int]:
    """Compute the height and width of a picture as a frame."""
    longest = min(FILM_SIDE, max(picture.shape[:2]))
    return fit_size(picture.shape[:2], longest)
