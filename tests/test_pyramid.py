"""Style optimisation from coarse to fine: scales, what is handed over, whole runs."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import (
    Objective,
    Problem,
    State,
    Weights,
    init_state,
    keep_average,
    make_step,
    make_targets,
    optimize_image,
    pyramid_sizes,
)
from jaxstyle.pyramid import change_scale, split_steps
from jaxstyle.scenes import Scene, resize_image, resize_scene

Params = dict[str, Any]

WEIGHTS = Weights({"relu1_1": 1.0}, {"relu1_1": 1e2})
SMOOTH = Weights({}, {}, 1.0)  # needs no network, and so compiles at once

NAMES = ("count", "mu", "nu")


@pytest.fixture(scope="module")
def net(shallow: Params) -> Params:
    """The first layer, which compiles in no time."""
    return dict(jaxstyle.truncate(shallow, ["relu1_1"]))


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


def test_the_finest_scale_may_have_more_steps() -> None:
    assert split_steps(100, 3, finest=7) == (20, 10, 70)
    assert split_steps(9, 2, finest=7) == (2, 7)
    assert split_steps(9, 1, finest=7) == (9,)


# --- scenes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(content: jax.Array, style: jax.Array, noisy: jax.Array) -> Scene:
    """Two styles, each for a half of the image; of the first one its upper half."""
    left = jnp.zeros((24, 32)).at[:, :16].set(1)
    upper = jnp.zeros((20, 28)).at[:10].set(1)
    return Scene(content, [style, noisy], [left, 1 - left], [upper, None])


def test_scenes_shrink_with_their_styles(scene: Scene) -> None:
    small = resize_scene(scene, 16)
    assert small.content.shape == (12, 16, 3)
    assert [style.shape for style in small.styles] == [(11, 16, 3), (12, 16, 3)]
    expected = jax.image.resize(scene.content, (12, 16, 3), "cubic")
    assert_close(small.content, expected)


def test_styles_are_never_enlarged(scene: Scene) -> None:
    large = resize_scene(scene, 64)
    assert large.content.shape == (48, 64, 3)
    assert_close(large.styles, scene.styles, rtol=0)
    medium = resize_scene(scene, 30)
    assert [style.shape for style in medium.styles] == [(20, 28, 3), (22, 30, 3)]


@pytest.mark.parametrize(
    ("style_scale", "sides"), [(0.5, [8, 8]), (1.25, [20, 20]), (3.0, [28, 32])]
)
def test_styles_have_a_scale_of_their_own(
    scene: Scene, style_scale: float, sides: list[int]
) -> None:
    small = resize_scene(scene, 16, style_scale=style_scale)
    assert [max(style.shape) for style in small.styles] == sides
    assert small.content.shape == (12, 16, 3)


def test_masks_follow_their_images(scene: Scene) -> None:
    small = resize_scene(scene, 8, style_scale=2.0)
    assert small.masks is not None
    assert small.style_masks is not None
    left, right = small.masks
    assert left.shape == right.shape == (6, 8)
    np.testing.assert_allclose(left[:, :3], 1, atol=1e-6)
    np.testing.assert_allclose(left[:, 5:], 0, atol=1e-6)
    np.testing.assert_allclose(left + right, 1, atol=1e-6)
    upper, whole = small.style_masks
    assert whole is None
    assert upper is not None
    assert upper.shape == small.styles[0].shape[:2] == (11, 16)
    assert upper[0].min() > 0.99
    assert upper[-1].max() < 0.01


def test_a_scene_without_masks_stays_without(content: jax.Array) -> None:
    small = resize_scene(Scene(content, [content]), 16)
    assert small.masks is small.style_masks is None


def test_resizing_stays_in_range() -> None:
    board = jnp.broadcast_to((jnp.indices((8, 8)).sum(0) % 2.0)[..., None], (8, 8, 3))
    image = resize_image(board, (13, 21))
    assert image.shape == (13, 21, 3)
    assert image.min() == 0
    assert image.max() == 1
    raw = jax.image.resize(board, (13, 21, 3), "cubic")
    assert raw.max() > 1.01


def test_an_image_of_the_same_size_is_the_same_image(content: jax.Array) -> None:
    np.testing.assert_array_equal(resize_image(3 * content, (24, 32)), 3 * content)


# --- from scale to scale ------------------------------------------------------------


@pytest.fixture(scope="module")
def moved(content: jax.Array, noisy: jax.Array) -> State:
    """Where Adam may stand after 7 steps, and after 9 of all scales together."""
    state = init_state(content, jaxstyle.adam())
    mean, square = noisy - 0.5, jnp.where(content > content.mean(), content**8, 0.0)
    optimizer_state = optax.tree_utils.tree_set(
        state.optimizer_state, count=jnp.array(7, jnp.int32), mu=mean, nu=square
    )
    kept = state.kept._replace(image=2 * noisy - 0.5, loss=jnp.array(3.0))
    return State(content, kept, optimizer_state, jnp.array(9, jnp.int32))


@pytest.mark.parametrize("size", [(36, 48), (17, 23), (24, 32)])
def test_the_state_of_adam_is_handed_over(moved: State, size: tuple[int, int]) -> None:
    state = change_scale(moved, size, jaxstyle.adam())
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
    fresh = init_state(state.image, jaxstyle.adam())
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, fresh)


@pytest.mark.parametrize("size", [(36, 48), (17, 23)])
def test_a_scale_starts_from_the_picture_that_was_kept(
    moved: State, size: tuple[int, int]
) -> None:
    """That is clipped before, lest what is out of range spread."""
    state = change_scale(moved, size, jaxstyle.adam())
    expected = resize_image(jnp.clip(moved.kept.image, 0, 1), size)
    assert_close(state.image, expected)
    assert state.image.min() >= 0
    assert state.image.max() <= 1
    assert_close(state.kept.image, expected)
    assert state.kept.loss == jnp.inf


def test_the_count_of_steps_goes_on(moved: State) -> None:
    for optimizer in (jaxstyle.adam(), optax.sgd(1.0)):
        state = init_state(moved.image, optimizer)._replace(step=moved.step)
        assert change_scale(state, (36, 48), optimizer).step == 9


def test_an_average_starts_anew_from_the_average(moved: State) -> None:
    keeper = keep_average(0.5)
    kept = keeper.update(
        keeper.init(moved.image), moved.image, jnp.ones(()), 1 - moved.image**2
    )
    average = keeper.picture(kept)
    state = change_scale(
        moved._replace(kept=kept), (36, 48), jaxstyle.adam(), keeper=keeper
    )
    assert_close(state.image, resize_image(average, (36, 48)))
    assert_close(state.kept, keeper.init(state.image))


@pytest.mark.parametrize(
    "optimizer",
    [
        jaxstyle.lbfgs(memory_size=3),
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


# --- whole runs ---------------------------------------------------------------------

OPTIMIZER, KEEPER = jaxstyle.adam(), keep_average(0.7)

# Every one makes a difference.
SETTINGS: dict[str, Any] = {
    "weights": WEIGHTS,
    "style_weights": {"relu1_1": [1.0, 2.0]},
    "objective": Objective(padding="replicate", style_loss="mean-std"),
}


def run(params: Params, scene: Scene, init: jax.Array) -> Any:
    """Make 2 steps at 16 pixels and one at 24."""
    return optimize_image(
        params,
        **scene._asdict(),
        init=init,
        sizes=(16, 24),
        steps=3,
        style_scale=1.1,
        optimizer=OPTIMIZER,
        keeper=KEEPER,
        **SETTINGS,
    )


compiled = jax.jit(run)


@jax.jit
def by_hand(params: Params, scene: Scene, init: jax.Array) -> Any:
    """Make the same steps one by one."""
    step = make_step(OPTIMIZER, keeper=KEEPER)
    state = init_state(resize_image(init, (12, 16)), OPTIMIZER, keeper=KEEPER)
    small, large = (resize_scene(scene, side, style_scale=1.1) for side in (16, 24))
    state, first = step(state, problem_of(params, small))
    state, second = step(state, problem_of(params, small))
    state = change_scale(state, (18, 24), OPTIMIZER, keeper=KEEPER)
    state, third = step(state, problem_of(params, large))
    history = jax.tree.map(lambda *values: jnp.stack(values), first, second, third)
    return jnp.clip(KEEPER.picture(state.kept), 0, 1), history


def problem_of(params: Params, scene: Scene) -> Problem:
    targets = make_targets(params, **scene._asdict(), **SETTINGS)
    return Problem(params, targets, SETTINGS["weights"])


def test_it_is_a_loop_over_scales(net: Params, scene: Scene, noisy: jax.Array) -> None:
    image, metrics = compiled(net, scene, noisy)
    expected, history = by_hand(net, scene, noisy)
    assert image.shape == (18, 24, 3)
    assert_close(image, expected, rtol=1e-4)
    assert metrics.keys() == {"loss", "content", "style", "total_variation"}
    assert all(values.shape == (3,) for values in metrics.values())
    assert_close(metrics, history, rtol=1e-4)


def test_scales_work_under_vmap(net: Params, scene: Scene, noisy: jax.Array) -> None:
    contents = jnp.stack([scene.content, noisy])
    axes = scene._replace(content=0, styles=None, masks=None, style_masks=None)  # type: ignore[arg-type]
    images, metrics = jax.jit(jax.vmap(run, (None, axes, None)))(
        net, scene._replace(content=contents), noisy
    )
    assert images.shape == (2, 18, 24, 3)
    for index, content in enumerate(contents):
        image, found = compiled(net, scene._replace(content=content), noisy)
        assert_close(images[index], image, rtol=1e-4)
        assert_close(metrics["loss"][index], found["loss"], rtol=1e-4)


def start_of(
    net: Params,
    content: jax.Array,
    *,
    sizes: tuple[int, ...],
    init: jax.Array | None = None,
) -> jax.Array:
    """Return where the only step starts, which is kept as the best."""
    image, metrics = jax.jit(
        lambda net, content, init: optimize_image(
            net,
            content,
            [content],
            init=init,
            weights=SMOOTH,
            optimizer=optax.sgd(1.0),
            steps=1,
            sizes=sizes,
        )
    )(net, content, init)
    assert metrics["loss"].shape == (1,)
    return jnp.asarray(image)


def test_of_fewer_steps_than_scales_the_last_is_made(
    net: Params, content: jax.Array
) -> None:
    image = start_of(net, content, sizes=(12, 16, 24), init=content)
    coarse = resize_image(content, (9, 12))
    expected = resize_image(resize_image(coarse, (12, 16)), (18, 24))
    assert_close(image, expected)


def test_the_details_of_the_content_come_in_with_every_scale(
    net: Params, content: jax.Array
) -> None:
    """With no steps at the coarse scales, the last starts from the content again."""
    expected = resize_image(content, (18, 24))
    blurred = start_of(net, content, sizes=(12, 16, 24), init=content)
    sharp = start_of(net, content, sizes=(12, 16, 24))
    assert float(jnp.abs(blurred - expected).mean()) > 0.02
    assert float(jnp.abs(sharp - expected).mean()) < 0.006


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


def test_it_may_start_from_an_image_of_the_coarsest_scale(
    net: Params, content: jax.Array, noisy: jax.Array
) -> None:
    init = noisy[:12, :16]
    image = start_of(net, content, sizes=(16, 40), init=init)
    assert_close(image, resize_image(init, (30, 40)))


def test_it_may_start_from_an_image_of_the_contents_size(
    net: Params, content: jax.Array, noisy: jax.Array
) -> None:
    image = start_of(net, content, sizes=(16, 40), init=noisy)
    assert_close(image, resize_image(resize_image(noisy, (12, 16)), (30, 40)))


def test_one_size_resizes_the_content(net: Params, content: jax.Array) -> None:
    image = start_of(net, content, sizes=(16,))
    assert_close(image, resize_image(content, (12, 16)))


def test_a_picture_out_of_range_is_clipped_before_it_is_resized(
    net: Params, content: jax.Array
) -> None:
    init = 3 * content[:12, :16] - 1
    image = start_of(net, content, sizes=(16, 24), init=init)
    assert_close(image, resize_image(jnp.clip(init, 0, 1), (18, 24)))


def test_gradients_go_through_scales_to_the_weights(raw: Params) -> None:
    """What the picture is derives from the weights as finite differences say."""
    net = jaxstyle.normalize(jaxstyle.truncate(raw, ["relu1_1"]))
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(np.float64(x)), net)
        content, style, direction = (
            jnp.asarray(generator.uniform(0.3, 0.7, (8, 8, 3))) for _ in range(3)
        )

        @jax.jit
        @jax.value_and_grad
        def run(weight: jax.Array) -> jax.Array:
            image, metrics = optimize_image(
                params,
                content,
                [style],
                weights=Weights({"relu1_1": 1.0}, {"relu1_1": weight}),
                init=content[::-1],
                sizes=(6, 8),
                steps=4,
                optimizer=jaxstyle.adam(),
                keeper=keep_average(0.5),
            )
            return (image * direction).sum() + metrics["loss"][-1]

        _, slope = run(jnp.asarray(50.0))
        above, below = (
            run(jnp.asarray(50.0 + 1e-4))[0],
            run(jnp.asarray(50.0 - 1e-4))[0],
        )
    expected = float(above - below) / 2e-4
    assert np.isfinite(slope)
    assert abs(expected) > 1e-6
    assert float(slope) == pytest.approx(expected, rel=1e-3)


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["content", "style"])
@pytest.mark.parametrize("sizes", [None, (16, 24)])
def test_8_bit_images_are_refused_at_any_scale(
    net: Params, content: jax.Array, which: str, sizes: tuple[int, ...] | None
) -> None:
    images = {"content": content, "style": content}
    images[which] = jnp.uint8(255 * content)
    with pytest.raises(TypeError, match=rf"{which} must .* divide 8-bit images by 255"):
        optimize_image(
            net, images["content"], [images["style"]], weights=SMOOTH, sizes=sizes
        )


@pytest.mark.parametrize("sizes", [None, (16, 24)])
def test_a_batch_is_refused_at_any_scale(
    net: Params, content: jax.Array, sizes: tuple[int, ...] | None
) -> None:
    with pytest.raises(ValueError, match=r"the content must .* use jax\.vmap for a"):
        optimize_image(net, content[None], [content], weights=SMOOTH, sizes=sizes)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"masks": []}, "got 0 masks for 1 styles"),
        ({"masks": [jnp.ones((12, 16))]}, r"masks must .* got \(12, 16\) for \(24, 32"),
        ({"style_masks": [None, None]}, "got 2 style masks for 1 styles"),
        ({"style_masks": [jnp.ones((24, 32))]}, r"\(24, 32\) for \(20, 28\)"),
    ],
)
@pytest.mark.parametrize("sizes", [None, (16, 24)])
def test_masks_that_do_not_fit_are_refused_at_any_scale(
    net: Params,
    content: jax.Array,
    style: jax.Array,
    masks: dict[str, Any],
    message: str,
    sizes: tuple[int, ...] | None,
) -> None:
    with pytest.raises(ValueError, match=message):
        optimize_image(net, content, [style], weights=SMOOTH, sizes=sizes, **masks)


def test_an_init_of_another_shape_is_refused_with_both_that_are_not(
    net: Params, content: jax.Array
) -> None:
    message = r"shape \(24, 32, 3\), or .* coarsest scale's \(12, 16, 3\), got \(18, 24"
    with pytest.raises(ValueError, match=message):
        start_of(net, content, sizes=(16, 24), init=jnp.zeros((18, 24, 3)))


def test_a_size_is_needed(net: Params, content: jax.Array) -> None:
    with pytest.raises(ValueError, match="at least one size is needed, got none"):
        optimize_image(net, content, [content], weights=SMOOTH, sizes=())
