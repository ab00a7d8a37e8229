"""Training a net of many styles: a trunk, and what predicts styles from paintings.

Each photo of a batch is painted like a painting of its own, whose crop comes with it:
nothing is kept of paintings, so there may be any number of them. The loop is that of
`jaxstyle.training.loop`, with pairs of photos and paintings as batches.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, UInt8

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import ExtractorParams
from jaxstyle.losses.objective import DEFAULT_OBJECTIVE, Objective, Weights
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.losses.targets import Targets
from jaxstyle.nets.conditional import (
    NORMS,
    describe_style,
    init_predictor,
    join_style,
    predict_style,
    predicted_part,
    split_style,
    stylize_each,
)
from jaxstyle.nets.net_layers import Params
from jaxstyle.training import loop
from jaxstyle.training.loop import State, Step


class Pairs(NamedTuple):
    """Photos, each with what it is to be painted like.

    Attributes:
        photos: 8-bit RGB, ``[n, h, w, 3]``.
        paintings: as many, of any one size.
    """

    photos: Any
    paintings: Any


ManyParams: TypeAlias = Mapping[str, Any]
"""The parameters of a net of many styles: its ``net`` and its ``predictor``."""


def init_many(
    key: Array,
    net: Params,
    params: ExtractorParams,
    paintings: UInt8[Array, "n height width 3"],
    *,
    part: str = NORMS,
    hidden: int = 128,
) -> dict[str, Any]:
    """Make the parameters of a net of many styles before training.

    Args:
        key: from `jax.random.key`.
        net: a transform net, new or trained.
        params: a VGG's parameters, from `jaxstyle.vgg.normalize`.
        paintings: some of those to be trained on, by whose statistics those of others
            are normalized.
        part: what is predicted of the net, as in `jaxstyle.nets.split_style`.
        hidden: as in `jaxstyle.nets.init_predictor`.

    Returns:
        A tree of ``net`` and ``predictor``, for `jaxstyle.training.init_state`.

    Examples:
        >>> key, paintings = jax.random.key(0), jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(key, net, vgg, paintings)
        >>> sorted(many)
        ['net', 'predictor']
    """
    _, style = split_style(net, part=part)
    descriptors = describe_style(params, paintings / jnp.float32(255))
    return {
        "net": dict(net),
        "predictor": init_predictor(key, descriptors, style, hidden=hidden),
    }


def predict_net(
    many: ManyParams, params: ExtractorParams, painting: Images
) -> dict[str, Any]:
    """Predict the net that paints like a painting, for `jaxstyle.stylize`.

    Args:
        many: from `init_many`, after training.
        params: the VGG's parameters that it was trained with.
        painting: RGB in [0, 1], ``[h, w, 3]``.

    Returns:
        The net's parameters.

    Examples:
        Before training, all paintings have the net that was given:

        >>> key, paintings = jax.random.key(0), jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(key, net, vgg, paintings)
        >>> found = jaxstyle.training.predict_net(many, vgg, painting)
        >>> jnp.array_equal(found["norm1"]["scale"], net["norm1"]["scale"])
        Array(True, dtype=bool)
    """
    return join_style(*_predict(many, params, painting))


def make_many_problem(
    params: ExtractorParams,
    weights: Weights,
    *,
    objective: Objective = DEFAULT_OBJECTIVE,
) -> Problem:
    """Make the problem of painting photos each in a style of its own.

    Args:
        params: a VGG's parameters, from `jaxstyle.vgg.normalize`, down to relu4_1.
        weights: as in `jaxstyle.training.make_problem`.
        objective: what is compared.

    Returns:
        The problem without targets, since each batch brings photos and paintings.

    Examples:
        >>> problem = jaxstyle.training.make_many_problem(vgg, weights)
        >>> problem.targets.style
        {}
    """
    return Problem(params, Targets({}, {}, objective=objective), weights)


def make_many_step(
    optimizer: optax.GradientTransformation,
    *,
    dtype: DTypeLike = jnp.float32,
    stability: float = 0.0,
) -> Step:
    """Make the pure function that improves a net of many styles on a batch of pairs.

    Args:
        optimizer: any optax transformation.
        dtype: as in `jaxstyle.training.make_step`, like ``stability``.
        stability: the weight of what noise in photos changes.

    Returns:
        ``step(state, pairs, problem) -> (state, metrics)``, for a problem from
        `make_many_problem`, with the metrics of `jaxstyle.training.make_step`.

    Examples:
        Traced only:

        >>> import optax
        >>> optimizer = optax.adam(1e-3)
        >>> images = jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(jax.random.key(0), net, vgg, images)
        >>> state = jaxstyle.training.init_state(many, optimizer)
        >>> problem = jaxstyle.training.make_many_problem(vgg, weights)
        >>> step = jax.jit(jaxstyle.training.make_many_step(optimizer))
        >>> pairs = jaxstyle.training.Pairs(photos=images, paintings=images)
        >>> state, metrics = jax.eval_shape(step, state, pairs, problem)
        >>> sorted(metrics)
        ['content', 'gradient_norm', 'loss', 'style', 'total_variation']
    """

    def step(state: State, pairs: Pairs, problem: Problem) -> tuple[State, Metrics]:
        paint, aimed = _bind(pairs, problem, dtype)
        improve = loop.make_step(
            optimizer,
            apply=lambda many, photos: (paint(many, photos), many),
            dtype=dtype,
            stability=stability,
        )
        return improve(state, pairs.photos, aimed)

    return step


def evaluate_many(
    many: ManyParams,
    pairs: Pairs,
    problem: Problem,
    *,
    dtype: DTypeLike = jnp.float32,
) -> Metrics:
    """Measure a net of many styles on a batch of pairs.

    Args:
        many: from `init_many`, after training.
        pairs: photos and paintings.
        problem: from `make_many_problem`.
        dtype: the precision of both networks' activations.

    Returns:
        The metrics of `jaxstyle.training.evaluate`.

    Examples:
        >>> images = jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(jax.random.key(0), net, vgg, images)
        >>> problem = jaxstyle.training.make_many_problem(vgg, weights)
        >>> pairs = jaxstyle.training.Pairs(photos=images, paintings=images)
        >>> found = jax.jit(jaxstyle.training.evaluate_many)(many, pairs, problem)
        >>> found["loss"].shape
        ()
    """
    paint, aimed = _bind(pairs, problem, dtype)
    return loop.evaluate(many, pairs.photos, aimed, apply=paint, dtype=dtype)


def stylize_pairs(
    many: ManyParams, params: ExtractorParams, photos: Images, paintings: Images
) -> Images:
    """Paint each photo like the painting of the same place, both in [0, 1]."""
    return stylize_each(*_predict(many, params, paintings), photos)


def _predict(
    many: ManyParams, params: ExtractorParams, paintings: Images
) -> tuple[Params, Params]:
    """Predict the styles of paintings, beside the trunk."""
    predictor = many["predictor"]
    trunk, style = split_style(many["net"], part=predicted_part(predictor))
    descriptors = describe_style(params, paintings)
    return trunk, predict_style(predictor, descriptors, style)


def _bind(
    pairs: Pairs, problem: Problem, dtype: DTypeLike
) -> tuple[Callable[[ManyParams, Images], Images], Problem]:
    """Make what paints photos like their paintings, and the problem of doing so."""
    paintings = (pairs.paintings / jnp.float32(255)).astype(dtype)
    aimed = loop.make_problem(
        problem.params,
        [paintings],
        problem.weights,
        objective=problem.targets.objective,
    )

    def paint(many: ManyParams, photos: Images) -> Images:
        return stylize_pairs(many, problem.params, photos, paintings)

    return paint, aimed
