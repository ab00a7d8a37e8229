"""Training: the parameters of a network are optimized (Johnson et al., 2016).

The loop is that of style optimization: `init_state` -> `make_step` ->
``step(state, photos, problem)``, all pure. The network is any function of parameters
and images; by default it is the transform net.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Int, UInt8

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import (
    DEFAULT_EXECUTION,
    BoundExtractor,
    Execution,
    ExtractorParams,
)
from jaxstyle.losses.measures import compute_activations
from jaxstyle.losses.objective import (
    DEFAULT_OBJECTIVE,
    Objective,
    StyleWeights,
    Weights,
    check_weights,
)
from jaxstyle.losses.perceptual import Metrics, Problem as Problem, perceptual_loss
from jaxstyle.losses.targets import make_style_targets
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.transform_net import stylize, stylize_in_training
from jaxstyle.training.photo_cache import take_batch as take_batch

Photos: TypeAlias = UInt8[Array, "n h w 3"]


class State(NamedTuple):
    """Where the training stands.

    Attributes:
        params: the network's parameters.
        optimizer_state: the optimizer's.
        step: the number of steps so far.
    """

    params: Params
    optimizer_state: optax.OptState
    step: Int[Array, ""]


Step: TypeAlias = Callable[[State, Any, Any], tuple[State, Metrics]]
"""Improves a network on one batch, given what its loss is measured by."""

Apply: TypeAlias = Callable[[Params, Images], tuple[Images, Params]]
"""Applies a network in training. The parameters that it returns are those it was given,
except for what does not follow a gradient, such as running statistics."""

Measure: TypeAlias = Callable[[Images, Images, Any], Metrics]
"""From stylized images, their photos and the problem to scalars; one is ``loss``."""


def make_problem(
    params: ExtractorParams,
    styles: Sequence[Images],
    weights: Weights,
    *,
    style_weights: StyleWeights | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> Problem:
    """Make the problem of painting photos in a style, or in a blend of several.

    Args:
        params: a VGG's parameters; the loss weights assume `jaxstyle.vgg.normalize`'s.
        styles: one or more images ``[h, w, 3]`` of any sizes. Strokes come out as large
            as they are in these images, in pixels.
        weights: the weight of each term of the loss.
        style_weights: as in `jaxstyle.losses.make_targets`.
        objective: what is compared.
        execution: how features are computed.

    Returns:
        The problem. Its targets have no content, which each batch of photos brings.

    Examples:
        >>> problem = jaxstyle.training.make_problem(vgg, [painting], weights)
        >>> sorted(problem.targets.style)
        ['relu1_1']
    """
    check_weights(weights)
    network = BoundExtractor(objective.extractor, params, execution)
    network.check_layers((*weights.content, *weights.style))
    targets = make_style_targets(
        network, styles, weights, objective, style_weights=style_weights
    )
    return Problem(params, targets, weights)


def init_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    """Make the state before the first step.

    Args:
        params: a network's, such as those from `jaxstyle.nets.init_net` or
            `jaxstyle.load_style`.
        optimizer: that of the step.

    Returns:
        The state after no steps.

    Examples:
        >>> import optax
        >>> jaxstyle.training.init_state(net, optax.adam(1e-3)).step
        Array(0, dtype=int32)
    """
    if isinstance(optimizer, Mapping):
        raise TypeError("the parameters come first, and then the optimizer")
    return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))


NOISE = 30 / 255
"""The largest change of a pixel by the noise of `stability_loss`."""


def measure_stylized(
    stylized: Images,
    images: Images,
    problem: Problem,
    *,
    execution: Execution = DEFAULT_EXECUTION,
) -> Metrics:
    """Compute the mean loss of stylized photos, and its parts.

    Args:
        stylized: what a network makes of the photos, ``[n, h, w, 3]``.
        images: the photos.
        problem: from `make_problem`.
        execution: how the loss computes features.

    Returns:
        The ``loss`` and its parts, as in `jaxstyle.losses.perceptual_loss`, averaged.

    Examples:
        >>> problem = jaxstyle.training.make_problem(vgg, [painting], weights)
        >>> measure = jax.jit(jaxstyle.training.measure_stylized)
        >>> float(measure(photo[None], photo[None], problem)["content"])
        0.0
    """
    params, targets, weights = problem
    network = BoundExtractor(targets.objective.extractor, params, execution)
    content = compute_activations(network, images, weights.content)
    targets = replace(targets, content=content)
    loss, parts = perceptual_loss(
        params, stylized, targets, weights, execution=execution
    )
    return {name: jnp.mean(value) for name, value in {"loss": loss, **parts}.items()}


def make_step(
    optimizer: optax.GradientTransformation,
    *,
    apply: Apply = stylize_in_training,
    measure: Measure = measure_stylized,
    dtype: DTypeLike = jnp.float32,
    stability: float = 0.0,
) -> Step:
    """Make the pure function that improves a network on one batch of photos.

    Args:
        optimizer: any optax transformation.
        apply: the network, ``apply(params, images) -> (images, params)``.
        measure: the loss, ``measure(stylized, images, problem) -> metrics``: scalars,
            of which ``loss`` is minimized.
        dtype: the precision of both networks' activations. Parameters, statistics and
            losses are in float32 in any case.
        stability: the weight of the mean squared change of pictures when noise is
            added to the photos, as in Rainy & de Berker (2018); a step then takes two
            passes of the network instead of one.

    Returns:
        ``step(state, photos, problem) -> (state, metrics)``, with photos as 8-bit
        ``[n, h, w, 3]``. The metrics are those of ``measure`` before the step,
        ``stability`` if it has a weight, and ``gradient_norm``.

    Examples:
        Traced only:

        >>> import optax
        >>> optimizer = optax.adam(1e-3)
        >>> problem = jaxstyle.training.make_problem(vgg, [painting], weights)
        >>> step = jax.jit(jaxstyle.training.make_step(optimizer))
        >>> state = jaxstyle.training.init_state(net, optimizer)
        >>> photos = (255 * photo[None]).astype(jnp.uint8)
        >>> state, metrics = jax.eval_shape(step, state, photos, problem)
        >>> sorted(metrics)
        ['content', 'gradient_norm', 'loss', 'style', 'total_variation']
    """

    def step(state: State, photos: Photos, problem: Any) -> tuple[State, Metrics]:
        images = (photos / jnp.float32(255)).astype(dtype)

        def loss_of(params: Params) -> tuple[Array, tuple[Metrics, Params]]:
            stylized, kept = apply(params, images)
            metrics = measure(stylized, images, problem)
            if stability:
                key = jax.random.fold_in(jax.random.key(0), state.step)
                change = stability_loss(params, images, stylized, key, apply=apply)
                part = stability * change
                metrics |= {"loss": metrics["loss"] + part, "stability": part}
            return metrics["loss"], (metrics, kept)

        value_and_gradient = jax.value_and_grad(loss_of, has_aux=True)
        (_, (metrics, params)), gradient = value_and_gradient(state.params)
        updates, optimizer_state = optimizer.update(
            gradient, state.optimizer_state, state.params
        )
        new = State(
            optax.apply_updates(params, updates), optimizer_state, state.step + 1
        )
        return new, metrics | {"gradient_norm": optax.tree.norm(gradient)}

    return step


def stability_loss(
    params: Params,
    images: Images,
    stylized: Images,
    key: Array,
    *,
    apply: Apply = stylize_in_training,
) -> Array:
    """Compute the mean squared change of pictures when noise is added to the photos.

    The noise is uniform, of +-30/255 at most, and independent in each pixel and
    channel. What it changes would flicker in a video.

    Source: Rainy & de Berker (2018), "Stabilizing neural style-transfer for video";
    they add noise to some pixels only.
    """
    noise = jax.random.uniform(key, images.shape, jnp.float32, -NOISE, NOISE)
    noisy, _ = apply(params, images + noise.astype(images.dtype))
    return jnp.square((noisy - stylized).astype(jnp.float32)).mean()


def evaluate(
    params: Params,
    photos: Photos,
    problem: Problem,
    *,
    apply: Callable[[Params, Images], Images] = stylize,
    measure: Measure = measure_stylized,
    dtype: DTypeLike = jnp.float32,
) -> Metrics:
    """Measure a network on a batch of photos.

    Args:
        params: the network's.
        photos: 8-bit RGB, ``[n, h, w, 3]``.
        problem: from `make_problem`.
        apply: the network, ``apply(params, images) -> images``. A transform net with
            batch norm uses its running statistics.
        measure: the loss, as in `make_step`.
        dtype: the precision of both networks' activations.

    Returns:
        The metrics of ``measure``.

    Examples:
        >>> problem = jaxstyle.training.make_problem(vgg, [painting], weights)
        >>> photos = (255 * photo[None]).astype(jnp.uint8)
        >>> metrics = jax.jit(jaxstyle.training.evaluate)(net, photos, problem)
        >>> metrics["loss"].shape
        ()
    """
    images = (photos / jnp.float32(255)).astype(dtype)
    return measure(apply(params, images), images, problem)
