"""The whole optimization in one pure function."""

from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights, optimize_image
from jaxstyle.losses import Problem
from jaxstyle.optimize import init_state, make_step
from jaxstyle.optimize.optimizers import OPTIMIZERS

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 1.0}, {"relu1_1": 1e3, "relu2_1": 1e3})


def test_it_is_the_best_image_of_a_loop_of_steps(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    """By default with L-BFGS, from the content."""
    image, metrics = jax.jit(partial(optimize_image, weights=WEIGHTS, steps=5))(
        shallow, content, [style]
    )
    targets = jaxstyle.losses.make_targets(shallow, content, [style], WEIGHTS)
    step, state = (
        make_step(jaxstyle.optimize.lbfgs()),
        init_state(content, jaxstyle.optimize.lbfgs()),
    )
    step, losses = jax.jit(step), []
    for _ in range(5):
        state, found = step(state, Problem(shallow, targets, WEIGHTS))
        losses.append(found["loss"])
    assert_close(metrics["loss"], jnp.stack(losses), rtol=1e-4)
    assert_close(image, jnp.clip(state.kept.image, 0, 1), rtol=1e-4)


def test_it_starts_where_it_is_told(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    image, metrics = optimize_image(
        shallow,
        content,
        [style],
        weights=WEIGHTS,
        init=noisy,
        steps=1,
        optimizer=optax.sgd(1.0),
    )
    assert_close(image, noisy, rtol=0)
    assert metrics["content"][0] > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_grid_is_one_program_whose_pictures_are_those_made_alone(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array, name: str
) -> None:
    """Over contents, styles, weights and images to start from.

    In float64: in float32 a pixel may differ by more than its rounding where pooling
    has two maxima that are nearly equal.
    """

    def optimize(
        params: Params, content: Any, style: Any, weight: Any, init: Any
    ) -> Any:
        return optimize_image(
            params,
            content,
            [style],
            weights=WEIGHTS._replace(content={"relu2_1": weight}),
            init=init,
            steps=6,
            optimizer=OPTIMIZERS[name](),
        )

    grid: Any = optimize
    for argument in (4, 3, 2, 1):
        grid = jax.vmap(grid, [0 if n == argument else None for n in range(5)])
    grid, alone = jax.jit(grid), jax.jit(optimize)
    with jax.enable_x64(True):
        params = jax.tree.map(np.float64, shallow)
        contents = np.stack([content, noisy[::-1]]).astype(np.float64)
        styles = np.stack([style, 1 - style]).astype(np.float64)
        weights = np.array([0, 10], np.float64)
        inits = np.random.default_rng(0).uniform(size=contents.shape)
        images, metrics = grid(params, contents, styles, weights, inits)
        assert images.shape == (2, 2, 2, 2, *content.shape)
        assert metrics["loss"].shape == (2, 2, 2, 2, 6)
        for lane in product(range(2), repeat=4):
            values = zip((contents, styles, weights, inits), lane, strict=True)
            image, found = alone(params, *(value[i] for value, i in values))
            assert_close(images[lane], image, rtol=1e-10)
            assert_close(metrics["loss"][lane], found["loss"], rtol=1e-10)
        others, _ = grid(params, contents, styles, weights**2, inits)
    np.testing.assert_array_equal(others[:, :, 0], images[:, :, 0])  # not coupled
    assert (np.abs(others - images)[:, :, 1].max((-1, -2, -3)) > 0.01).all()


def test_pixels_come_out_in_range(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    image, _ = optimize_image(
        shallow,
        content,
        [style],
        weights=WEIGHTS,
        init=3 * content - 1,
        steps=1,
        optimizer=optax.sgd(1.0),
    )
    assert image.min() >= 0
    assert image.max() <= 1


def test_gradients_go_through_adam_to_the_weights(raw: Params) -> None:
    """What the picture is derives from the weights as finite differences say."""
    net = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu1_2"]))
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(np.float64(x)), net)
        content, style, direction = (
            jnp.asarray(generator.uniform(0.3, 0.7, (8, 8, 3))) for _ in range(3)
        )

        @jax.jit
        @jax.value_and_grad
        def run(weight: jax.Array) -> jax.Array:
            weights = Weights({"relu1_2": 1.0}, {"relu1_2": weight})
            image, metrics = optimize_image(
                params,
                content,
                [style],
                weights=weights,
                init=content[::-1],
                steps=3,
                optimizer=jaxstyle.optimize.adam(),
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


@pytest.mark.parametrize("shape", [(24, 31, 3), (2, 24, 32, 3)])
def test_an_init_of_another_shape_is_refused(
    shallow: Params, content: jax.Array, style: jax.Array, shape: tuple[int, ...]
) -> None:
    message = r"must be of the content's shape \(24, 32, 3\), .*, got \("
    with pytest.raises(ValueError, match=message):
        optimize_image(
            shallow, content, [style], weights=WEIGHTS, init=jnp.zeros(shape)
        )


def test_a_batch_is_refused(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    with pytest.raises(ValueError, match=r"use jax\.vmap for a batch"):
        optimize_image(shallow, content[None], [style], weights=WEIGHTS)


@pytest.mark.parametrize("which", ["content", "style"])
def test_8_bit_images_are_refused(
    shallow: Params, content: jax.Array, style: jax.Array, which: str
) -> None:
    images = {"content": content, "style": style}
    images[which] = jnp.uint8(255 * images[which])
    with pytest.raises(TypeError, match="divide 8-bit images by 255"):
        optimize_image(
            shallow, images["content"], [images["style"]], weights=WEIGHTS, steps=1
        )
