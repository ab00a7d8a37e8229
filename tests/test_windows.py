"""Windows cover an image, and each position has one owner that sees all it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.scaling.windows import Window, cover_image, sum_windows

SIZES = [(40, 40), (41, 97), (64, 200), (100, 33), (75, 75)]


def each(windows: Window) -> list[Window]:
    count = len(windows.corner)
    return [jax.tree.map(lambda x, at=at: x[at], windows) for at in range(count)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("margin", "stride"), [(0, 1), (5, 1), (6, 4), (3, 8)])
def test_each_position_has_one_owner(
    size: tuple[int, int], margin: int, stride: int
) -> None:
    windows = cover_image(size, largest=40, margin=margin, stride=stride)
    for coarse in {1, stride}:
        owners = np.zeros([length // coarse for length in size], int)
        for window in each(windows):
            top, left = window.corner // coarse
            owned = np.asarray(window.owned(coarse))
            height, width = owned.shape
            owners[top : top + height, left : left + width] += owned
        assert (owners == 1).all()


@pytest.mark.parametrize("size", SIZES)
def test_what_a_window_owns_is_off_its_inner_sides(size: tuple[int, int]) -> None:
    margin, stride = 6, 4
    windows = cover_image(size, largest=40, margin=margin, stride=stride)
    assert max(windows.size) <= 40
    for window in each(windows):
        for side, length in enumerate(size):
            begin, end = (int(x) for x in window.bounds[side])
            start = int(window.corner[side])
            assert start % stride == 0
            assert begin == 0 or begin - start >= margin
            # What is no multiple of the stride at its end is seen by no window.
            seen = start + window.size[side] // stride * stride
            assert end == length or seen - end >= margin


def test_one_window_sees_a_small_image() -> None:
    windows = cover_image((30, 21), largest=32, margin=100, stride=16)
    assert windows.size == (30, 21)
    assert len(windows.corner) == 1


def test_a_window_that_is_all_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="tiles must have sides of 36 or more, got 27"):
        cover_image((100, 10), largest=27, margin=10, stride=4)
    for length in range(100, 104):
        cover_image((length, 10), largest=36, margin=10, stride=4)


def test_parts_are_cut_and_pasted() -> None:
    image = jax.random.uniform(jax.random.key(0), (2, 50, 61, 3))
    windows = cover_image((100, 123), largest=40, margin=4, stride=2)
    copy = jnp.zeros_like(image)
    for window in each(windows):
        top, left = window.corner // 2
        part = window.cut(image, stride=2)
        np.testing.assert_array_equal(
            part, image[:, top : top + part.shape[1], left : left + part.shape[2]]
        )
        mask = window.cut(image[0, ..., 0], stride=2, axis=-2)
        np.testing.assert_array_equal(mask, part[0, ..., 0])
        copy = window.paste(copy, part, 2)
    np.testing.assert_array_equal(copy, image)


def test_sums_and_their_gradients_are_those_of_the_whole() -> None:
    image = jax.random.uniform(jax.random.key(0), (50, 61, 1))
    windows = cover_image((50, 61), largest=20, margin=3, stride=1)

    def total(image: jax.Array) -> jax.Array:
        def part(window: Window) -> dict[str, jax.Array]:
            owned = window.owned(1)[..., None]
            return {"sum": (owned * window.cut(image) ** 2).sum()}

        return sum_windows(part, windows)["sum"]

    value, gradient = jax.jit(jax.value_and_grad(total))(image)
    np.testing.assert_allclose(value, (image**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * image, rtol=1e-6)
