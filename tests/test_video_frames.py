"""From one frame to the next: motion, cuts, and the step of a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_samples import smooth
from net_samples import random_images, random_net

from jaxstyle import stylize
from jaxstyle.nets import hold
from jaxstyle.video import (
    Motion,
    blend,
    init_state,
    is_cut,
    make_step,
    match_flows,
    warp,
    warping_error,
)
from jaxstyle.video.motion import AROUND

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def shift(height: int, width: int, rows: float, columns: float) -> jax.Array:
    """Return the flow of all pixels that were so far away in the frame before."""
    return jnp.broadcast_to(jnp.array([rows, columns], float), (height, width, 2))


# --- motion -------------------------------------------------------------------------


def test_whole_pixels_are_moved_as_they_are() -> None:
    before = jnp.asarray(random_images(12, 15, 3))
    moved = warp(before, shift(12, 15, 2, -3))
    np.testing.assert_array_equal(moved[:-2, 3:], before[2:, :-3])
    edge = np.broadcast_to(before[2:, :1], (10, 3, 3))
    np.testing.assert_array_equal(moved[:-2, :3], edge)


def test_between_pixels_parabolas_are_exact() -> None:
    rows, columns = jnp.mgrid[:14, :14] / 14
    before = jnp.stack([rows**2 + columns, rows * columns, columns**2], -1)
    moved = warp(before, shift(14, 14, 0.3, -0.6))
    at_rows, at_columns = rows + 0.3 / 14, columns - 0.6 / 14
    expected = (at_rows**2 + at_columns, at_rows * at_columns, at_columns**2)
    inner = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(moved[inner], np.stack(expected, -1)[inner], atol=1e-5)


def make_textures(height: int, width: int) -> jax.Array:
    """Return noise, in which nothing looks like anything else."""
    return jnp.asarray(random_images(height, width, 3))


def test_what_comes_into_view_is_not_trusted() -> None:
    before, right = make_textures(12, 20), shift(12, 20, 0, 4)
    motion = match_flows(jnp.roll(before, 4, axis=1), before, -right, right)
    np.testing.assert_array_equal(motion.trust[:, 6:], 1)
    np.testing.assert_array_equal(motion.trust[:, :4], 0)
    np.testing.assert_array_equal(motion.flow[:, 6:], -right[:, 6:])


def test_what_stands_still_does_not_flow() -> None:
    """Whatever the flow says, as it does around what moves."""
    before, right = make_textures(12, 20), shift(12, 20, 0, 4)
    motion = match_flows(before, before, -right, right)
    np.testing.assert_array_equal(motion.flow, 0)
    np.testing.assert_array_equal(motion.trust, 1)


def test_what_stands_still_is_far_from_all_that_changes_ever_so_little() -> None:
    before, nothing = make_textures(60, 120), shift(60, 120, 0, 0)
    image = before.at[3, 60].add(1e-6)
    still = match_flows(image, before, nothing, nothing).still
    expected = np.ones((60, 120))
    expected[: 3 + AROUND + 1, 60 - AROUND : 60 + AROUND + 1] = 0
    np.testing.assert_array_equal(still, expected)


def test_flows_that_disagree_are_not_trusted() -> None:
    before, right = make_textures(12, 20), shift(12, 20, 0, 4)
    image, nothing = jnp.roll(before, 4, axis=1), 0 * right
    motion = match_flows(image, before, -right, nothing)
    np.testing.assert_array_equal(motion.trust, 0)


def test_frames_that_show_other_things_are_not_trusted() -> None:
    before, right = make_textures(12, 20), shift(12, 20, 0, 4)
    image = jnp.roll(before, 4, axis=1).at[:, 10:].multiply(0.5)
    trust = match_flows(image, before, -right, right).trust
    np.testing.assert_array_equal(trust[:, 6:8], 1)
    np.testing.assert_array_equal(trust[:, 12:], 0)


def test_the_warping_error_is_that_where_the_motion_is_known() -> None:
    before = jnp.float32(smooth(16, 24))
    image = jnp.roll(before, 2, axis=1)
    trust = jnp.ones((16, 24)).at[:, :2].set(0)
    motion = Motion(shift(16, 24, 0, -2), trust, still=0 * trust)
    assert float(warping_error(image, before, motion)) == 0
    assert warping_error(image + 0.1, before, motion) == pytest.approx(0.01, rel=1e-4)
    nothing = motion._replace(trust=jnp.zeros((16, 24)))
    assert float(warping_error(image + 0.1, before, nothing)) == 0


# --- frames -------------------------------------------------------------------------


def test_the_picture_before_is_blended_in_where_trusted_and_kept_where_still() -> None:
    picture, before = jnp.full((4, 6, 3), 0.5), jnp.ones((4, 6, 3))
    trust = jnp.zeros((4, 6)).at[:, :3].set(1)
    still = jnp.zeros((4, 6)).at[0].set(1)
    motion = Motion(shift(4, 6, 0, 0), trust, still)
    mixed = blend(picture, before, motion, share=0.6)
    np.testing.assert_array_equal(mixed[0], 1)
    np.testing.assert_allclose(mixed[1:, :3], 0.8, rtol=1e-6)
    np.testing.assert_array_equal(mixed[1:, 3:], 0.5)


def test_a_film_is_a_scan_that_begins_with_the_picture_alone() -> None:
    net, frames = random_net(), random_images(3, 16, 20, 3)
    held = jax.jit(hold)(net, frames)
    trust = jnp.ones((3, 16, 20))
    still = jnp.zeros((3, 16, 20)).at[:, :, :5].set(1)
    motions = Motion(jnp.zeros((3, 16, 20, 2)), trust, still)
    step = make_step(stylize, share=0.5)
    scan = jax.jit(lambda state, *xs: jax.lax.scan(step, state, xs))
    state, film = scan(init_state(held, frames[0]), frames, motions)
    alone = np.clip(jax.jit(stylize)(held, frames), 0, 1)
    second = (alone[0] + alone[1]) / 2
    expected = np.array([alone[0], second, (second + alone[2]) / 2])
    expected[:, :, :5] = alone[0, :, :5]
    np.testing.assert_allclose(film, expected, atol=1e-4)
    np.testing.assert_array_equal(state.picture, film[-1])
    _, unmoved = scan(init_state(held, frames[0]), frames, None)
    np.testing.assert_allclose(unmoved, alone, atol=1e-4)


# --- cuts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "around", "cut"),
    [
        (0.3, [0.01, 0.02, 0.02, 0.01], True),
        (0.3, [], True),
        (0.03, [0.0, 0.0], False),  # noise in a film that stands still
        (0.3, [0.2, 0.25, 0.3, 0.2], False),  # fast motion
        (0.4, [0.0, 0.0, 0.4, 0.0], False),  # a flash: back again at once
    ],
)
def test_cuts_stand_out(difference: float, around: list[float], cut: bool) -> None:
    assert is_cut(difference, around) == cut
