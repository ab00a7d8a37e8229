"""Batches of crops from photos that lie in the memory of the device, as a function.

What is drawn depends on a key and on the step alone, so nothing is kept in between: a
training goes on from any step, and on any number of devices, with the same crops.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Int, UInt8

ROUNDS = 32
"""How often photos are swapped: a bit of a word each."""


def cached_side(size: int) -> int:
    """Return the side of a photo from which crops of ``size`` pixels are taken."""
    return size + size // 8


def take_batch(
    photos: UInt8[Array, "n h w 3"],
    key: Array,
    step: ArrayLike,
    *,
    batch: int,
    size: int,
) -> UInt8[Array, "batch size size 3"]:
    """Return the random crops of a step, each mirrored or not.

    They are the crops from ``step * batch`` on of an endless row, which the photos and
    the key determine: a row of epochs, each with every photo once, in an order of its
    own. All places within a photo are alike.

    Args:
        photos: as many as fit; a square of 9/8 of the size leaves some room.
        key: of all that is random, the same in all steps.
        step: from 0; the last one's ``step * batch`` must be below 2**31.
        batch: how many crops to take; more than there are photos will do.
        size: the crops' side in pixels.

    Returns:
        The crops, 8-bit.

    Raises:
        TypeError: the photos are not 8-bit.
        ValueError: they are not ``[n, h, w, 3]``, or smaller than the crops.

    Examples:
        >>> photos = jnp.zeros((5, 18, 18, 3), jnp.uint8)
        >>> take_batch = jaxstyle.training.take_batch
        >>> take_batch(photos, jax.random.key(0), 0, batch=2, size=16).shape
        (2, 16, 16, 3)
    """
    _check(photos, size)
    count, height, width, _ = photos.shape
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
    """Return a stretch of an endless row of epochs.

    Each epoch holds 0 to ``count - 1`` once, in an order of its own. To make the orders
    would mean to sort in every step; this follows single positions. Each round of an
    epoch pairs the numbers by a sum that it draws, and swaps each pair or not.

    Source: Hoang, Morris & Rogaway (2012), "An enciphering scheme based on a card
    shuffle". Their coins come from a cipher; ours are the bits of a word for each
    number, drawn anew in each epoch.

    Args:
        first: where in the row the stretch starts, from 0.
        key: of the orders.
        length: how many numbers to return.
        count: how many there are in an epoch.
    """
    start = jnp.asarray(first, jnp.int32)
    epoch, offset = start // count, start % count + jnp.arange(length)
    met = epoch + jnp.arange(1 + -(-(length - 1) // count))
    keys = jax.vmap(lambda epoch: jax.random.split(jax.random.fold_in(key, epoch)))(met)
    sums = jax.vmap(lambda k: jax.random.randint(k, (ROUNDS,), 0, count))(keys[:, 0])
    coins = jax.vmap(lambda k: jax.random.bits(k, (count,)))(keys[:, 1])
    row, index = offset // count, offset % count
    sums, coins = sums[row], coins.ravel()
    for number in range(ROUNDS):
        partner = sums[:, number] - index
        partner = jnp.where(partner < 0, partner + count, partner)
        pair = row * count + jnp.maximum(index, partner)
        coin = coins.at[pair].get(mode="promise_in_bounds") >> number & 1
        index = jnp.where(coin, partner, index)
    return index


def _check(photos: UInt8[Array, "n h w 3"], size: int) -> None:
    if photos.dtype != jnp.uint8:
        raise TypeError(f"photos must hold 8-bit values, got {photos.dtype}")
    if photos.ndim != 4 or photos.shape[-1] != 3:
        raise ValueError(
            f"photos must have the shape [n, height, width, 3], got {photos.shape}"
        )
    if size > min(photos.shape[1:3]):
        height, width = photos.shape[1:3]
        raise ValueError(
            f"photos of {width}x{height} pixels are too small for crops of "
            f"{size}x{size}"
        )
