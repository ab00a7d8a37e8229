"""The functions that ``jaxstyle optimize`` compiles.

What JAX traces has `CompileOptions` as its first argument, which is static: so equal
settings are traced once.
"""

import json
from functools import lru_cache
from typing import Any, NamedTuple

import optax
from jax.typing import ArrayLike

from jaxstyle.cli.strategies import Strategy
from jaxstyle.images.arrays import Image
from jaxstyle.losses import targets
from jaxstyle.losses.extractor import Execution
from jaxstyle.losses.objective import Objective, Weights
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.optimize import steps
from jaxstyle.optimize.optimizers import KEEPERS, OPTIMIZERS, Keeper
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import change_scale
from jaxstyle.optimize.scenes import Scene
from jaxstyle.scaling.sharding import Layout
from jaxstyle.vgg.layers import VGGParams

CAPACITY = 50
"""The most steps that the device makes in one call."""


class CompileOptions(NamedTuple):
    """What programs are compiled from, except shapes; equal for equal settings."""

    optimizer: optax.GradientTransformationExtraArgs
    keeper: Keeper
    objective: Objective
    execution: Execution


def make_compile_options(config: OptimizeConfig, strategy: Strategy) -> CompileOptions:
    """Make the functions of a config; devices share the rows of L-BFGS's history.

    A ValueError says if the optimizer has no learning rate, or no history.
    """
    chosen, rate, history = config.optimizer, config.learning_rate, config.history
    if rate is not None and chosen != "adam":
        raise ValueError(f"--learning-rate is for adam only, not for {chosen}")
    if history is not None and chosen != "lbfgs":
        raise ValueError(f"--history is for lbfgs only, not for {chosen}")
    given: dict[str, Any] = {"learning_rate": rate, "memory_size": history}
    if chosen == "lbfgs":
        given["mesh"] = strategy.mesh
    options = {name: value for name, value in given.items() if value is not None}
    execution = Execution(
        precision=config.precision, mesh=strategy.mesh, tile=strategy.tile
    )
    return CompileOptions(
        _make_optimizer(chosen, **options),
        _make_keeper(config.keep),
        config.loss.objective(),
        execution,
    )


# Optimizers and keepers do not compare equal, so each is made once.


@lru_cache
def _make_optimizer(name: str, **options: Any) -> optax.GradientTransformationExtraArgs:
    return OPTIMIZERS[name](**options)


@lru_cache
def _make_keeper(name: str) -> Keeper:
    return KEEPERS[name]()


def init(options: CompileOptions, layout: Layout, image: Image) -> steps.State:
    """Make the state before the first step."""
    state = steps.init_state(image, options.optimizer, keeper=options.keeper)
    return layout.shard(state)


def run_steps(
    options: CompileOptions,
    layout: Layout,
    state: steps.State,
    problem: Problem,
    count: ArrayLike,
) -> tuple[steps.State, Metrics]:
    """Make up to ``count`` steps."""
    step = steps.make_step(
        options.optimizer, keeper=options.keeper, execution=options.execution
    )
    whole = layout.unshard(state)
    state, metrics = steps.run_steps(step, whole, problem, count, capacity=CAPACITY)
    return layout.shard(state), metrics


def enter(
    options: CompileOptions,
    before: Layout,
    after: Layout,
    size: tuple[int, int],
    state: steps.State,
    detail: Image | None,
) -> steps.State:
    """Go on from a layout to a size, and to its own layout."""
    optimizer, keeper = options.optimizer, options.keeper
    whole = before.unshard(state)
    state = change_scale(whole, size, optimizer, keeper=keeper, detail=detail)
    return after.shard(state)


def make_targets(
    objective: Objective,
    execution: Execution,
    blend: str,
    params: VGGParams,
    scene: Scene,
    weights: Weights,
) -> targets.Targets:
    """Make the targets of a scene, for a blend as JSON."""
    return targets.make_targets(
        params,
        **scene._asdict(),
        weights=weights,
        style_weights=json.loads(blend),
        objective=objective,
        execution=execution,
    )
