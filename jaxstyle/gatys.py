"""Style optimisation: the pixels are the parameters (Gatys et al., 2015 and 2016).

The loop is ``init_state`` -> ``make_step`` -> ``step(state, problem)``, all pure. One
step is one evaluation of the loss and its gradient. Images come one at a time here;
a batch is a `jax.vmap` over states and problems, which keeps the images independent.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxstyle.images import Image, check_image
from jaxstyle.keepers import BEST, Keeper, Kept
from jaxstyle.perceptual import Metrics, perceptual_loss
from jaxstyle.perceptual import Problem as Problem


class State(NamedTuple):
    """Where the optimisation stands.

    Attributes:
        image: where the loss is evaluated next.
        kept: the keeper's own; its ``picture`` makes of it what is to be shown.
        optimizer_state: the optimizer's own.
        step: the number of evaluations so far.
    """

    image: Image
    kept: Kept
    optimizer_state: optax.OptState
    step: Int[Array, ""]


Step: TypeAlias = Callable[[State, Problem], tuple[State, Metrics]]


def init_state(
    image: Image,
    optimizer: optax.GradientTransformation,
    *,
    keeper: Keeper = BEST,
) -> State:
    """Return the state before the first step from ``image``, ``[h, w, 3]``.

    The keeper must be that of the step, as the optimizer must.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: it is not one image ``[h, w, 3]``.
    """
    check_image(image, name="the initial image")
    step = jnp.zeros((), jnp.int32)
    return State(image, keeper.init(image), optimizer.init(image), step)


def kept_picture(state: State, keeper: Keeper) -> Image:
    """Return the picture to show of a state, clipped to [0, 1]."""
    return jnp.clip(keeper.picture(state.kept), 0, 1)


def make_step(
    optimizer: optax.GradientTransformation,
    *,
    keeper: Keeper = BEST,
) -> Step:
    """Return the pure function that evaluates the loss once and moves the image.

    Args:
        optimizer: any optax transformation of one image, those with a line search
            included; `jaxstyle.optimizers` has two made for pixels.
        keeper: which picture is kept; `jaxstyle.keepers` has two.

    Returns:
        ``step(state, problem) -> (state, metrics)``. The metrics are the loss at
        ``state.image``, as ``loss``, and its parts as `perceptual_loss` returns them.
    """
    with_extra = optax.with_extra_args_support(optimizer)

    def step(state: State, problem: Problem) -> tuple[State, Metrics]:
        def loss_of(image: Image) -> tuple[Float[Array, ""], Metrics]:
            params, targets, weights = problem
            return perceptual_loss(params, image, targets, weights)

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


def run_steps(
    step: Step, state: State, problem: Problem, count: ArrayLike, *, capacity: int
) -> tuple[State, Metrics]:
    """Make up to ``count`` steps in one program, stopping at a loss that is not finite.

    Nothing comes back to the host in between. The count is data: one compiled program
    serves all counts. Under `jax.vmap` each lane stops for itself, at its own count or
    loss, and stays as it is while others go on.

    Args:
        step: from `make_step`.
        state: where to start.
        problem: what to minimise.
        count: how many steps to make, at most ``capacity``.
        capacity: the length of the metrics that are returned.

    Returns:
        The new state, and the metrics of all steps, ``[capacity]`` each; those of steps
        that were not made are NaN. The number made is the difference in ``state.step``.
    """
    shapes = jax.eval_shape(step, state, problem)[1]
    history = jax.tree.map(lambda s: jnp.full((capacity, *s.shape), jnp.nan), shapes)
    first = state.step

    def goes_on(carry: tuple[State, Metrics, Array]) -> Array:
        state, _, loss = carry
        return (state.step - first < count) & jnp.isfinite(loss)

    def advance(carry: tuple[State, Metrics, Array]) -> tuple[State, Metrics, Array]:
        state, history, _ = carry
        new, metrics = step(state, problem)
        at = state.step - first
        history = jax.tree.map(lambda h, m: h.at[at].set(m), history, metrics)
        return new, history, metrics["loss"]

    start = (state, history, jnp.zeros((), state.image.dtype))
    state, history, _ = lax.while_loop(goes_on, advance, start)
    return state, history
