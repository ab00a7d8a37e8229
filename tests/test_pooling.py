"""The poolings of a VGG network."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_gradients

from jaxstyle.vgg.layers import POOLINGS, average_pool, l2_pool, max_pool

every_pooling = pytest.mark.parametrize(
    "pool", [jax.jit(pool) for pool in POOLINGS.values()], ids=POOLINGS
)


@pytest.fixture
def x() -> jax.Array:
    """Activations of an odd size."""
    return jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 7, 5, 4)))


@every_pooling
def test_an_odd_last_row_and_column_are_left_out(pool: Any, x: jax.Array) -> None:
    assert pool(x).shape == (2, 3, 2, 4)
    np.testing.assert_array_equal(pool(x), pool(x[:, :6, :4]))


@pytest.mark.parametrize(
    ("name", "factor"), [("max", 1.0), ("average", 2.0), ("l2", 0.78 * 2)]
)
def test_a_constant_is_scaled(name: str, factor: float) -> None:
    pooled = POOLINGS[name](jnp.full((1, 4, 6, 2), 3.0))
    np.testing.assert_allclose(pooled, 3 * factor, rtol=1e-6)


def test_values_of_one_window() -> None:
    x = jnp.array([[1.0, 2.0], [4.0, 2.0]])[None, ..., None]
    np.testing.assert_allclose(max_pool(x).squeeze(), 4)
    np.testing.assert_allclose(average_pool(x).squeeze(), 2 * 9 / 4)
    np.testing.assert_allclose(l2_pool(x).squeeze(), 0.78 * 5, rtol=1e-6)


@every_pooling
def test_positive_factors_commute(pool: Any, x: jax.Array) -> None:
    np.testing.assert_allclose(pool(1e3 * x), 1e3 * pool(x), rtol=1e-5, atol=2e-3)


def test_the_order_of_the_poolings(x: jax.Array) -> None:
    largest = max_pool(x)
    assert bool((largest >= average_pool(x) / 2 - 1e-6).all())
    norm = l2_pool(x) / 0.78
    assert bool((norm >= largest - 1e-6).all())
    assert bool((norm <= 2 * largest + 2e-6).all())


@every_pooling
def test_gradients_are_those_of_finite_differences(pool: Any) -> None:
    assert_gradients(pool, jax.random.uniform(jax.random.key(1), (2, 5, 4, 3)) + 0.1)


@every_pooling
def test_gradients_at_zeros_are_finite(pool: Any) -> None:
    gradient = jax.jit(jax.grad(lambda x: pool(x).sum()))(jnp.zeros((1, 4, 4, 2)))
    assert bool(jnp.isfinite(gradient).all())


def test_the_gradient_of_l2_pooling_at_zeros_is_zero() -> None:
    gradient = jax.jit(jax.grad(lambda x: l2_pool(x).sum()))(jnp.zeros((1, 4, 4, 2)))
    np.testing.assert_array_equal(gradient, 0)


def test_equal_maxima_share_the_gradient() -> None:
    x = jnp.array([[1.0, 5.0], [5.0, 2.0]])[None, ..., None]
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).sum()))(x)
    np.testing.assert_allclose(gradient.squeeze(), [[0, 0.5], [0.5, 0]])
