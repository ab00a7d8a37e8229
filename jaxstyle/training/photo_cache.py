"""Batches of crops from photos in the memory of the device, as a pure function.

What is drawn depends only on a key and the step, so nothing is kept in between: a
training continues from any step, on any number of devices, with the same crops.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Int, UInt8


def cached_side(size: int) -> int:
    """Compute the side of photos from which crops of ``size`` pixels are taken."""
    return size + size // 8


def take_batch(
    photos: UInt8[Array, "n h w 3"],
    key: Array,
    step: ArrayLike,
    *,
    batch: int,
    size: int,
) -> UInt8[Array, "batch size size 3"]:
    """Cut the random crops of a step, each mirrored or not.

    They are the crops from ``step * batch`` on of an endless row, which the photos and
    the key determine: a row of epochs, each with every photo once, in an order of its
    own. All places within a photo are alike.

    Args:
        photos: a square of 9/8 of the size leaves some room.
        key: the same in all steps.
        step: from 0; the last one's ``step * batch`` must be below 2**31.
        batch: the number of crops; there may be more than photos.
        size: the crops' side in pixels.

    Returns:
        The crops, 8-bit.

    Examples:
        >>> photos = jnp.zeros((5, 18, 18, 3), jnp.uint8)
        >>> take_batch = jaxstyle.training.take_batch
        >>> take_batch(photos, jax.random.key(0), 0, batch=2, size=16).shape
        (2, 16, 16, 3)
    """
    if photos.dtype != jnp.uint8:
        raise TypeError(f"photos must hold 8-bit values, got {photos.dtype}")
    if photos.ndim != 4 or photos.shape[-1] != 3:
        raise ValueError(
            f"photos must have the shape [n, height, width, 3], got {photos.shape}"
        )
    count, height, width, _ = photos.shape
    if size > min(height, width):
        raise ValueError(
            f"photos of {width}x{height} pixels are too small for crops of "
            f"{size}x{size}"
        )
    order_key, crop_key = jax.random.split(key)
    first = jnp.asarray(step, jnp.int32) * batch
    chosen = shuffle(first, order_key, length=batch, count=count)
    bounds = jnp.array([height - size + 1, width - size + 1, 2])

    def cut(photo: Array, position: Array) -> Array:
        drawn = jax.random.fold_in(crop_key, position)
        top, left, mirrored = jax.random.randint(drawn, (3,), 0, bounds)
        corner = (photo, top, left, jnp.zeros_like(top))
        crop = lax.dynamic_slice(photos, corner, (1, size, size, 3))[0]
        return jnp.where(mirrored, crop[:, ::-1], crop)

    return jax.vmap(cut)(chosen, first + jnp.arange(batch))


def shuffle(
    first: ArrayLike, key: Array, *, length: int, count: int
) -> Int[Array, " length"]:
    """Compute a stretch, from ``first`` on, of an endless row of epochs.

    Each epoch holds 0 to ``count - 1`` once, in an order of its own. Orders are sorted
    anew at every call, but only those of the epochs that the stretch meets.
    """
    start = jnp.asarray(first, jnp.int32)
    epoch, offset = start // count, start % count + jnp.arange(length)

    def order(row: Array) -> Array:
        own = jax.random.fold_in(key, epoch + row)
        return lax.cond(
            row * count <= offset[-1],
            lambda: jax.random.permutation(own, count),
            lambda: jnp.zeros(count, jnp.int32),
        )

    orders = jnp.asarray(lax.map(order, jnp.arange(1 + -(-(length - 1) // count))))
    return orders[offset // count, offset % count]
