"""Keepers choose the picture that an optimization shows, among all its iterates.

Like an optax transformation, a keeper is a few pure functions and an explicit state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image

Kept: TypeAlias = Any
"""A keeper's own state: a tree of arrays."""


class Keeper(NamedTuple):
    """A rule for the picture that an optimization shows: pure functions.

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
