"""What ``jaxstyle optimize`` compiles, once for each scale."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
from jax.typing import ArrayLike

from jaxstyle import gatys, pyramid, vgg
from jaxstyle.commands.optimize_inputs import Inputs
from jaxstyle.commands.optimize_settings import Method
from jaxstyle.images import Image
from jaxstyle.memory import check_memory
from jaxstyle.objective import StyleWeights, Weights
from jaxstyle.perceptual import Metrics, Problem
from jaxstyle.scenes import Scene, make_scene_targets, resize_scene

CAPACITY = 50
"""The most steps that are made without a word from the device."""

Run = Callable[[gatys.State, Problem, ArrayLike], tuple[gatys.State, Metrics]]


class Program(NamedTuple):
    """What makes the steps of one scale.

    Attributes:
        init: ``init(image) -> state``, before the first step from an image.
        enter: ``enter(state) -> state``, from the last state of the scale before.
        make_problem: ``make_problem(weights)``, what is minimised.
        run_steps: ``run_steps(state, problem, count) -> (state, metrics)``, which
            reuses the memory of the state.
    """

    init: Callable[[Image], gatys.State]
    enter: Callable[[gatys.State], gatys.State]
    make_problem: Callable[[Weights], Problem]
    run_steps: Run


def make_compile(
    inputs: Inputs,
    method: Method,
    weights: Weights,
    *,
    blend: StyleWeights | None,
) -> Callable[[int], Program]:
    """Return what compiles the program of a scale when it is first asked for it.

    Only the layers of the weights matter, so that one program serves a sweep.
    """
    params = inputs.params
    if jax.default_backend() == "cpu":
        params = jax.jit(vgg.prepare_for_cpu)(params)
    params = jax.device_put(params)
    optimizer, keeper, objective = method
    step = gatys.make_step(optimizer, keeper=keeper)
    run_steps = jax.jit(
        partial(gatys.run_steps, step, capacity=CAPACITY), donate_argnums=0
    )

    @cache
    def compile_scale(index: int) -> Program:
        make_targets = partial(
            make_scene_targets, style_weights=blend, objective=objective
        )
        scene = resize(inputs, index)
        height, width, _ = scene.content.shape
        init = make_init(method)
        change_scale = jax.jit(
            partial(
                pyramid.change_scale,
                size=(height, width),
                optimizer=optimizer,
                keeper=keeper,
            )
        )
        detail = scene.content if inputs.from_content else None
        enter = partial(change_scale, detail=detail)
        shapes = jax.eval_shape(init, scene.content)
        targets = jax.eval_shape(make_targets, params, scene, weights)
        problem = Problem(params, targets, weights)
        compiled = run_steps.lower(shapes, problem, 1).compile()
        check_memory(compiled)  # before anything as large is computed
        make_problem = partial(
            Problem, params, jax.jit(make_targets)(params, scene, weights)
        )
        return Program(init, enter, make_problem, compiled)

    return compile_scale


@cache
def make_init(method: Method) -> Callable[[Image], gatys.State]:
    """Return what makes of an image the state before the first step."""
    optimizer, keeper, _ = method
    return jax.jit(partial(gatys.init_state, optimizer=optimizer, keeper=keeper))


def resize(inputs: Inputs, index: int) -> Scene:
    """Return the scene of a scale."""
    longest, style_scale = inputs.sizes[index], inputs.style_scale
    resize = partial(resize_scene, longest=longest, style_scale=style_scale)
    scene: Scene = jax.jit(resize)(inputs.scene)
    return scene


def state_shapes(inputs: Inputs, method: Method, index: int) -> gatys.State:
    """Return the shapes of the states of a scale."""
    scene = jax.eval_shape(lambda: resize(inputs, index))
    shapes: gatys.State = jax.eval_shape(make_init(method), scene.content)
    return shapes
