"""The perceptual loss within models of other libraries: the same loss and gradient.

Each library tints an image by a matrix of its own, which is to be trained.
"""

from typing import Any

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses import Targets, make_targets, perceptual_loss

Params = dict[str, Any]

WEIGHTS = Weights({"relu1_2": 1.0}, {"relu1_1": 3.0})

IDENTITY = jnp.eye(3)


@pytest.fixture(scope="module")
def targets(shallow: Params, content: jax.Array, style: jax.Array) -> Targets:
    return make_targets(shallow, content, [style], WEIGHTS)


@pytest.fixture(scope="module")
def expected(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> tuple[jax.Array, jax.Array]:
    """The loss, and its gradient to the matrix."""

    def loss_of(matrix: jax.Array) -> jax.Array:
        return perceptual_loss(shallow, noisy @ matrix, targets, WEIGHTS)[0]

    loss, gradient = jax.jit(jax.value_and_grad(loss_of))(IDENTITY)
    assert jnp.abs(gradient).max() > 0
    return loss, gradient


def test_flax_nnx(
    shallow: Params,
    noisy: jax.Array,
    targets: Targets,
    expected: tuple[jax.Array, jax.Array],
) -> None:
    class Tint(nnx.Module):
        def __init__(self) -> None:
            self.matrix = nnx.Param(IDENTITY)

        def __call__(self, image: jax.Array) -> jax.Array:
            return image @ self.matrix[...]

    def loss_of(tint: Tint) -> jax.Array:
        return perceptual_loss(shallow, tint(noisy), targets, WEIGHTS)[0]

    loss, gradients = nnx.jit(nnx.value_and_grad(loss_of))(Tint())
    assert_close((loss, gradients.matrix[...]), expected)


def test_equinox(
    shallow: Params,
    noisy: jax.Array,
    targets: Targets,
    expected: tuple[jax.Array, jax.Array],
) -> None:
    class Tint(eqx.Module):
        matrix: jax.Array
        vgg: Params
        """The network may be part of a model, too."""

        def __call__(self, image: jax.Array) -> jax.Array:
            tinted = image @ self.matrix
            return perceptual_loss(self.vgg, tinted, targets, WEIGHTS)[0]

    def loss_of(tint: Tint) -> jax.Array:
        return tint(noisy)

    tint = Tint(IDENTITY, shallow)
    loss, gradients = eqx.filter_jit(eqx.filter_value_and_grad(loss_of))(tint)
    assert_close((loss, gradients.matrix), expected)
    assert jax.tree.map(jnp.shape, gradients.vgg) == jax.tree.map(jnp.shape, shallow)


def test_haiku(
    shallow: Params,
    noisy: jax.Array,
    targets: Targets,
    expected: tuple[jax.Array, jax.Array],
) -> None:
    def tinted_loss(image: jax.Array) -> jax.Array:
        matrix = hk.get_parameter("matrix", (3, 3), init=hk.initializers.Identity())
        return perceptual_loss(shallow, image @ matrix, targets, WEIGHTS)[0]

    model = hk.without_apply_rng(hk.transform(tinted_loss))
    params = model.init(None, noisy)
    loss, gradients = jax.jit(jax.value_and_grad(model.apply))(params, noisy)
    assert_close((loss, gradients["~"]["matrix"]), expected)
