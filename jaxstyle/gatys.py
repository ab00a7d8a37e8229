"""Style optimisation: the pixels are the parameters (Gatys et al., 2015 and 2016).

The loop is ``init_state`` -> ``make_step`` -> ``step(state, problem)``, all pure. One
step is one evaluation of the loss and its gradient. Images come one at a time here;
a batch is a `jax.vmap` over states and problems, which keeps the images independent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxstyle import optimizers, vgg
from jaxstyle.images import Image, check_images
from jaxstyle.perceptual import (
    Metrics,
    Targets,
    Weights,
    make_targets,
    perceptual_loss,
)


class Problem(NamedTuple):
    """What is minimised: the perceptual loss with these parameters, as data."""

    params: vgg.Params
    targets: Targets
    weights: Weights


class State(NamedTuple):
    """Where the optimisation stands.

    Attributes:
        image: where the loss is evaluated next.
        best: the image with the lowest loss so far; the first until there is one.
        best_loss: its loss, or infinity.
        optimizer_state: the optimizer's own.
        step: the number of evaluations so far.
    """

    image: Image
    best: Image
    best_loss: Float[Array, ""]
    optimizer_state: optax.OptState
    step: Int[Array, ""]


Step: TypeAlias = Callable[[State, Problem], tuple[State, Metrics]]


def init_state(image: Image, optimizer: optax.GradientTransformation) -> State:
    """Return the state before the first step from ``image``, ``[h, w, 3]``.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: it is not one image ``[h, w, 3]``.
    """
    check_images(image, name="the initial image")
    if image.ndim != 3:
        raise ValueError(
            f"the initial image must be one image [h, w, 3], got {image.shape}; "
            "use jax.vmap for a batch"
        )
    infinity = jnp.full((), jnp.inf, image.dtype)
    step = jnp.zeros((), jnp.int32)
    return State(image, image, infinity, optimizer.init(image), step)


def make_step(optimizer: optax.GradientTransformation, *, pooling: str = "max") -> Step:
    """Return the pure function that evaluates the loss once and moves the image.

    Args:
        optimizer: any optax transformation of one image, those with a line search
            included; `jaxstyle.optimizers` has two made for pixels.
        pooling: as in `jaxstyle.features`.

    Returns:
        ``step(state, problem) -> (state, metrics)``. The metrics are the loss at
        ``state.image``, as ``loss``, and its parts as `perceptual_loss` returns them.
    """
    with_extra = optax.with_extra_args_support(optimizer)

    def step(state: State, problem: Problem) -> tuple[State, Metrics]:
        def objective(image: Image) -> tuple[Float[Array, ""], Metrics]:
            params, targets, weights = problem
            return perceptual_loss(params, image, targets, weights, pooling=pooling)

        evaluate = jax.value_and_grad(objective, has_aux=True)
        (loss, parts), gradient = evaluate(state.image)
        updates, optimizer_state = with_extra.update(
            gradient,
            state.optimizer_state,
            state.image,
            value=loss,
            grad=gradient,
            value_fn=lambda image: objective(image)[0],
        )
        better = loss < state.best_loss  # never so for a loss that is not a number
        new = State(
            image=optax.apply_updates(state.image, updates),
            best=jnp.where(better, state.image, state.best),
            best_loss=jnp.where(better, loss, state.best_loss),
            optimizer_state=optimizer_state,
            step=state.step + 1,
        )
        return new, {"loss": loss, **parts}

    return step


def run_steps(
    step: Step, state: State, problem: Problem, count: ArrayLike, *, capacity: int
) -> tuple[State, Metrics]:
    """Make up to ``count`` steps in one program, stopping at a loss that is not finite.

    Nothing comes back to the host in between. The count is data: one compiled program
    serves all counts.

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

    start = (state, history, jnp.zeros((), state.best_loss.dtype))
    state, history, _ = lax.while_loop(goes_on, advance, start)
    return state, history


def optimize_image(
    params: vgg.Params,
    content: Image,
    styles: Sequence[Image],
    *,
    weights: Weights,
    init: Image | None = None,
    steps: int = 300,
    optimizer: optax.GradientTransformation | None = None,
    style_weights: Sequence[float] | None = None,
    pooling: str = "max",
) -> tuple[Image, Metrics]:
    """Return the content image in the style of the others.

    Pure: it works under `jax.jit` (with ``steps`` static) and `jax.vmap`, and with an
    optimizer like Adam under `jax.grad`.

    Source: Gatys et al. (2016). This starts from the content image where the paper
    starts from noise; pass ``init`` for that.

    Args:
        params: a VGG's parameters; the loss weights assume `jaxstyle.normalize`'s.
        content: RGB in [0, 1], ``[h, w, 3]``.
        styles: one or more images of any sizes. Strokes come out as large as they are
            in these images, in pixels.
        weights: the weight of each term of the loss.
        init: the image to start from, of the size of the content; the content itself by
            default.
        steps: the number of evaluations of the loss and its gradient.
        optimizer: `jaxstyle.optimizers.lbfgs` by default.
        style_weights: how much each style counts; equally by default.
        pooling: as in `jaxstyle.features`.

    Returns:
        The image with the lowest loss, clipped to [0, 1], and the metrics of every
        step, ``[steps]`` each.

    Raises:
        TypeError: an image is not floating-point.
        ValueError: a shape, a layer or a setting is wrong.
    """
    image = content if init is None else init
    if image.shape != content.shape:
        raise ValueError(
            f"the initial image must be of the content's shape {content.shape}, "
            f"got {image.shape}"
        )
    optimizer = optimizers.lbfgs() if optimizer is None else optimizer
    targets = make_targets(
        params, content, styles, weights, style_weights=style_weights, pooling=pooling
    )
    problem = Problem(params, targets, weights)
    step = make_step(optimizer, pooling=pooling)
    state, metrics = lax.scan(
        lambda state, _: step(state, problem),
        init_state(image, optimizer),
        length=steps,
    )
    return jnp.clip(state.best, 0, 1), metrics
