"""What the pictures of one call of ``jaxstyle optimize`` share, and what each has."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from jaxstyle.commands.optimize_inputs import Inputs
from jaxstyle.commands.optimize_outputs import Frames, unfinished
from jaxstyle.commands.optimize_programs import Program
from jaxstyle.commands.optimize_settings import Method, make_weights
from jaxstyle.commands.optimize_steps import Plan
from jaxstyle.commands.runtime import versions
from jaxstyle.presets import Preset

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
