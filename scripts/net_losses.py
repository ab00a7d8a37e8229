"""The loss of a trained net on a photo, and what optimization reaches instead."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from defects import Picture
from jaxtyping import Float, UInt8
from trained_nets import Net

import jaxstyle
from jaxstyle.losses import LossConfig, Problem, Targets, Weights, make_targets
from jaxstyle.optimize import init_state, keep_best, lbfgs, make_step
from jaxstyle.training import evaluate


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
        self.evaluate = jax.jit(evaluate)
        self.stylize = jax.jit(jaxstyle.stylize)
        self.add_content = jax.jit(add_content)
        self.start = jax.jit(partial(init_state, optimizer=optimizer))
        self.step = jax.jit(make_step(optimizer))


def add_content(problem: Problem, photo: jax.Array) -> Targets:
    """Return the targets of a problem, with those of a photo."""
    objective, weights = problem.targets.objective, problem.weights
    content = make_targets(
        problem.params,
        photo,
        (),
        Weights(content=weights.content, style={}),
        objective=objective,
    ).content
    return replace(problem.targets, content=content)


def make_problem(net: Net) -> Problem:
    """Return the problem that the training of a net was to solve."""
    loss, size = net.settings.loss, net.settings.style_size
    params = load_params(loss)
    styles = [jaxstyle.load_image(path, longest_side=size) for path in net.paintings]
    make = partial(
        jaxstyle.training.make_problem,
        style_weights=loss.blend,
        objective=loss.objective(),
    )
    problem: Problem = jax.jit(make)(params, styles, loss.weights())
    return problem


def load_params(loss: LossConfig) -> dict[str, Any]:
    """Load the network that a loss compares by, normalized, prepared for the device."""
    layers = (*loss.content, *loss.style)
    params = jaxstyle.vgg.truncate(jaxstyle.load_vgg(loss.vgg), layers)
    if loss.activations != "raw":
        params = jaxstyle.vgg.normalize(params, per=loss.activations)
    if jax.default_backend() == "cpu":
        params = jax.jit(jaxstyle.vgg.prepare_for_cpu)(params)
    return dict(params)


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
    problem = problem._replace(targets=programs.add_content(problem, photo))
    state, history = programs.start(photo), []
    for _ in range(iterations):  # inside a program the CPU would take twice as long
        state, metrics = programs.step(state, problem)
        history.append(metrics)
    losses = jax.tree.map(lambda *values: np.array(values), *jax.device_get(history))
    return losses, np.clip(keep_best().picture(state.kept), 0, 1)
