"""What ``jaxstyle optimize`` compiles, once for each scale and number of lanes."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool

from jaxstyle import gatys, pyramid, vgg
from jaxstyle.commands.optimize_inputs import Inputs
from jaxstyle.commands.optimize_lanes import (
    map_distinct,
    over_lanes,
    stack,
    stack_shapes,
)
from jaxstyle.commands.optimize_settings import Method
from jaxstyle.images import Image
from jaxstyle.memory import check_memory, needed_memory
from jaxstyle.objective import StyleWeights, Weights
from jaxstyle.perceptual import Metrics, Problem
from jaxstyle.scenes import Scene, make_scene_targets, resize_scene

CAPACITY = 50
"""The most steps that are made without a word from the device."""


class Program(NamedTuple):
    """What makes the steps of one scale, for the lanes that it is compiled for.

    Attributes:
        init: ``init(image) -> state``, before the first step from an image.
        enter: ``enter(state, scenes) -> state``, from the last state of the scale
            before; there is a scene for each lane.
        make_problem: ``make_problem(scenes, weights)``, what is minimised.
        run_steps: ``run_steps(state, problem, count) -> (state, metrics)``, which
            reuses the memory of the state; the count is that of `count_steps`.
        needed: the bytes of memory that it takes beside its arguments.
    """

    init: Callable[[Image], gatys.State]
    enter: Callable[[gatys.State, Sequence[Scene]], gatys.State]
    make_problem: Callable[[Sequence[Scene], Weights], Problem]
    run_steps: Callable[[gatys.State, Problem, ArrayLike], tuple[gatys.State, Metrics]]
    needed: int


Compile: TypeAlias = Callable[[int, int], Program]
"""Returns the program of a scale, by its number, for a number of lanes."""


def prepare(params: vgg.Params) -> vgg.Params:
    """Return a network's parameters on the device, in the form that suits it."""
    if jax.default_backend() == "cpu":
        params = jax.jit(vgg.prepare_for_cpu)(params)
    prepared: vgg.Params = jax.device_put(params)
    return prepared


def make_compile(
    inputs: Inputs,
    method: Method,
    params: vgg.Params,
    weights: Weights,
    *,
    blend: StyleWeights | None,
) -> Compile:
    """Return what compiles the program of a scale when it is first asked for it.

    Args:
        inputs: like those of the pictures to make: only their sizes matter.
        method: what to compile for.
        params: the network, from `prepare`.
        weights: like those of the pictures: only their layers matter.
        blend: how much each of several styles counts.
    """
    make_targets = jax.jit(
        partial(make_scene_targets, style_weights=blend, objective=method.objective)
    )

    def make_problem(scenes: Sequence[Scene], of_lanes: Weights) -> Problem:
        targets = map_distinct(
            lambda scene: make_targets(params, scene, weights), scenes
        )
        return Problem(params, stack(targets), of_lanes)

    @cache
    def compile_scale(index: int, lanes: int) -> Program:
        scene = jax.eval_shape(lambda: resize(inputs, index))
        state = state_shapes(inputs, method, index, lanes)
        of_one = jax.eval_shape(make_targets, params, scene, weights), weights
        problem = Problem(params, *stack_shapes(of_one, lanes))
        run_steps = compile_steps(method, state, problem, lanes)
        enter = make_enter(inputs, method, index, lanes)
        init, needed = make_init(method, lanes), needed_memory(run_steps)
        return Program(init, enter, make_problem, run_steps, needed)

    return compile_scale


def compile_steps(
    method: Method, state: gatys.State, problem: Problem, lanes: int
) -> Any:
    """Compile the steps of a scale; a TooLargeError if memory does not suffice.

    That is known before anything as large is computed. Of several lanes, which are to
    fill the memory, the states count as well, twice since the last loss is measured by
    new ones, and the targets.
    """
    step = gatys.make_step(method.optimizer, keeper=method.keeper)
    run_steps = over_lanes(
        partial(gatys.run_steps, step, capacity=CAPACITY),
        lanes,
        in_axes=(0, Problem(None, 0, 0), 0),  # type: ignore[arg-type]
    )
    count = count_steps(1, np.ones(lanes, bool))
    lowered = jax.jit(run_steps, donate_argnums=0).lower(state, problem, count)
    program = lowered.compile()
    coming = (state, state, problem.targets) if lanes > 1 else ()
    check_memory(program, coming=coming)
    return program


def count_steps(count: int, going: Bool[np.ndarray, " lanes"]) -> ArrayLike:
    """Return how many steps each lane is to make: none where it does not go on."""
    return count if len(going) == 1 else np.where(going, count, 0).astype(np.int32)


def make_enter(
    inputs: Inputs, method: Method, index: int, lanes: int
) -> Callable[[gatys.State, Sequence[Scene]], gatys.State]:
    """Return what makes of the last state of a scale the first of the next one."""
    optimizer, keeper, _ = method
    height, width, _ = jax.eval_shape(lambda: resize(inputs, index)).content.shape
    change_scale = partial(
        pyramid.change_scale,
        size=(height, width),
        optimizer=optimizer,
        keeper=keeper,
    )
    change_scales = jax.jit(over_lanes(change_scale, lanes))

    def enter(state: gatys.State, scenes: Sequence[Scene]) -> gatys.State:
        contents = [scene.content for scene in scenes]
        detail = stack(contents) if inputs.from_content else None
        entered: gatys.State = change_scales(state, detail=detail)
        return entered

    return enter


@cache
def make_init(method: Method, lanes: int) -> Callable[[Image], gatys.State]:
    """Return what makes of an image in each lane the state before the first step."""
    optimizer, keeper, _ = method
    init = partial(gatys.init_state, optimizer=optimizer, keeper=keeper)
    return jax.jit(over_lanes(init, lanes))


def resize(inputs: Inputs, index: int) -> Scene:
    """Return the scene of a scale."""
    longest, style_scale = inputs.sizes[index], inputs.style_scale
    scene: Scene = _resize(inputs.scene, longest, style_scale=style_scale)
    return scene


_resize = jax.jit(resize_scene, static_argnames=("longest", "style_scale"))


def state_shapes(inputs: Inputs, method: Method, index: int, lanes: int) -> gatys.State:
    """Return the shapes of the states of a scale."""
    scene = jax.eval_shape(lambda: resize(inputs, index))
    content = stack_shapes(scene.content, lanes)
    shapes: gatys.State = jax.eval_shape(make_init(method, lanes), content)
    return shapes
