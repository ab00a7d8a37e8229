"""The functions that ``jaxstyle optimize`` compiles: the same for equal settings.

JAX compiles anew for each function that is made, so none is made twice.
"""

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import optax
from jax.typing import ArrayLike

from jaxstyle.cli.strategies import Strategy
from jaxstyle.images.arrays import Image
from jaxstyle.losses.extractor import Execution
from jaxstyle.losses.objective import Objective, Weights
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.losses.targets import Targets, make_targets
from jaxstyle.optimize import steps
from jaxstyle.optimize.optimizers import KEEPERS, OPTIMIZERS, Keeper
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import change_scale
from jaxstyle.optimize.scenes import Scene
from jaxstyle.scaling import sharding
from jaxstyle.vgg import network

CAPACITY = 50
"""The most steps that the device makes in one call."""


class CompileOptions(NamedTuple):
    """The functions that programs are compiled from; no arrays."""

    optimizer: optax.GradientTransformationExtraArgs
    keeper: Keeper
    objective: Objective
    execution: Execution


def make_compile_options(config: OptimizeConfig, strategy: Strategy) -> CompileOptions:
    """Make the functions of a config; devices share the rows of L-BFGS's history.

    A ValueError says if the optimizer has no learning rate, or no history.
    """
    mesh, tile = strategy.mesh, strategy.tile
    options: dict[str, dict[str, Any]] = {
        "adam": {"learning_rate": config.learning_rate},
        "lbfgs": {"memory_size": config.history, "mesh": mesh},
    }
    chosen = config.optimizer
    if config.learning_rate is not None and chosen != "adam":
        raise ValueError(f"--learning-rate is for adam only, not for {chosen}")
    if config.history is not None and chosen != "lbfgs":
        raise ValueError(f"--history is for lbfgs only, not for {chosen}")
    given = tuple((name, value) for name, value in options[chosen].items() if value)
    execution = Execution(precision=config.precision, mesh=mesh, tile=tile)
    optimizer, keeper = _make_optimizer(chosen, given), _make_keeper(config.keep)
    return CompileOptions(optimizer, keeper, config.loss.objective(), execution)


@lru_cache
def _make_optimizer(
    name: str, options: tuple[tuple[str, Any], ...]
) -> optax.GradientTransformationExtraArgs:
    return OPTIMIZERS[name](**dict(options))


@lru_cache
def _make_keeper(name: str) -> Keeper:
    return KEEPERS[name]()


@lru_cache
def make_init(
    options: CompileOptions, layout: sharding.Layout
) -> Callable[[Image], steps.State]:
    """Make ``init(image) -> state``."""

    def init(image: Image) -> steps.State:
        state = steps.init_state(image, options.optimizer, keeper=options.keeper)
        return layout.shard(state)

    return init


@lru_cache
def make_run_steps(
    options: CompileOptions, layout: sharding.Layout
) -> Callable[[steps.State, Problem, ArrayLike], tuple[steps.State, Metrics]]:
    """Make ``run_steps(state, problem, count) -> (state, metrics)``."""
    step = steps.make_step(
        options.optimizer, keeper=options.keeper, execution=options.execution
    )

    def run_steps(
        state: steps.State, problem: Problem, count: ArrayLike
    ) -> tuple[steps.State, Metrics]:
        whole = layout.unshard(state)
        state, metrics = steps.run_steps(step, whole, problem, count, capacity=CAPACITY)
        return layout.shard(state), metrics

    return run_steps


@lru_cache
def make_enter(
    options: CompileOptions,
    before: sharding.Layout,
    after: sharding.Layout,
    size: tuple[int, int],
) -> Callable[[steps.State, Image | None], steps.State]:
    """Make ``enter(state, detail) -> state``, from a layout to a size's own."""

    def enter(state: steps.State, detail: Image | None) -> steps.State:
        changed = change_scale(
            before.unshard(state),
            size,
            options.optimizer,
            keeper=options.keeper,
            detail=detail,
        )
        return after.shard(changed)

    return enter


@lru_cache
def choose_targets(
    blend: str, objective: Objective, execution: Execution
) -> Callable[[network.VGGParams, Scene, Weights], Targets]:
    """Choose ``make_scene_targets(params, scene, weights)`` for a blend, as JSON."""
    make = partial(
        make_targets,
        style_weights=json.loads(blend),
        objective=objective,
        execution=execution,
    )

    def make_scene_targets(
        params: network.VGGParams, scene: Scene, weights: Weights
    ) -> Targets:
        return make(params, **scene._asdict(), weights=weights)

    return make_scene_targets
