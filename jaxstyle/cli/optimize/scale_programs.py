"""What ``jaxstyle optimize`` compiles, once for each scale and number of lanes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Bool

from jaxstyle.cli.ahead import Ahead
from jaxstyle.cli.optimize.lanes import map_distinct, over_lanes, stack, stack_shapes
from jaxstyle.cli.optimize.layout import Layout
from jaxstyle.cli.optimize.optimize_settings import Method
from jaxstyle.cli.optimize.scale_states import (
    find_scale,
    make_enter,
    make_layout,
    resize,
    state_shapes,
)
from jaxstyle.cli.optimize.scene_inputs import Inputs
from jaxstyle.losses.objective import StyleWeights, Weights
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.scenes import Scene, make_scene_targets
from jaxstyle.scaling.memory import check_memory, needed_memory, size_in_bytes
from jaxstyle.scaling.sharding import replicated
from jaxstyle.vgg import network
from jaxstyle.vgg import params as vgg_params

CAPACITY = 50
"""The most steps that are made without a word from the device."""


class Program(NamedTuple):
    """What makes the steps of one scale, for the lanes that it is compiled for.

    Attributes:
        layout: where its images lie.
        enter: ``enter(state, scenes) -> state``, from the last state of the scale
            before, if there is one; there is a scene for each lane.
        make_problem: ``make_problem(scenes, weights)``, what is minimized.
        run_steps: ``run_steps(state, problem, count) -> (state, metrics)``, which
            reuses the memory of the state; the count is that of `count_steps`.
        state: the shapes of the state.
        problem: those of the problem.
    """

    layout: Layout
    enter: Callable[[steps.State, Sequence[Scene]], steps.State] | None
    make_problem: Callable[[Sequence[Scene], Weights], Problem]
    run_steps: Any
    state: steps.State
    problem: Problem

    @property
    def needed(self) -> int:
        """The bytes that the scale takes on each device, beside images and network."""
        arrays = size_in_bytes((self.state, self.problem.targets))
        return needed_memory(self.run_steps) + arrays // self.layout.devices

    def check(self, *, states: int) -> None:
        """Raise a TooLargeError if memory does not suffice.

        That is known before anything as large is computed.

        Args:
            states: how many states like its own are still to come.
        """
        coming = (self.problem.targets, [self.state] * states)
        check_memory(self.run_steps, coming=coming, devices=self.layout.devices)


Programs: TypeAlias = Ahead[tuple[int, int], Program]
"""Programs by the number of a scale and how many lanes there are."""


def prepare(params: network.Params, mesh: Mesh | None = None) -> network.Params:
    """Return a network's parameters on the device, in the form that suits it.

    Args:
        params: the network.
        mesh: the devices that divide the rows of images, if there are several; each
            then has the whole network.
    """
    if mesh is None and jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    where = None if mesh is None else replicated(mesh)
    prepared: network.Params = jax.device_put(params, where)
    return prepared


def make_programs(
    inputs: Inputs,
    method: Method,
    params: network.Params,
    weights: Weights,
    *,
    ends: Sequence[int],
    blend: StyleWeights | None,
) -> Programs:
    """Return the programs, each compiled when it is first asked for, or before.

    Args:
        inputs: like those of the pictures to make: only their sizes matter.
        method: what to compile for.
        params: the network, from `prepare`.
        weights: like those of the pictures: only their layers matter.
        ends: the number of steps after which each scale is over.
        blend: how much each of several styles counts.
    """
    make_targets = jax.jit(
        partial(
            make_scene_targets,
            style_weights=blend,
            objective=method.objective,
            execution=method.execution,
        )
    )

    def compile_scale(key: tuple[int, int]) -> Program:
        index, lanes = key
        layout = make_layout(inputs, method, index)
        scene = jax.eval_shape(lambda: resize(inputs, index))
        targets_of = make_targets.lower(params, scene, weights).compile()

        def make_problem(scenes: Sequence[Scene], of_lanes: Weights) -> Problem:
            targets = map_distinct(
                lambda scene: targets_of(params, scene, weights), scenes
            )
            return layout.put_problem(Problem(params, stack(targets), of_lanes))

        state = state_shapes(inputs, method, layout, index, lanes)
        of_one = jax.eval_shape(make_targets, params, scene, weights), weights
        problem = Problem(params, *stack_shapes(of_one, lanes))
        run_steps = compile_steps(method, layout, state, problem, lanes)
        enter = None
        if index > 0:
            before = find_scale(ends, ends[index - 1])
            enter = make_enter(inputs, method, before, index, lanes)
        return Program(layout, enter, make_problem, run_steps, state, problem)

    return Ahead(compile_scale)


def compile_steps(
    method: Method, layout: Layout, state: steps.State, problem: Problem, lanes: int
) -> Any:
    """Compile the steps of a scale."""
    step = steps.make_step(
        method.optimizer, keeper=method.keeper, execution=method.execution
    )
    of_lanes = over_lanes(
        partial(steps.run_steps, step, capacity=CAPACITY),
        lanes,
        in_axes=(0, Problem(None, 0, 0), 0),  # type: ignore[arg-type]
    )

    def run_steps(
        state: steps.State, problem: Problem, count: ArrayLike
    ) -> tuple[steps.State, Metrics]:
        state, metrics = of_lanes(layout.join(state), problem, count)
        return layout.divide(state), metrics

    of_state = layout.of_images(state)
    jitted = jax.jit(
        run_steps,
        donate_argnums=0,
        in_shardings=(of_state, layout.of_problem(problem), None),
        out_shardings=(of_state, None),
    )
    count = count_steps(1, np.ones(lanes, bool))
    return jitted.lower(state, problem, count).compile()


def count_steps(count: int, going: Bool[np.ndarray, " lanes"]) -> ArrayLike:
    """Return how many steps each lane is to make: none where it does not go on."""
    return count if len(going) == 1 else np.where(going, count, 0).astype(np.int32)
