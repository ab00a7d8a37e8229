"""Training a net of many styles: a trunk, and what predicts styles from paintings.

Each photo of a batch is painted like a painting of its own, which comes with it as what
is compared. `aim` measures that, apart from the steps: paintings may be larger than
photos, and stay for a few steps. Nothing else is kept of them, so there may be any
number. The loop is that of `jaxstyle.training.loop`, with pairs of photos and paintings
as batches.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, UInt8

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import ExtractorParams
from jaxstyle.losses.objective import DEFAULT_OBJECTIVE, Objective, Weights
from jaxstyle.losses.perceptual import Metrics, Problem
from jaxstyle.losses.targets import Targets
from jaxstyle.nets.conditional import NORMS, join_style, split_style, stylize_each
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.prediction import (
    Descriptor,
    describe_style,
    init_predictor,
    predict_style,
    predicted_part,
)
from jaxstyle.training import loop
from jaxstyle.training.loop import State, Step


class Aims(NamedTuple):
    """What paintings are to a training, from `aim`.

    Attributes:
        descriptors: what styles are predicted from, ``[n, d]``.
        targets: what the style loss compares with, by layer.
    """

    descriptors: Any
    targets: Any


class Pairs(NamedTuple):
    """Photos, each with what it is to be painted like.

    Attributes:
        photos: 8-bit RGB, ``[n, h, w, 3]``.
        paintings: as many, from `aim`.
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
    descriptors = lax.map(
        lambda painting: describe_style(params, painting / jnp.float32(255)), paintings
    )
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
    return join_style(*_predict(many, describe_style(params, painting)))


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


def aim(
    paintings: UInt8[Array, "n height width 3"],
    problem: Problem,
    *,
    dtype: DTypeLike = jnp.float32,
) -> Aims:
    """Measure what photos are to be painted like.

    Args:
        paintings: 8-bit RGB, of any one size.
        problem: from `make_many_problem`.
        dtype: the precision of the network's activations.

    Returns:
        What `Pairs` hold of them.

    Examples:
        >>> problem = jaxstyle.training.make_many_problem(vgg, weights)
        >>> images = jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> jaxstyle.training.aim(images, problem).descriptors.shape
        (2, 384)
    """
    images = (paintings / jnp.float32(255)).astype(dtype)
    params, targets, weights = problem
    aimed = loop.make_problem(params, [images], weights, objective=targets.objective)
    return Aims(describe_style(params, images), aimed.targets.style)


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
        >>> paintings = jax.eval_shape(jaxstyle.training.aim, images, problem)
        >>> pairs = jaxstyle.training.Pairs(images, paintings)
        >>> state, metrics = jax.eval_shape(step, state, pairs, problem)
        >>> sorted(metrics)
        ['content', 'gradient_norm', 'loss', 'style', 'total_variation']
    """

    def step(state: State, pairs: Pairs, problem: Problem) -> tuple[State, Metrics]:
        def apply(many: ManyParams, photos: Images) -> tuple[Images, ManyParams]:
            return stylize_pairs(many, pairs._replace(photos=photos)), many

        improve = loop.make_step(
            optimizer, apply=apply, dtype=dtype, stability=stability
        )
        return improve(state, pairs.photos, _aim_at(problem, pairs))

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
        >>> paintings = jax.jit(jaxstyle.training.aim)(images, problem)
        >>> pairs = jaxstyle.training.Pairs(images, paintings)
        >>> found = jax.jit(jaxstyle.training.evaluate_many)(many, pairs, problem)
        >>> found["loss"].shape
        ()
    """

    def apply(many: ManyParams, photos: Images) -> Images:
        return stylize_pairs(many, pairs._replace(photos=photos))

    aimed = _aim_at(problem, pairs)
    return loop.evaluate(many, pairs.photos, aimed, apply=apply, dtype=dtype)


def stylize_pairs(many: ManyParams, pairs: Pairs) -> Images:
    """Paint each photo, in [0, 1], like the painting of the same place."""
    parts = _predict(many, pairs.paintings.descriptors)
    return stylize_each(*parts, pairs.photos)


def _predict(many: ManyParams, descriptors: Descriptor) -> tuple[Params, Params]:
    """Predict styles, beside the trunk."""
    predictor = many["predictor"]
    trunk, style = split_style(many["net"], part=predicted_part(predictor))
    return trunk, predict_style(predictor, descriptors, style)


def _aim_at(problem: Problem, pairs: Pairs) -> Problem:
    targets = replace(problem.targets, style=pairs.paintings.targets)
    return problem._replace(targets=targets)
