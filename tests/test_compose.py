"""The public functions within other people's JAX code."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from net_samples import random_images, random_net
from numeric_checks import assert_close, assert_gradients

import jaxstyle
from jaxstyle import Weights, stylize
from jaxstyle.losses import Problem, Targets, make_targets, perceptual_loss

Params = dict[str, Any]

pytestmark = pytest.mark.usefixtures("plain_convolutions")

WEIGHTS = Weights({"relu1_2": 1.0}, {"relu1_1": 3.0})


@pytest.fixture(scope="module")
def net() -> Params:
    return random_net(width=2)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    return jnp.asarray(random_images(3, 17, 18, 3))


@pytest.fixture(scope="module")
def targets(shallow: Params, content: jax.Array, style: jax.Array) -> Targets:
    return make_targets(shallow, content, [style], WEIGHTS)


# --- stylize ------------------------------------------------------------------------


def test_vmap_over_images_is_a_batch(net: Params, images: jax.Array) -> None:
    found = jax.jit(jax.vmap(stylize, (None, 0)))(net, images)
    assert_close(found, jax.jit(stylize)(net, images))


def test_vmap_over_stacked_nets_is_each_net(net: Params, images: jax.Array) -> None:
    nets = [net, random_net(seed=1, width=2), random_net(seed=2, width=2)]
    stack = jax.tree.map(lambda *x: jnp.stack(x), *nets)
    found = jax.jit(jax.vmap(stylize, (0, None)))(stack, images[0])
    single = jax.jit(stylize)
    for picture, each in zip(found, nets, strict=True):
        assert_close(picture, single(each, images[0]))
    assert jnp.abs(found[0] - found[1]).max() > 0.01


def test_scan_over_the_frames_of_a_film(net: Params, images: jax.Array) -> None:
    def paint(count: jax.Array, frame: jax.Array) -> tuple[jax.Array, jax.Array]:
        return count + 1, stylize(net, frame)

    count, film = jax.jit(partial(jax.lax.scan, paint))(0, images)
    assert count == len(images)
    assert_close(film, jax.jit(stylize)(net, images))


def test_gradients_to_the_image_and_to_the_net(net: Params) -> None:
    image = random_images(16, 16, 3)

    def loss_of(image: jax.Array, share: jax.Array) -> jax.Array:
        moved = {**net, "conv1": jax.tree.map(lambda x: share * x, net["conv1"])}
        return jnp.square(stylize(moved, image)).mean()

    assert_gradients(loss_of, image, np.float32(0.9))


# --- losses -------------------------------------------------------------------------


def test_vmap_over_weights_is_a_sweep(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    def loss_of(weights: Weights) -> jax.Array:
        return perceptual_loss(shallow, noisy, targets, weights)[0]

    shares = jnp.array([0.5, 1.0, 4.0])
    swept = Weights({"relu1_2": shares}, {"relu1_1": 3 * shares})
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, swept)
    found = jax.jit(jax.vmap(loss_of, (axes,)))(swept)
    assert_close(found, shares * loss_of(WEIGHTS))


def test_vmap_over_stacked_targets_is_each_style(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    styles = [style, style[::-1, :, ::-1] ** 2]
    targets = [make_targets(shallow, content, [x], WEIGHTS) for x in styles]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *targets)

    def loss_of(targets: Targets) -> jax.Array:
        return perceptual_loss(shallow, noisy, targets, WEIGHTS)[0]

    found = jax.jit(jax.vmap(loss_of))(stack)
    single = jax.jit(loss_of)
    assert_close(found, jnp.stack([single(each) for each in targets]))
    assert found[0] != pytest.approx(float(found[1]), rel=0.01)


def test_gradients_go_through_unrolled_steps(
    shallow: Params, content: jax.Array, noisy: jax.Array, targets: Targets
) -> None:
    """How a weight changes where three steps lead, each computed a second time."""
    optimizer = optax.sgd(0.05)

    def after_steps(weight: jax.Array) -> jax.Array:
        weights = Weights({"relu1_2": weight}, WEIGHTS.style)
        problem = Problem(shallow, targets, weights)
        step = jax.checkpoint(jaxstyle.optimize.make_step(optimizer))
        state = jaxstyle.optimize.init_state(noisy, optimizer)
        for _ in range(3):
            state, _ = step(state, problem)
        return jnp.square(state.image - content).mean()

    value = jax.jit(jax.value_and_grad(after_steps))
    step = 0.05
    _, slope = value(jnp.float32(1.0))
    (above, _), (below, _) = value(jnp.float32(1 + step)), value(jnp.float32(1 - step))
    assert abs(slope) > 1e-5
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=2e-2)
