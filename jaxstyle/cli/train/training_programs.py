"""The programs of ``jaxstyle train``, and the photos that they take from memory."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Sharding
from jax.typing import ArrayLike
from jaxtyping import Array, UInt8
from tqdm import tqdm

from jaxstyle.cli.loss_inputs import prepare
from jaxstyle.cli.runtime import explain_lack_of_memory
from jaxstyle.cli.train.processes import is_quiet, say
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.cli.train.training_inputs import Inputs, painting_side
from jaxstyle.cli.train.training_kinds import MANY, ONE, Examples, Kind, Squares
from jaxstyle.data.batches import read_squares
from jaxstyle.images.arrays import Image
from jaxstyle.losses.config import LossConfig
from jaxstyle.losses.objective import Objective
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.nets import transform_net
from jaxstyle.nets.conditional import label_norms
from jaxstyle.optimize.steps import run_steps
from jaxstyle.scaling import memory
from jaxstyle.scaling.sharding import Placement, put_replicated
from jaxstyle.training import loop, many_styles
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.many_styles import Aims, Pairs, init_many, make_many_problem
from jaxstyle.training.photo_cache import cached_side, take_batch
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg.layers import VGGParams

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
    """Squares of all photos to take crops from, and the seed of these, or shapes."""

    photos: UInt8[Array, "n side side 3"]
    seed: ArrayLike


class Programs(NamedTuple):
    """The compiled programs.

    Attributes:
        step: as from `jaxstyle.training.make_step`, or with cached photos ``step(state,
            cached, problem, count)``; it reuses the memory of its state.
        evaluate: the metrics of parameters on one photo ``[1, size, size, 3]``.
        aim: measures paintings for steps, if batches have any.
        aim_held_out: the same for held-out photos.
    """

    step: Any
    evaluate: Any
    aim: Callable[[Squares], Aims]
    aim_held_out: Callable[[Squares], Aims]


def make_problem(
    loss: LossConfig, params: VGGParams, styles: Sequence[Image]
) -> Problem:
    """Make the problem that a training solves, from a normalized VGG's parameters.

    Without paintings it has no targets: each batch brings them.
    """
    if not styles:
        return make_many_problem(
            prepare(params), loss.weights(), objective=loss.objective()
        )
    make = _choose_problem(json.dumps(loss.blend), loss.objective())
    return jax.jit(make)(prepare(params), styles, loss.weights())


def make_optimizer(settings: TrainConfig) -> optax.GradientTransformation:
    """Make Adam with the settings' schedule."""
    return _make_adam(settings.learning_rate, settings.halve_every, settings.only)


def _make_adam(
    rate: float, every: int | None, only: str
) -> optax.GradientTransformation:
    schedule: optax.ScalarOrSchedule = rate
    if every is not None:
        schedule = optax.exponential_decay(rate, every, 0.5, staircase=True)
    adam = optax.adam(schedule)
    if only == "net":
        return adam
    return optax.partition({"moved": adam, "still": optax.set_to_zero()}, label_norms)


def init_state(
    settings: TrainConfig,
    key: jax.Array,
    start: transform_net.Params | None = None,
    examples: Examples | None = None,
) -> State:
    """Make the state before the first step, of given parameters or of new ones.

    With examples it is that of a net of many styles.
    """
    net_key, predictor_key = jax.random.split(key) if examples else (key, key)
    params = start or transform_net.init_net(
        net_key,
        width=settings.width,
        norm=settings.norm,
        negative_slope=settings.negative_slope,
        upsampling=settings.upsampling,
        noise=settings.noise,
    )
    if examples and "predictor" not in params:
        squares = jnp.asarray(examples.squares)
        params = init_many(
            predictor_key, params, examples.params, squares, part=settings.predict
        )
    return loop.init_state(params, make_optimizer(settings))


def state_shapes(
    settings: TrainConfig,
    start: transform_net.Params | None = None,
    examples: Examples | None = None,
) -> State:
    """Find the shapes of a state."""
    init = partial(init_state, settings)
    return jax.eval_shape(init, jax.random.key(0), start, examples)


def compile_programs(
    settings: TrainConfig,
    state: State,
    problem: Problem,
    placement: Placement,
    cached: CachedPhotos | None = None,
    kind: Kind = ONE,
) -> Programs:
    """Compile the programs of a training; with cached photos, of many steps at a time.

    Only the shapes of the state count, so that a resumed run finds the programs of its
    first part in the cache.
    """
    step = _make_step(
        kind.make_step,
        settings.learning_rate,
        settings.halve_every,
        settings.only,
        settings.precision,
        settings.stability,
    )
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    batch, photo = (
        _batch_shapes(kind, settings, problem, count) for count in (settings.batch, 1)
    )
    options = REPEATABLE.get(jax.default_backend())
    whole, divided = placement.replicated, placement.batches
    jit_step = partial(jax.jit, donate_argnums=0, out_shardings=whole)
    evaluate = _choose_evaluate(kind.evaluate, settings.precision)
    jitted_evaluate = jax.jit(evaluate, in_shardings=whole, out_shardings=whole)
    if cached is None:
        jitted_step = jit_step(step, in_shardings=(whole, divided, whole))
        lowered_step = jitted_step.lower(state, batch, problem)
    else:
        many_steps = _make_cached_steps(step, settings.batch, settings.size, placement)
        jitted_step = jit_step(many_steps, in_shardings=whole)
        lowered_step = jitted_step.lower(state, cached, problem, 1)
    lowered_evaluate = jitted_evaluate.lower(state.params, photo, problem)
    compiled = lowered_step.compile(options)
    memory.check_memory(compiled)
    aim, aim_held_out = (
        partial(_jit_aim(settings.precision, sharding), problem=problem)
        for sharding in (divided, whole)
    )
    return Programs(compiled, lowered_evaluate.compile(options), aim, aim_held_out)


def _batch_shapes(
    kind: Kind, settings: TrainConfig, problem: Problem, count: int
) -> Any:
    """Find the shapes of a batch of ``count`` photos."""
    photos, paintings = (
        jax.ShapeDtypeStruct((count, side, side, 3), jnp.uint8)
        for side in (settings.size, painting_side(settings))
    )
    if kind is not MANY:
        return photos
    aim = partial(many_styles.aim, dtype=jnp.dtype(settings.precision))
    return Pairs(photos, jax.eval_shape(aim, paintings, problem))


# JAX compiles anew for each function that is made: equal settings get the same one.


@lru_cache(maxsize=8)
def _choose_problem(blend: str, objective: Objective) -> Any:
    shares = json.loads(blend)
    return partial(loop.make_problem, style_weights=shares, objective=objective)


@lru_cache(maxsize=8)
def _make_step(
    make: Callable[..., loop.Step],
    rate: float,
    every: int | None,
    only: str,
    precision: str,
    stability: float,
) -> loop.Step:
    optimizer, dtype = _make_adam(rate, every, only), jnp.dtype(precision)
    return make(optimizer, dtype=dtype, stability=stability)


@lru_cache(maxsize=8)
def _choose_evaluate(evaluate: Callable[..., Any], precision: str) -> Any:
    return partial(evaluate, dtype=jnp.dtype(precision))


@lru_cache(maxsize=8)
def _jit_aim(precision: str, sharding: Sharding) -> Any:
    aim = partial(many_styles.aim, dtype=jnp.dtype(precision))
    return jax.jit(aim, out_shardings=sharding)


@lru_cache(maxsize=8)
def _make_cached_steps(
    step: loop.Step, batch: int, size: int, placement: Placement
) -> Any:
    """Make ``steps(state, cached, problem, count)``, up to `MOST_STEPS` in one call.

    Each device holds all photos and cuts its share of a batch, so no photo moves.
    """
    take = partial(take_batch, batch=batch, size=size)

    def steps(
        state: State, cached: CachedPhotos, problem: Problem, count: ArrayLike
    ) -> tuple[State, Metrics]:
        def cached_step(state: State, problem: Problem) -> tuple[State, Metrics]:
            crops = take(cached.photos, jax.random.key(cached.seed), state.step)
            crops = jax.lax.with_sharding_constraint(crops, placement.batches)
            return step(state, crops, problem)

        return run_steps(cached_step, state, problem, count, capacity=MOST_STEPS)

    return steps


# --- photos in memory ---------------------------------------------------------------


def cache_shapes(settings: TrainConfig, count: int) -> CachedPhotos:
    """Find the shapes of ``count`` cached photos."""
    side = cached_side(settings.size)
    shape = (count, side, side, 3)
    return jax.eval_shape(
        lambda: CachedPhotos(jnp.zeros(shape, jnp.uint8), jnp.uint32(0))
    )


def cache_photos(
    arguments: TrainOptions,
    inputs: Inputs,
    shapes: CachedPhotos,
    program: Any,
    placement: Placement,
) -> CachedPhotos:
    """Read all photos into the memory of each device, beside a compiled program.

    A ValueError says if memory does not suffice, or no photo can be decoded.
    """
    count, side, *_ = shapes.photos.shape
    photos = f"{count} photos of {side}x{side} pixels"
    gigabytes = memory.size_in_bytes(shapes.photos) / 1e9
    say(arguments, f"{photos} take {gigabytes:.2f} GB on each device")
    what = f"{photos} beside the training"
    advice = "use fewer photos, a smaller --size, or no --data-cache"
    with explain_lack_of_memory(what=what, advice=advice):
        check_cache_fits(shapes, program, placement)
        fill = jax.jit(_fill, donate_argnums=0, out_shardings=placement.replicated)
        squares = read_squares(inputs.photos, side=side, report=inputs.report)
        shape = shapes.photos.shape
        images = jnp.zeros(shape, jnp.uint8, device=placement.replicated)
        read, hidden = 0, is_quiet(arguments) or None
        with (
            closing(squares) as blocks,
            tqdm(total=count, desc="reading", unit="photo", disable=hidden) as bar,
        ):
            for block in blocks:  # the host holds only a few
                images = fill(images, put_replicated(block, placement), read)
                read += len(block)
                megabytes = images.nbytes / 1e6 * read / count
                bar.set_postfix_str(f"{megabytes:,.0f} MB", refresh=False)
                bar.update(len(block))
    return CachedPhotos(images, put_replicated(np.uint32(arguments.seed), placement))


def _fill(photos: jax.Array, block: jax.Array, start: ArrayLike) -> jax.Array:
    return lax.dynamic_update_slice(photos, block, (start, 0, 0, 0))


def check_cache_fits(cached: CachedPhotos, program: Any, placement: Placement) -> None:
    """Raise a TooLargeError unless cached photos fit in memory beside a program."""
    # CPU devices share one memory.
    on_cpu = jax.default_backend() == "cpu"
    copies = len(placement.batches.mesh.local_devices) if on_cpu else 1
    needed = copies * memory.size_in_bytes(cached.photos)
    free = memory.free_memory()
    if free is not None:
        memory.check_free(needed, max(0, free - memory.needed_memory(program)))
