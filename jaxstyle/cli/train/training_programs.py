"""The programs of ``jaxstyle train``: where they start, and what is compiled."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, UInt8

from jaxstyle.cli.train.training_settings import make_optimizer
from jaxstyle.images.arrays import Image
from jaxstyle.losses.config import LossConfig
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.nets import transform_net
from jaxstyle.scaling.memory import check_memory
from jaxstyle.scaling.sharding import Placement
from jaxstyle.training import loop
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.photo_cache import cached_side, take_batch
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import network
from jaxstyle.vgg import params as vgg_params

MOST_STEPS = 1000
"""The most steps on cached photos that one call of the program makes."""

REPEATABLE: Mapping[str, dict[str, str | bool]] = {
    "gpu": {"xla_gpu_exclude_nondeterministic_ops": True}
}
"""Options of the compiler, by backend, without which sums have no fixed order.

The compiler still chooses the fastest algorithms by trying them. Its choices are in the
cache of compiled programs, where a resumed run finds them.
"""


class CachedPhotos(NamedTuple):
    """All photos to train on, in the memory of each device, or their shapes.

    Attributes:
        photos: the squares to take crops from.
        seed: of the order and of the crops, uint32.
    """

    photos: UInt8[Array, "n side side 3"]
    seed: ArrayLike


class Programs(NamedTuple):
    """The compiled programs.

    Attributes:
        step: as from `jaxstyle.training.make_step`, or with cached photos ``step(state,
            cached, problem, count)``; it reuses the memory of its state.
        evaluate: the metrics of parameters on one photo ``[1, size, size, 3]``.
        stylize: `jaxstyle.stylize`, compiled when it is first called.
    """

    step: Any
    evaluate: Any
    stylize: Any


def make_problem(
    loss: LossConfig, params: network.VGGParams, styles: Sequence[Image]
) -> Problem:
    """Make the problem that a training solves.

    Args:
        loss: the settings.
        params: the VGG's, as deep as the layers ask, and normalized.
        styles: the paintings as the VGG sees them.
    """
    if jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    make = partial(
        loop.make_problem, style_weights=loss.blend, objective=loss.objective()
    )
    return jax.jit(make)(params, styles, loss.weights())


def init_state(
    settings: TrainConfig, start: transform_net.Params | None, key: jax.Array
) -> State:
    """Make the state before the first step, of a given net or of a new one."""
    net = start or transform_net.init_net(
        key,
        width=settings.width,
        norm=settings.norm,
        negative_slope=settings.negative_slope,
    )
    return loop.init_state(net, make_optimizer(settings))


def state_shapes(settings: TrainConfig, start: transform_net.Params | None) -> State:
    """Find the shapes of a state."""
    return jax.eval_shape(partial(init_state, settings, start), jax.random.key(0))


def cache_shapes(settings: TrainConfig, count: int) -> CachedPhotos:
    """Find the shapes of ``count`` cached photos."""
    side = cached_side(settings.size)

    def make() -> CachedPhotos:
        photos = jnp.zeros((count, side, side, 3), jnp.uint8)
        return CachedPhotos(photos, jnp.zeros((), jnp.uint32))

    return jax.eval_shape(make)


def compile_programs(
    settings: TrainConfig,
    state: State,
    problem: Problem,
    placement: Placement,
    cached: CachedPhotos | None = None,
) -> Programs:
    """Compile the programs of a training.

    Only the shapes of the state count, so that a resumed run finds the programs of its
    first part in the cache.

    Args:
        settings: of the training.
        state: any state.
        problem: what is solved.
        placement: on which devices.
        cached: the shapes of the cached photos, if photos are cached; the program then
            makes many steps at a time.
    """
    dtype = jnp.dtype(settings.precision)
    step = loop.make_step(
        make_optimizer(settings), dtype=dtype, stability=settings.stability
    )
    evaluate = partial(loop.evaluate, dtype=dtype)
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    shape = (settings.size, settings.size, 3)
    batch = jax.ShapeDtypeStruct((settings.batch, *shape), jnp.uint8)
    photo = jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
    options = REPEATABLE.get(jax.default_backend())
    whole, divided = placement.replicated, placement.batches
    jit_step = partial(jax.jit, donate_argnums=0, out_shardings=whole)
    jitted_evaluate = jax.jit(evaluate, in_shardings=whole, out_shardings=whole)
    if cached is None:
        jitted_step = jit_step(step, in_shardings=(whole, divided, whole))
        lowered_step = jitted_step.lower(state, batch, problem)
    else:
        jitted_step = jit_step(
            _make_cached_steps(step, settings, placement), in_shardings=whole
        )
        lowered_step = jitted_step.lower(state, cached, problem, 1)
    lowered_evaluate = jitted_evaluate.lower(state.params, photo, problem)
    compiled = lowered_step.compile(options)
    check_memory(compiled)
    return Programs(
        step=compiled,
        evaluate=lowered_evaluate.compile(options),
        stylize=jax.jit(transform_net.stylize),
    )


def _make_cached_steps(
    step: loop.Step, settings: TrainConfig, placement: Placement
) -> Any:
    """Make ``steps(state, cached, problem, count)``, up to `MOST_STEPS` in one call.

    Each device holds all photos and cuts its share of a batch, so no photo moves, and
    the crops depend on nothing except the seed and the step.
    """
    take = partial(take_batch, batch=settings.batch, size=settings.size)

    def cached_step(
        state: State, cached: CachedPhotos, problem: Problem
    ) -> tuple[State, Metrics]:
        crops = take(cached.photos, jax.random.key(cached.seed), state.step)
        crops = jax.lax.with_sharding_constraint(crops, placement.batches)
        return step(state, crops, problem)

    return partial(loop.run_steps, cached_step, capacity=MOST_STEPS)
