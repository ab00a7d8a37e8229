"""What ``jaxstyle optimize`` compiles: optimizer, loss and steps of one scale."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh
from jax.stages import Compiled
from jax.typing import ArrayLike

from jaxstyle.images.arrays import Image
from jaxstyle.losses.objective import Execution, Objective
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.optimizers import OPTIMIZERS
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import change_scale
from jaxstyle.optimize.scenes import Scene
from jaxstyle.optimize.steps import KEEPERS, Keeper
from jaxstyle.scaling.sharding import (
    Layout,
    make_layout,
    replicated,
    sharded_first_axis,
)
from jaxstyle.vgg import network
from jaxstyle.vgg import params as vgg_params

CAPACITY = 50
"""The most steps that the device makes in one call."""


class CompileOptions(NamedTuple):
    """What a program is compiled for: functions and names, no arrays."""

    optimizer: optax.GradientTransformationExtraArgs
    keeper: Keeper
    objective: Objective
    execution: Execution


def make_compile_options(
    config: OptimizeConfig, *, mesh: Mesh | None = None, tile: int | None = None
) -> CompileOptions:
    """Choose what is compiled.

    Args:
        config: the settings.
        mesh: the devices that share the rows of the picture.
        tile: the side of the tiles that are computed one after the other, in pixels.

    Raises:
        ValueError: the optimizer has no learning rate, or no history.
    """
    execution = Execution(precision=config.precision, mesh=mesh, tile=tile)
    optimizer, keeper = make_optimizer(config, mesh), KEEPERS[config.keep]()
    return CompileOptions(optimizer, keeper, config.loss.objective(), execution)


def make_optimizer(
    config: OptimizeConfig, mesh: Mesh | None = None
) -> optax.GradientTransformationExtraArgs:
    """Make the optimizer; devices of a mesh share the rows of what L-BFGS remembers.

    Raises:
        ValueError: the optimizer has no learning rate, or no history.
    """
    options: dict[str, dict[str, Any]] = {
        "adam": {"learning_rate": config.learning_rate},
        "lbfgs": {"memory_size": config.history, "mesh": mesh},
    }
    chosen = config.optimizer
    if config.learning_rate is not None and chosen != "adam":
        raise ValueError(f"--learning-rate is for adam only, not for {chosen}")
    if config.history is not None and chosen != "lbfgs":
        raise ValueError(f"--history is for lbfgs only, not for {chosen}")
    given = {name: value for name, value in options[chosen].items() if value}
    return OPTIMIZERS[chosen](**given)


def prepare(params: network.VGGParams, mesh: Mesh | None = None) -> network.VGGParams:
    """Put a network's parameters on the device, in the form that suits it.

    With a mesh, each of its devices gets the whole network.
    """
    if mesh is None and jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    where = None if mesh is None else replicated(mesh)
    prepared: network.VGGParams = jax.device_put(params, where)
    return prepared


# --- one scale ----------------------------------------------------------------------


class Scale(NamedTuple):
    """A scale of a picture, as far as it is known before anything is compiled.

    Attributes:
        scene: the shapes of what the picture is made from.
        layout: where its images lie between programs.
        init: ``init(image) -> state``, the state before the first step.
        state: the shapes of the state.
    """

    scene: Scene
    layout: Layout
    init: Callable[[Image], steps.State]
    state: steps.State


def make_scale(options: CompileOptions, scene: Scene) -> Scale:
    """Make a scale from the shapes of its scene."""
    layout = make_layout(scene.content.shape[0], options.execution.mesh)

    def init(image: Image) -> steps.State:
        state = steps.init_state(image, options.optimizer, keeper=options.keeper)
        return layout.shard(state)

    state: steps.State = jax.eval_shape(init, scene.content)
    jitted = jax.jit(init, out_shardings=layout.shardings(state))
    return Scale(scene, layout, jitted, state)


def compile_steps(options: CompileOptions, scale: Scale, problem: Problem) -> Compiled:
    """Compile ``run_steps(state, problem, count)``; see `ScaleProgram`."""
    layout = scale.layout
    step = steps.make_step(
        options.optimizer, keeper=options.keeper, execution=options.execution
    )

    def run_steps(
        state: steps.State, problem: Problem, count: ArrayLike
    ) -> tuple[steps.State, Metrics]:
        whole = layout.unshard(state)
        state, metrics = steps.run_steps(step, whole, problem, count, capacity=CAPACITY)
        return layout.shard(state), metrics

    of_state = layout.shardings(scale.state)
    jitted = jax.jit(
        run_steps,
        donate_argnums=0,
        in_shardings=(of_state, problem_shardings(layout, problem), None),
        out_shardings=(of_state, None),
    )
    return jitted.lower(scale.state, problem, 1).compile()


def problem_shardings(layout: Layout, problem: Problem) -> Problem | None:
    """Shard the content targets by rows, and replicate the rest."""
    if (mesh := layout.mesh) is None:
        return None
    places: Problem = jax.tree.map(lambda _: replicated(mesh), problem)
    rows = sharded_first_axis(mesh)
    content = jax.tree.map(lambda _: rows, problem.targets.content)
    return places._replace(targets=replace(places.targets, content=content))


def compile_enter(
    options: CompileOptions, before: Scale, after: Scale, *, detailed: bool
) -> Callable[[steps.State, Image], steps.State]:
    """Compile ``enter(state, content) -> state``, from one scale to the next.

    Args:
        options: what to compile for.
        before: the scale of the state.
        after: the scale of the content.
        detailed: whether the details of the content come in, which the scale before
            cannot hold.
    """
    content = after.scene.content
    height, width, _ = content.shape

    def change(state: steps.State, detail: Image | None) -> steps.State:
        changed = change_scale(
            before.layout.unshard(state),
            (height, width),
            options.optimizer,
            keeper=options.keeper,
            detail=detail,
        )
        return after.layout.shard(changed)

    jitted = jax.jit(
        change,
        in_shardings=(before.layout.shardings(before.state), None),
        out_shardings=after.layout.shardings(after.state),
    )
    compiled = jitted.lower(before.state, content if detailed else None).compile()

    def enter(state: steps.State, content: Image) -> steps.State:
        entered: steps.State = compiled(state, content if detailed else None)
        return entered

    return enter
