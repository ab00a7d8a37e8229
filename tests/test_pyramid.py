"""From coarse to fine: sizes and steps of scales, and what is handed over."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle.optimize import State, init_state, keep_average, pyramid_sizes
from jaxstyle.optimize.pyramid import change_scale, split_steps
from jaxstyle.optimize.scenes import resize_image

NAMES = ("count", "mu", "nu")


# --- sizes and steps ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("longest", "sizes"),
    [
        (512, (128, 181, 256, 362, 512)),
        (1024, (128, 181, 256, 362, 512, 724, 1024)),
        (128, (128,)),
        (180, (180,)),
        (181, (128, 181)),
        (127, (127,)),
        (1, (1,)),
    ],
)
def test_sizes_of_pyramids(longest: int, sizes: tuple[int, ...]) -> None:
    assert pyramid_sizes(longest) == sizes


def test_sizes_grow_by_the_root_of_2() -> None:
    for longest in (300, 777, 2896, 4000):
        sizes = pyramid_sizes(longest)
        assert sizes[-1] == longest
        assert 128 <= sizes[0] < 182
        for coarse, fine in pairwise(sizes):
            assert fine / coarse == pytest.approx(2**0.5, rel=0.01)
    assert len(pyramid_sizes(2896)) == 10


def test_the_smallest_size_may_be_another() -> None:
    assert pyramid_sizes(64, smallest=30) == (32, 45, 64)
    assert pyramid_sizes(64, smallest=100) == (64,)
    assert pyramid_sizes(512, smallest=512) == (512,)


def test_steps_are_divided_among_scales() -> None:
    assert split_steps(3000, 5) == (1000, 500, 500, 500, 500)
    assert split_steps(300, 1) == (300,)
    assert split_steps(5, 2) == (3, 2)


def test_all_steps_are_made_and_the_last_scale_has_its_share() -> None:
    for scales in range(1, 13):
        for steps in range(40):
            split = split_steps(steps, scales)
            share = steps // (scales + 1)
            assert len(split) == scales
            assert sum(split) == steps
            if scales > 1:
                assert split[0] in (2 * share, 2 * share + 1)
                assert set(split[1:]) <= {share, share + 1}
            assert split[-1] >= 1 or steps == 0


def test_a_pyramid_may_have_other_steps() -> None:
    assert pyramid_sizes(512, ratio=2.0) == (128, 256, 512)
    assert pyramid_sizes(511, smallest=64, ratio=2.0) == (64, 128, 256, 511)


@pytest.mark.parametrize("ratio", [1.0, 0.5, float("nan")])
def test_scales_that_do_not_grow_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio of more than 1, got"):
        pyramid_sizes(512, ratio=ratio)


def test_the_last_scale_may_have_more_steps() -> None:
    assert split_steps(100, 3, last_scale_factor=7) == (20, 10, 70)
    assert split_steps(9, 2, last_scale_factor=7) == (2, 7)
    assert split_steps(9, 1, last_scale_factor=7) == (9,)


# --- from scale to scale ------------------------------------------------------------


@pytest.fixture(scope="module")
def moved(content: jax.Array, noisy: jax.Array) -> State:
    """Where Adam may stand after 7 steps, and after 9 of all scales together."""
    state = init_state(content, jaxstyle.optimize.adam())
    mean, square = noisy - 0.5, jnp.where(content > content.mean(), content**8, 0.0)
    optimizer_state = optax.tree_utils.tree_set(
        state.optimizer_state, count=jnp.array(7, jnp.int32), mu=mean, nu=square
    )
    kept = state.kept._replace(image=2 * noisy - 0.5, loss=jnp.array(3.0))
    return State(content, kept, optimizer_state, jnp.array(9, jnp.int32))


@pytest.mark.parametrize("size", [(36, 48), (17, 23), (24, 32)])
def test_the_state_of_adam_is_handed_over(moved: State, size: tuple[int, int]) -> None:
    state = change_scale(moved, size, jaxstyle.optimize.adam())
    before, after = (
        {name: optax.tree_utils.tree_get(s.optimizer_state, name) for name in NAMES}
        for s in (moved, state)
    )
    assert after["count"] == 7
    shape = (*size, 3)
    assert_close(after["mu"], jax.image.resize(before["mu"], shape, "cubic"))
    assert_close(after["nu"], jax.image.resize(before["nu"], shape, "linear"))
    assert after["nu"].shape == shape
    assert after["nu"].min() >= 0
    assert float(after["nu"].mean()) == pytest.approx(
        float(before["nu"].mean()), rel=0.05
    )
    fresh = init_state(state.image, jaxstyle.optimize.adam())
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, fresh)


@pytest.mark.parametrize("size", [(36, 48), (17, 23)])
def test_a_scale_starts_from_the_picture_that_was_kept(
    moved: State, size: tuple[int, int]
) -> None:
    """That is clipped before, lest what is out of range spread."""
    state = change_scale(moved, size, jaxstyle.optimize.adam())
    expected = resize_image(jnp.clip(moved.kept.image, 0, 1), size)
    assert_close(state.image, expected)
    assert state.image.min() >= 0
    assert state.image.max() <= 1
    assert_close(state.kept.image, expected)
    assert state.kept.loss == jnp.inf


def test_the_count_of_steps_goes_on(moved: State) -> None:
    for optimizer in (jaxstyle.optimize.adam(), optax.sgd(1.0)):
        state = init_state(moved.image, optimizer)._replace(step=moved.step)
        assert change_scale(state, (36, 48), optimizer).step == 9


def test_an_average_starts_anew_from_the_average(moved: State) -> None:
    keeper = keep_average(0.5)
    kept = keeper.update(
        keeper.init(moved.image), moved.image, jnp.ones(()), 1 - moved.image**2
    )
    average = keeper.picture(kept)
    state = change_scale(
        moved._replace(kept=kept), (36, 48), jaxstyle.optimize.adam(), keeper=keeper
    )
    assert_close(state.image, resize_image(average, (36, 48)))
    assert_close(state.kept, keeper.init(state.image))


@pytest.mark.parametrize(
    "optimizer",
    [
        jaxstyle.optimize.lbfgs(memory_size=3),
        optax.lbfgs(memory_size=3),
        optax.sgd(1.0, momentum=0.9),
        optax.lion(1.0),  # has the first moment only
        optax.amsgrad(1.0),  # has another one
        optax.novograd(1.0),  # has a second moment for the whole image
    ],
)
def test_other_optimizers_start_anew(
    moved: State, optimizer: optax.GradientTransformation
) -> None:
    state = init_state(moved.image, optimizer)
    ones = jax.tree.map(jnp.ones_like, state.optimizer_state)
    state = change_scale(state._replace(optimizer_state=ones), (17, 23), optimizer)
    fresh = init_state(state.image, optimizer)
    assert_close(state.optimizer_state, fresh.optimizer_state, rtol=0)


def test_details_are_what_the_smaller_scale_cannot_hold(
    content: jax.Array, noisy: jax.Array
) -> None:
    optimizer = optax.sgd(1.0)
    small = resize_image(noisy, (12, 16))
    state = init_state(small, optimizer)
    plain = change_scale(state, (24, 32), optimizer).image
    detailed = change_scale(state, (24, 32), optimizer, detail=content).image
    lost = content - resize_image(resize_image(content, (12, 16)), (24, 32))
    assert_close(detailed, jnp.clip(plain + lost, 0, 1))
    assert float(jnp.abs(lost).max()) > 0.1
