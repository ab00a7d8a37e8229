"""Style optimization from coarse to fine: whole runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights, optimize_image
from jaxstyle.losses import Objective, Problem, make_targets
from jaxstyle.optimize import init_state, keep_average, make_step
from jaxstyle.optimize.pyramid import change_scale
from jaxstyle.optimize.scenes import Scene, resize_image, resize_scene
from jaxstyle.vgg import VGG

Params = dict[str, Any]

WEIGHTS = Weights({"relu1_1": 1.0}, {"relu1_1": 1e2})
SMOOTH = Weights({}, {}, 1.0)  # needs no network, and so compiles at once


@pytest.fixture(scope="module")
def net(shallow: Params) -> Params:
    """The first layer, which compiles in no time."""
    return dict(jaxstyle.vgg.truncate(shallow, ["relu1_1"]))


# --- whole runs ---------------------------------------------------------------------

OPTIMIZER, KEEPER = jaxstyle.optimize.adam(), keep_average(0.7)

# Every one makes a difference.
SETTINGS: dict[str, Any] = {
    "weights": WEIGHTS,
    "style_weights": {"relu1_1": [1.0, 2.0]},
    "objective": Objective(extractor=VGG(padding="replicate"), style_loss="mean-std"),
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
    net = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu1_1"]))
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
                optimizer=jaxstyle.optimize.adam(),
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
