"""Images that lie in larger arrays, continued at their own borders.

Programs are compiled for one size of arrays. To run images of many sizes through few
programs, they lie in the upper left of larger arrays; what a network computes near
their lower and right border must not depend on what lies beyond.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Sizes = Int[Array, "n 2"]
"""The true heights and widths of a batch."""

Batch = Float[Array, "n h w c"]


def reflect(x: Batch, sizes: Sizes | None) -> Batch:
    """Replace what lies below and to the right of images by their reflection.

    The last row is not repeated. Without sizes, images fill their arrays.
    """
    return _continue(x, sizes, lambda at, size: 2 * size - 2 - at)


def repeat(x: Batch, sizes: Sizes | None) -> Batch:
    """Replace what lies below and to the right by the last row and the last column."""
    return _continue(x, sizes, lambda _, size: size - 1)


def inside(x: Batch, sizes: Sizes) -> Bool[Array, "n h w"]:
    """Mark the positions that belong to images."""
    rows, columns = (jnp.arange(side) for side in x.shape[1:3])
    return (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None]


def _continue(
    x: Batch, sizes: Sizes | None, source: Callable[[Array, Array], Array]
) -> Batch:
    """Take rows and columns beyond an image from the places that a function tells."""
    if sizes is None:
        return x

    def places(side: int, size: Int[Array, ""]) -> Int[Array, " side"]:
        at = jnp.arange(side)
        # Far beyond, where reflection leads out of the image, anything will do.
        return jnp.clip(jnp.where(at < size, at, source(at, size)), 0, size - 1)

    def continue_one(x: Float[Array, "h w c"], size: Int[Array, " 2"]) -> Array:
        return x[places(x.shape[0], size[0])][:, places(x.shape[1], size[1])]

    return jax.vmap(continue_one)(x, sizes)
