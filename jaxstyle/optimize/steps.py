"""Style optimization: the pixels are the parameters (Gatys et al., 2015 and 2016).

The loop is ``init_state`` -> ``make_step`` -> ``step(state, problem)``, all pure. One
step is one evaluation of the loss and its gradient. Images come one at a time here;
a batch is a `jax.vmap` over states and problems, which keeps the images independent.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxstyle.images.arrays import Image, check_image
from jaxstyle.losses.extractor import DEFAULT_EXECUTION, Execution
from jaxstyle.losses.perceptual import Metrics, Problem as Problem, perceptual_loss
from jaxstyle.optimize.optimizers import BEST, Keeper, Kept


class State(NamedTuple):
    """The state of an optimization.

    Attributes:
        image: where the loss is evaluated next.
        kept: the keeper's own state; its ``picture`` turns it into the picture to
            show, whose values may lie outside [0, 1].
        optimizer_state: the optimizer's own state.
        step: the number of evaluations so far.
    """

    image: Image
    kept: Kept
    optimizer_state: optax.OptState
    step: Int[Array, ""]


Step: TypeAlias = Callable[[State, Problem], tuple[State, Metrics]]


def init_state(
    image: Image, optimizer: optax.GradientTransformation, *, keeper: Keeper = BEST
) -> State:
    """Make the state before the first step.

    Args:
        image: where to start, RGB in [0, 1], ``[h, w, 3]``.
        optimizer: that of the step.
        keeper: that of the step.

    Returns:
        The state after no steps, which keeps ``image``.

    Examples:
        >>> state = jaxstyle.optimize.init_state(photo, jaxstyle.optimize.adam())
        >>> state.step
        Array(0, dtype=int32)
    """
    check_image(image, name="the initial image")
    step = jnp.zeros((), jnp.int32)
    return State(image, keeper.init(image), optimizer.init(image), step)


def kept_picture(state: State, keeper: Keeper) -> Image:
    """Clip the picture that the keeper of a state shows to [0, 1]."""
    return jnp.clip(keeper.picture(state.kept), 0, 1)


def make_step(
    optimizer: optax.GradientTransformation,
    *,
    keeper: Keeper = BEST,
    execution: Execution = DEFAULT_EXECUTION,
) -> Step:
    """Make the pure function that evaluates the loss once and updates the image.

    Args:
        optimizer: any optax transformation of one image, those with a line search
            included; `jaxstyle.optimize.lbfgs` and `jaxstyle.optimize.adam` are made
            for pixels.
        keeper: which picture is kept, `jaxstyle.optimize.keep_best` by default.
        execution: how the loss computes features.

    Returns:
        ``step(state, problem) -> (state, metrics)``. The metrics are the loss at
        ``state.image``, as ``loss``, and its parts as
        `jaxstyle.losses.perceptual_loss` returns them.

    Examples:
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> problem = jaxstyle.losses.Problem(vgg, targets, weights)
        >>> optimizer, keeper = jaxstyle.optimize.adam(), jaxstyle.optimize.keep_best()
        >>> step = jax.jit(jaxstyle.optimize.make_step(optimizer, keeper=keeper))
        >>> state = jaxstyle.optimize.init_state(photo, optimizer, keeper=keeper)
        >>> for _ in range(3):
        ...     state, metrics = step(state, problem)
        >>> state.step
        Array(3, dtype=int32)
        >>> picture = jnp.clip(keeper.picture(state.kept), 0, 1)
    """
    with_extra = optax.with_extra_args_support(optimizer)

    def step(state: State, problem: Problem) -> tuple[State, Metrics]:
        def loss_of(image: Image) -> tuple[Float[Array, ""], Metrics]:
            params, targets, weights = problem
            return perceptual_loss(params, image, targets, weights, execution=execution)

        evaluate = jax.value_and_grad(loss_of, has_aux=True)
        (loss, parts), gradient = evaluate(state.image)
        updates, optimizer_state = with_extra.update(
            gradient,
            state.optimizer_state,
            state.image,
            value=loss,
            grad=gradient,
            value_fn=lambda image: loss_of(image)[0],
        )
        image = optax.apply_updates(state.image, updates)
        kept = keeper.update(state.kept, state.image, loss, image)
        new = State(image, kept, optimizer_state, state.step + 1)
        return new, {"loss": loss, **parts}

    return step


class Counted(Protocol):
    """A tree of arrays that counts its steps, such as `State`."""

    @property
    def step(self) -> Int[Array, ""]:
        """The number of steps."""


AnyState = TypeVar("AnyState", bound=Counted)


def run_steps(
    step: Callable[[AnyState, Any], tuple[AnyState, Metrics]],
    state: AnyState,
    problem: Any,
    count: ArrayLike,
    *,
    capacity: int,
) -> tuple[AnyState, Metrics]:
    """Make up to ``count`` steps in one program, stopping at a loss that is not finite.

    The count is data: one compiled program serves all counts. Under `jax.vmap` each
    image stops at its own count or loss, and stays as it is while others go on.

    Args:
        step: any ``step(state, problem) -> (state, metrics)``, such as from
            `make_step`; ``state.step`` counts, and ``loss`` is among the metrics.
        state: where to start.
        problem: what to minimize.
        count: how many steps to make, at most ``capacity``.
        capacity: the length of the metrics that are returned.

    Returns:
        The new state, and the metrics of all steps, ``[capacity]`` each; those of steps
        that were not made are NaN. The number made is the difference in ``state.step``.

    Examples:
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> problem = jaxstyle.losses.Problem(vgg, targets, weights)
        >>> optimizer = jaxstyle.optimize.adam()
        >>> step = jaxstyle.optimize.make_step(optimizer)
        >>> state = jaxstyle.optimize.init_state(photo, optimizer)
        >>> run_steps = jaxstyle.optimize.run_steps
        >>> state, metrics = run_steps(step, state, problem, 2, capacity=4)
        >>> jnp.isnan(metrics["loss"]).tolist()
        [False, False, True, True]
    """
    step = jax.jit(step, inline=True)  # traced once, not again for each use
    _, shapes = jax.eval_shape(step, state, problem)
    history = jax.tree.map(lambda s: jnp.full((capacity, *s.shape), jnp.nan), shapes)
    first = state.step

    def goes_on(carry: tuple[AnyState, Metrics, Array]) -> Array:
        state, _, loss = carry
        return (state.step - first < count) & jnp.isfinite(loss)

    def advance(
        carry: tuple[AnyState, Metrics, Array],
    ) -> tuple[AnyState, Metrics, Array]:
        state, history, _ = carry
        new, metrics = step(state, problem)
        at = state.step - first
        # A scatter, as by ``at[].set``, is slow in deterministic programs on GPUs.
        put = partial(lax.dynamic_update_index_in_dim, index=at, axis=0)
        values = jax.tree.map(lambda x, old: x.astype(old.dtype), metrics, history)
        history = jax.tree.map(put, history, values)
        return new, history, metrics["loss"]

    start = (state, history, jnp.zeros((), shapes["loss"].dtype))
    state, history, _ = lax.while_loop(goes_on, advance, start)
    return state, history
