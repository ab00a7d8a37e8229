"""What the pictures of ``jaxstyle optimize`` share, and what each of them has."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.cli.optimize.lanes import stack
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.optimize_settings import Method
from jaxstyle.cli.optimize.picture_outputs import Frames
from jaxstyle.cli.optimize.scale_programs import Programs, make_programs
from jaxstyle.cli.optimize.scale_steps import Plan
from jaxstyle.cli.optimize.scene_inputs import Inputs, load_inputs, read_image
from jaxstyle.cli.options import describe_config, describe_options
from jaxstyle.cli.runtime import versions
from jaxstyle.losses.objective import Weights
from jaxstyle.optimize.pyramid import split_steps
from jaxstyle.vgg import network

CHECKPOINTS = "checkpoints"
"""Where they are, in the folder of what is unfinished."""


class Job(NamedTuple):
    """What all pictures of one size share.

    Attributes:
        method: what is compiled for.
        ends: the number of steps after which each scale is over.
        programs: what makes the steps of each scale.
    """

    method: Method
    ends: tuple[int, ...]
    programs: Programs


class Picture(NamedTuple):
    """What one picture is made from, and where it goes to.

    Attributes:
        arguments: those of the command, as if it made this picture alone.
        inputs: what was read from files.
        weights: of the loss.
        record: what is to be known about the picture: arguments, settings, versions.
    """

    arguments: OptimizeOptions
    inputs: Inputs
    weights: Weights
    record: Mapping[str, Any]


class Run(NamedTuple):
    """What stays the same while pictures are made, one or several side by side.

    Attributes:
        arguments: those of the command.
        pictures: one for each lane.
        job: what they share.
        plan: the steps.
        frames: those of a film, if one is wanted.
        unfinished: a folder that is there until the pictures are complete.
        configuration: all that shapes the numbers, for checkpoints.
    """

    arguments: OptimizeOptions
    pictures: Sequence[Picture]
    job: Job
    plan: Plan
    frames: Frames | None
    unfinished: Path
    configuration: Mapping[str, Any]

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.unfinished / CHECKPOINTS


def make_job(
    arguments: OptimizeOptions,
    method: Method,
    inputs: Inputs,
    params: network.Params,
) -> Job:
    """Get ready to compile for pictures of the sizes of some inputs.

    Args:
        arguments: of the command.
        method: what to compile for.
        inputs: of one of them.
        params: the network on the device.
    """
    config = arguments.config
    counts = split_steps(config.steps, len(inputs.sizes), finest=config.finest)
    ends = tuple(int(end) for end in np.cumsum(counts))
    programs = make_programs(
        inputs,
        method,
        params,
        config.weights(),
        ends=ends,
        blend=config.loss.blend,
    )
    return Job(method, ends, programs)


def load_pictures(
    variants: Sequence[OptimizeOptions], params: network.Params
) -> list[Picture]:
    """Read what each picture is made from; no file is read twice for the same.

    Args:
        variants: the arguments of each picture.
        params: the network, which says how small an image may be.
    """
    read, loaded = cache(read_image), {}
    pictures = []
    for variant in variants:
        key = variant.content, *variant.styles, variant.seed
        if key not in loaded:
            loaded[key] = load_inputs(variant, params, read=read)
        pictures.append(make_picture(variant, loaded[key]))
    return pictures


def make_picture(arguments: OptimizeOptions, inputs: Inputs) -> Picture:
    """Put together what one picture is made from."""
    weights = arguments.config.weights()
    record = {"arguments": describe_options(arguments), **describe(arguments)}
    return Picture(arguments, inputs, weights, record)


def describe(arguments: OptimizeOptions) -> dict[str, Any]:
    """Record what shapes the numbers, except the images and the network."""
    return {"settings": describe_config(arguments.config), **versions()}


def make_run(
    arguments: OptimizeOptions,
    pictures: Sequence[Picture],
    job: Job,
    *,
    folder: Path,
    configuration: Mapping[str, Any],
) -> Run:
    """Put together what the making of pictures side by side needs.

    Args:
        arguments: of the command.
        pictures: of the job's sizes; of several no film can be made.
        job: what they share.
        folder: for what is there until they are complete.
        configuration: what checkpoints must have been made with.
    """
    steps, frames = job.ends[-1], None
    intervals = [arguments.save_every or steps]
    if arguments.film is not None:
        frames = Frames(folder / "frames", steps=steps)
        intervals.append(frames.every)
    plan = Plan(
        job.method,
        job.programs,
        [picture.inputs for picture in pictures],
        job.ends,
        stack([picture.weights for picture in pictures]),
        intervals,
    )
    return Run(arguments, pictures, job, plan, frames, folder, configuration)
