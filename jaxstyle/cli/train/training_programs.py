"""The programs of ``jaxstyle train``: where they start, and what is compiled."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxstyle.cli.train.device_cache import Album, make_run_steps
from jaxstyle.cli.train.training_settings import make_optimizer
from jaxstyle.images.arrays import Image
from jaxstyle.losses.config import LossConfig
from jaxstyle.nets import transform_net
from jaxstyle.scaling.memory import check_memory
from jaxstyle.scaling.sharding import Placement
from jaxstyle.training import loop
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import network
from jaxstyle.vgg import params as vgg_params

REPEATABLE: Mapping[str, dict[str, str | bool]] = {
    "gpu": {"xla_gpu_exclude_nondeterministic_ops": True}
}
"""Options of the compiler, by backend, without which sums have no fixed order.

The compiler still chooses the fastest algorithms by trying them. Which it has chosen is
in the cache of compiled programs, where a run that goes on finds it.
"""


class Programs(NamedTuple):
    """What is compiled.

    Attributes:
        step: as from `jaxstyle.training.make_step`, or with all photos in memory as
            from `make_run_steps`; it reuses the memory of its state.
        evaluate: the metrics of parameters on one photo ``[1, size, size, 3]``.
        stylize: `jaxstyle.stylize`, compiled when it is first called.
    """

    step: Any
    evaluate: Any
    stylize: Any


def make_problem(
    loss: LossConfig, params: network.VGGParams, styles: Sequence[Image]
) -> Problem:
    """Return the problem that is compiled for and solved.

    Args:
        loss: the settings.
        params: the network's parameters, as deep as the layers ask, and normalized.
        styles: the paintings as the network sees them.
    """
    if jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    make = partial(
        loop.make_problem, style_weights=loss.blend, objective=loss.objective()
    )
    problem: Problem = jax.jit(make)(params, styles, loss.weights())
    return problem


def init_state(
    settings: TrainConfig, start: transform_net.Params | None, key: jax.Array
) -> State:
    """Return the state before the first step of a given net, or of a new one."""
    net = start or transform_net.init_net(
        key,
        width=settings.width,
        norm=settings.norm,
        negative_slope=settings.negative_slope,
    )
    return loop.init_state(net, make_optimizer(settings))


def compile_programs(
    settings: TrainConfig,
    state: State,
    problem: Problem,
    placement: Placement,
    album: Album | None = None,
) -> Programs:
    """Compile what is needed for a problem.

    Only the shapes of the state count, not where it comes from: a run that goes on
    finds the programs of its first part in the cache. With the shapes of an album the
    steps are made many at a time.
    """
    dtype = jnp.dtype(settings.precision)
    step = loop.make_step(
        make_optimizer(settings), dtype=dtype, stability=settings.stability
    )
    evaluate = partial(loop.evaluate, dtype=dtype)
    state = jax.tree.map(lambda leaf: _shape(leaf.shape, leaf.dtype), state)
    photo, batch = (
        _shape((count, settings.size, settings.size, 3), jnp.uint8)
        for count in (1, settings.batch)
    )
    options = REPEATABLE.get(jax.default_backend())
    whole, divided = placement.replicated, placement.batches
    make = partial(jax.jit, donate_argnums=0, out_shardings=whole)
    jitted_evaluate = jax.jit(evaluate, in_shardings=whole, out_shardings=whole)
    if album is None:
        jitted_step = make(step, in_shardings=(whole, divided, whole))
        lowered_step = jitted_step.lower(state, batch, problem)
    else:
        run_steps = make_run_steps(step, settings, placement)
        jitted_step = make(run_steps, in_shardings=whole)
        lowered_step = jitted_step.lower(state, album, problem, 1)
    lowered_evaluate = jitted_evaluate.lower(state.params, photo, problem)
    compiled = lowered_step.compile(options)
    check_memory(compiled)
    return Programs(
        step=compiled,
        evaluate=lowered_evaluate.compile(options),
        stylize=jax.jit(transform_net.stylize),
    )


def state_shapes(settings: TrainConfig, start: transform_net.Params | None) -> State:
    """Return the shapes of a state."""
    init = partial(init_state, settings, start)
    shapes: State = jax.eval_shape(init, jax.random.key(0))
    return shapes


def _shape(shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)
