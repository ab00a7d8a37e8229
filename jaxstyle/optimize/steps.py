"""Style optimization: the pixels are the parameters (Gatys et al., 2015 and 2016).

The loop is ``init_state`` -> ``make_step`` -> ``step(state, problem)``, all pure. One
step is one evaluation of the loss and its gradient. Images come one at a time here;
a batch is a `jax.vmap` over states and problems, which keeps the images independent.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxstyle.images.arrays import Image, check_image
from jaxstyle.losses.extractor import DEFAULT_EXECUTION, Execution
from jaxstyle.losses.perceptual import Metrics, Problem as Problem, perceptual_loss
from jaxstyle.scaling.chunks import repeat_step

# --- keepers -------------------------------------------------------------------------

Kept: TypeAlias = Any
"""A keeper's own state: a tree of arrays."""


class Keeper(NamedTuple):
    """A rule for the picture that an optimization shows, among all its iterates.

    Attributes:
        init: ``init(image) -> kept``, for the image to start from.
        update: ``update(kept, image, loss, moved) -> kept``, for the image that was
            evaluated, its loss, and the image that the optimizer made of it.
        picture: ``picture(kept) -> image``, the picture to show.
    """

    init: Callable[[Image], Kept]
    update: Callable[[Kept, Image, Float[Array, ""], Image], Kept]
    picture: Callable[[Kept], Image]


class Best(NamedTuple):
    """The image with the lowest loss so far, and that loss; at first the initial."""

    image: Image
    loss: Float[Array, ""]


class Average(NamedTuple):
    """The weighted sum of images, and 1 minus the sum of their weights."""

    total: Image
    lack: Float[Array, ""]


def keep_best() -> Keeper:
    """Keep the image with the lowest loss.

    Returns:
        The keeper. Until a loss is finite it shows the initial image.

    Examples:
        >>> keeper = jaxstyle.optimize.keep_best()
        >>> kept = keeper.init(photo)
        >>> kept = keeper.update(kept, photo, jnp.array(3.0), painting)
        >>> kept = keeper.update(kept, painting, jnp.array(5.0), photo)
        >>> jnp.array_equal(keeper.picture(kept), photo)
        Array(True, dtype=bool)
    """

    def init(image: Image) -> Best:
        return Best(image, jnp.full((), jnp.inf, image.dtype))

    def update(best: Best, image: Image, loss: Array, moved: Image) -> Best:
        better = loss < best.loss  # never so for a loss that is not a number
        return Best(
            jnp.where(better, image, best.image), jnp.where(better, loss, best.loss)
        )

    return Keeper(init, update, lambda best: best.image)


def keep_average(decay: float = 0.99) -> Keeper:
    """Keep the exponentially weighted average of all images, the first included.

        average <- decay average + (1 - decay) image,   divided by 1 - decay^count

    It removes the noise that the steps of constant size of Adam leave in a picture. An
    image that is not finite is left out.

    Source: the averaging of iterates of Polyak & Juditsky (1992), with the exponential
    weights and the correction of Kingma & Ba (2015), section 7.2.

    Args:
        decay: the share of the old average at each step, from 0 to less than 1.

    Returns:
        The keeper, which averages in float32 or better.

    Examples:
        >>> keeper = jaxstyle.optimize.keep_average(decay=0.5)
        >>> black, white = jnp.zeros((1, 1, 3)), jnp.ones((1, 1, 3))
        >>> kept = keeper.init(black)
        >>> kept = keeper.update(kept, black, jnp.array(5.0), white)
        >>> round(float(keeper.picture(kept).mean()), 2)
        0.67
    """

    def init(image: Image) -> Average:
        wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
        return Average((1 - decay) * wide, jnp.full((), decay, wide.dtype))

    def update(average: Average, image: Image, loss: Array, moved: Image) -> Average:
        finite = jnp.isfinite(moved).all()
        total = decay * average.total + (1 - decay) * moved
        return Average(
            jnp.where(finite, total, average.total),
            jnp.where(finite, decay * average.lack, average.lack),
        )

    return Keeper(init, update, lambda average: average.total / (1 - average.lack))


BEST = keep_best()
"""The default keeper."""

KEEPERS: dict[str, Callable[[], Keeper]] = {"best": keep_best, "average": keep_average}
"""The keepers by name."""


# --- the loop ------------------------------------------------------------------------


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

    Raises:
        TypeError: the image is not floating-point.
        ValueError: it is not one image ``[h, w, 3]``.

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


def run_steps(
    step: Step, state: State, problem: Problem, count: ArrayLike, *, capacity: int
) -> tuple[State, Metrics]:
    """Make up to ``count`` steps in one program, stopping at a loss that is not finite.

    The count is data: one compiled program serves all counts. Under `jax.vmap` each
    image stops at its own count or loss, and stays as it is while others go on.

    Args:
        step: from `make_step`.
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
    return repeat_step(step, state, problem, count=count, capacity=capacity)
