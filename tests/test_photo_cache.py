"""Crops from photos in memory: every photo once an epoch, everywhere, all by a key."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.training.photo_cache import cached_side, shuffle, take_batch

COUNT, HEIGHT, WIDTH, SIZE = 10, 20, 23, 16

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def photos() -> jax.Array:
    """Photos whose pixels are the photo's number, their row and their column."""
    shape = (COUNT, HEIGHT, WIDTH)
    return jnp.stack(jnp.indices(shape), axis=-1).astype(jnp.uint8)


take = jax.jit(take_batch, static_argnames=("batch", "size"))


def crops(
    photos: jax.Array, steps: int, *, batch: int = 4, key: jax.Array = KEY
) -> np.ndarray:
    """Return all crops of some steps, ``[n, SIZE, SIZE, 3]``."""
    parts = [take(photos, key, k, batch=batch, size=SIZE) for k in range(steps)]
    return np.concatenate(parts)


def test_each_crop_lies_in_a_photo_and_half_are_mirrored(photos: jax.Array) -> None:
    taken = crops(photos, 100)
    assert taken.shape == (400, SIZE, SIZE, 3)
    assert taken.dtype == np.uint8
    mirrored = taken[:, 0, 0, 2] > taken[:, 0, -1, 2]
    upright = np.where(mirrored[:, None, None, None], taken[:, :, ::-1], taken)
    for crop in upright:
        number, top, left = crop[0, 0]
        expected = photos[number, top : top + SIZE, left : left + SIZE]
        np.testing.assert_array_equal(crop, expected)
    assert 0.4 < mirrored.mean() < 0.6
    tops, lefts = upright[:, 0, 0, 1], upright[:, 0, 0, 2]
    for places, room in ((tops, HEIGHT - SIZE + 1), (lefts, WIDTH - SIZE + 1)):
        counts = np.bincount(places, minlength=room)
        assert len(counts) == room
        assert counts.min() > 0.6 * 400 / room
    drawn = np.stack([mirrored, tops, lefts, upright[:, 0, 0, 0]])
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.15


def test_every_epoch_has_all_photos_in_an_order_of_its_own(photos: jax.Array) -> None:
    numbers = crops(photos, 20)[:, 0, 0, 0].reshape(8, COUNT)
    assert (np.sort(numbers) == np.arange(COUNT)).all()
    assert len({tuple(epoch) for epoch in numbers}) == 8


@pytest.mark.parametrize("batch", [1, 11, 27])
def test_any_batch_takes_the_same_crops_in_the_same_order(
    photos: jax.Array, batch: int
) -> None:
    expected = crops(photos, 14)
    taken = crops(photos, 54 // batch, batch=batch)
    np.testing.assert_array_equal(taken, expected[: len(taken)])


def test_a_key_gives_the_same_crops_and_another_key_others(photos: jax.Array) -> None:
    first = crops(photos, 5)
    np.testing.assert_array_equal(crops(photos, 5), first)
    other = crops(photos, 5, key=jax.random.key(1))
    assert (first == other).all((1, 2, 3)).mean() < 0.2


def test_a_step_is_data(photos: jax.Array) -> None:
    """It may be far from the first, and may come from a loop on the device."""

    def body(step: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return step + 1, take_batch(photos, KEY, step, batch=4, size=SIZE)

    start = 10**8
    _, looped = jax.jit(lambda step: jax.lax.scan(body, step, length=3))(start)
    for index, batch in enumerate(looped):
        single = take(photos, KEY, start + index, batch=4, size=SIZE)
        np.testing.assert_array_equal(batch, single)
    assert len(np.unique(looped[:, :, 0, 0, 0])) == COUNT


def test_all_orders_are_alike() -> None:
    keys = jax.random.split(KEY, 24_000)
    orders = jax.jit(jax.vmap(partial(shuffle, 0, length=4, count=4)))(keys)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    chi_squared = np.square(counts - 1000).sum() / 1000
    assert chi_squared < 44.2  # exceeded by chance once in 200 times


@pytest.mark.parametrize(("size", "side"), [(256, 288), (16, 18), (20, 22), (7, 7)])
def test_photos_are_an_eighth_larger_than_crops(size: int, side: int) -> None:
    assert cached_side(size) == side


def test_wrong_photos_are_refused(photos: jax.Array) -> None:
    def refused(wrong: jax.Array, *, size: int = SIZE) -> None:
        jax.eval_shape(partial(take_batch, batch=2, size=size), wrong, KEY, 0)

    with pytest.raises(TypeError, match="photos must hold 8-bit values, got float32"):
        refused(photos.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"\[n, height, width, 3\], got \(20, 23, 3\)"):
        refused(photos[0])
    with pytest.raises(ValueError, match="23x20 pixels are too small for crops of 21x"):
        refused(photos, size=21)


def test_photos_are_not_copied() -> None:
    """Beside the crops there is but a word or so for each photo of two epochs."""
    many = jax.ShapeDtypeStruct((10_000, 18, 18, 3), jnp.uint8)
    program = take.lower(many, KEY, 0, batch=4, size=16).compile()
    analysis: Any = program.memory_analysis()
    assert analysis.argument_size_in_bytes > 9_000_000
    assert analysis.temp_size_in_bytes < 1_000_000
