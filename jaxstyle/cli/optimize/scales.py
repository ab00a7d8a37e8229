"""What ``jaxstyle optimize`` compiles for one scale."""

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.stages import Compiled
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image
from jaxstyle.losses import targets
from jaxstyle.losses.extractor import Execution
from jaxstyle.losses.objective import Objective, Weights
from jaxstyle.losses.perceptual import Metrics, Problem, perceptual_loss
from jaxstyle.optimize import steps
from jaxstyle.optimize.optimizers import KEEPERS, OPTIMIZERS, Keeper
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import change_scale
from jaxstyle.optimize.scenes import Scene
from jaxstyle.scaling.memory import Strategy
from jaxstyle.scaling.sharding import Layout, replicated, sharded_first_axis
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


# --- one scale ----------------------------------------------------------------------


class Scale(NamedTuple):
    """The size of the picture at one scale, and the functions that are compiled for it.

    Where JAX traces these, the scale is static: equal ones are traced once.
    """

    options: CompileOptions
    size: tuple[int, int]

    @property
    def layout(self) -> Layout:
        """Where images lie between programs."""
        return Layout(self.size[0], self.options.execution.mesh)

    @property
    def state(self) -> steps.State:
        """The shapes of a state."""
        image = jax.ShapeDtypeStruct((*self.size, 3), jnp.float32)
        return jax.eval_shape(self._init, image)

    @property
    def shardings(self) -> steps.State | None:
        """The shardings of a state, ``None`` on one device."""
        return self.layout.shardings(self.state)

    def init(self, image: Image) -> steps.State:
        """Make the state before the first step."""
        out = self.shardings
        return jax.jit(Scale._init, static_argnums=0, out_shardings=out)(self, image)

    def measure(self, state: steps.State, problem: Problem) -> Float[Array, ""]:
        """Compute the loss of the picture that is kept."""
        places = self.shardings, self.problem_shardings(problem)
        jitted = jax.jit(Scale._measure, static_argnums=0, in_shardings=places)
        return jitted(self, state, problem)

    def compile_steps(self, problem: Problem) -> Compiled:
        """Compile ``run_steps(state, problem, count) -> (state, metrics)``.

        It makes up to `CAPACITY` steps, and reuses the memory of the state.
        """
        jitted = jax.jit(
            Scale._run_steps,
            static_argnums=0,
            donate_argnums=1,
            in_shardings=(self.shardings, self.problem_shardings(problem), None),
            out_shardings=(self.shardings, None),
        )
        return jitted.lower(self, self.state, problem, 1).compile()

    def compile_enter(self, before: "Scale", detail: Image | None) -> Compiled:
        """Compile ``enter(state, detail) -> state``, from the scale before."""
        jitted = jax.jit(
            Scale._enter,
            static_argnums=(0, 1),
            in_shardings=(before.shardings, None),
            out_shardings=self.shardings,
        )
        return jitted.lower(self, before, before.state, detail).compile()

    def problem_shardings(self, problem: Problem) -> Problem | None:
        """Shard the content targets by rows, and replicate the rest."""
        if (mesh := self.layout.mesh) is None:
            return None
        places: Problem = jax.tree.map(lambda _: replicated(mesh), problem)
        rows = sharded_first_axis(mesh)
        content = jax.tree.map(lambda _: rows, problem.targets.content)
        return places._replace(targets=replace(places.targets, content=content))

    def _init(self, image: Image) -> steps.State:
        optimizer, keeper = self.options.optimizer, self.options.keeper
        return self.layout.shard(steps.init_state(image, optimizer, keeper=keeper))

    def _measure(self, state: steps.State, problem: Problem) -> Float[Array, ""]:
        _, keeper, _, execution = self.options
        picture = steps.kept_picture(self.layout.unshard(state), keeper)
        params, targets, weights = problem
        loss, _ = perceptual_loss(
            params, picture, targets, weights, execution=execution
        )
        return loss

    def _run_steps(
        self, state: steps.State, problem: Problem, count: ArrayLike
    ) -> tuple[steps.State, Metrics]:
        optimizer, keeper, _, execution = self.options
        step = steps.make_step(optimizer, keeper=keeper, execution=execution)
        whole = self.layout.unshard(state)
        state, metrics = steps.run_steps(step, whole, problem, count, capacity=CAPACITY)
        return self.layout.shard(state), metrics

    def _enter(
        self, before: "Scale", state: steps.State, detail: Image | None
    ) -> steps.State:
        optimizer, keeper = self.options.optimizer, self.options.keeper
        whole = before.layout.unshard(state)
        state = change_scale(whole, self.size, optimizer, keeper=keeper, detail=detail)
        return self.layout.shard(state)


def make_targets(
    objective: Objective,
    execution: Execution,
    blend: str,
    params: VGGParams,
    scene: Scene,
    weights: Weights,
) -> targets.Targets:
    """Make the targets of a scene, for a blend as JSON; the first three are static."""
    return targets.make_targets(
        params,
        **scene._asdict(),
        weights=weights,
        style_weights=json.loads(blend),
        objective=objective,
        execution=execution,
    )
