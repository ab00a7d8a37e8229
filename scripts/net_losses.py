"""The loss of a trained net on a photo, and what optimization reaches instead."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from defects import Picture
from jaxtyping import Float, UInt8
from trained_nets import Net

from jaxstyle.cli.settings import load_params, load_styles
from jaxstyle.cli.train import training_programs
from jaxstyle.images.arrays import Image
from jaxstyle.losses.perceptual import Problem
from jaxstyle.losses.targets import content_targets
from jaxstyle.nets import transform_net
from jaxstyle.optimize import steps
from jaxstyle.optimize.optimizers import lbfgs
from jaxstyle.optimize.steps import BEST
from jaxstyle.training import loop


class Pictures(NamedTuple):
    """A photo, and what becomes of it in two ways; all in [0, 1]."""

    photo: Picture
    net: Picture
    optimized: Picture


class Comparison(NamedTuple):
    """What was found on one photo.

    Attributes:
        net: the net's loss and its parts, by name.
        optimized: those of the optimization, at every iteration.
        pictures: what both have made.
    """

    net: dict[str, float]
    optimized: dict[str, Float[np.ndarray, " iterations"]]
    pictures: Pictures


class Programs:
    """What is compiled, once for all nets that are alike."""

    def __init__(self) -> None:
        optimizer = lbfgs()
        self.evaluate = jax.jit(loop.evaluate)
        self.stylize = jax.jit(transform_net.stylize)
        self.find_content = jax.jit(find_content)
        self.start = jax.jit(partial(steps.init_state, optimizer=optimizer))
        self.step = jax.jit(steps.make_step(optimizer))


def find_content(problem: Problem, photo: Image) -> dict[str, jax.Array]:
    """Return the content targets of a photo."""
    return content_targets(
        problem.params, photo, problem.weights, objective=problem.targets.objective
    )


def make_problem(net: Net) -> Problem:
    """Return the problem that the training of a net was to solve."""
    settings = net.settings
    params = load_params(settings.loss)
    paintings = [str(path) for path in net.paintings]
    styles = load_styles(paintings, settings.style_size, params)
    return training_programs.make_problem(settings.loss, params, styles)


def compare(
    programs: Programs,
    net: Net,
    problem: Problem,
    photo: UInt8[np.ndarray, "size size 3"],
    *,
    iterations: int,
) -> Comparison:
    """Measure a net on a photo, and optimize the same from there."""
    image = photo / np.float32(255)
    measured = programs.evaluate(net.params, photo[None], problem)
    stylized = np.clip(programs.stylize(net.params, image), 0, 1)
    losses, best = optimize(programs, problem, image, iterations=iterations)
    return Comparison(
        {name: float(value) for name, value in measured.items()},
        losses,
        Pictures(image, stylized, best),
    )


def optimize(
    programs: Programs, problem: Problem, photo: Picture, *, iterations: int
) -> tuple[dict[str, Float[np.ndarray, " iterations"]], Picture]:
    """Optimize the pixels of a photo.

    Returns:
        The loss and its parts at every iteration, and the picture with the lowest loss.
    """
    content = programs.find_content(problem, photo)
    targets = replace(problem.targets, content=content)
    problem = problem._replace(targets=targets)
    state, history = programs.start(photo), []
    for _ in range(iterations):  # inside a program the CPU would take twice as long
        state, metrics = programs.step(state, problem)
        history.append(metrics)
    losses = jax.tree.map(lambda *values: np.array(values), *jax.device_get(history))
    return losses, np.asarray(steps.kept_picture(state, BEST))
