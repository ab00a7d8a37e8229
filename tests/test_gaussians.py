"""Normal distributions: fitting, joining, moving one onto another, barycenters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.kernels.gaussians import (
    Gaussian,
    barycenter,
    fit_gaussian,
    join_gaussians,
    transport_map,
)


def make_points(seed: int, *shape: int) -> jax.Array:
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(shape[-1], shape[-1])) + np.eye(shape[-1])
    return jnp.asarray(generator.normal(size=shape) @ mix + 3, jnp.float32)


def make_gaussian(seed: int, channels: int = 5) -> Gaussian:
    return fit_gaussian(make_points(seed, 100, channels))


def assert_same(found: Gaussian, expected: Gaussian) -> None:
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-5)
    scale = np.abs(expected.covariance).max()
    np.testing.assert_allclose(
        found.covariance, expected.covariance, rtol=1e-4, atol=1e-5 * scale
    )


def test_mean_and_covariance_are_those_of_numpy() -> None:
    points = make_points(0, 2, 50, 4)
    found = fit_gaussian(points)
    for i in range(2):
        own = Gaussian(points[i].mean(0), jnp.cov(points[i].T, bias=True))
        assert_same(jax.tree.map(lambda x, i=i: x[i], found), own)


def test_weights_count_points_as_often() -> None:
    points, weights = make_points(0, 6, 3), jnp.array([0.0, 1, 2, 0, 3, 1])
    repeated = jnp.repeat(points, weights.astype(int), axis=0)
    assert_same(fit_gaussian(points, weights), fit_gaussian(repeated))
    assert_same(fit_gaussian(points, weights / 7), fit_gaussian(repeated))


def test_no_weight_at_all_gives_zeros() -> None:
    found = fit_gaussian(make_points(0, 6, 3), jnp.zeros(6))
    assert not jnp.any(found.mean)
    assert not jnp.any(found.covariance)


def test_statistics_of_half_precision_are_in_float32() -> None:
    found = fit_gaussian(make_points(0, 4000, 3).astype(jnp.bfloat16))
    assert found.mean.dtype == found.covariance.dtype == jnp.float32
    single = fit_gaussian(make_points(0, 4000, 3).astype(jnp.bfloat16).astype(float))
    assert_same(found, single)


def test_parts_join_to_the_whole() -> None:
    points = make_points(0, 30, 4)
    sizes = [5, 15, 10]
    parts = [fit_gaussian(part) for part in jnp.split(points, [5, 20])]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *parts)
    assert_same(join_gaussians(stacked, jnp.array(sizes, float)), fit_gaussian(points))


def test_a_map_moves_one_covariance_to_the_other() -> None:
    source, target = make_gaussian(0).covariance, make_gaussian(1).covariance
    linear = np.asarray(jax.jit(transport_map)(source, target))
    np.testing.assert_allclose(linear @ source @ linear, target, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(linear, linear.T, atol=1e-5)
    assert np.linalg.eigvalsh(linear).min() > 0


def test_maps_of_stacked_covariances_are_those_of_each() -> None:
    pairs = [make_gaussian(seed).covariance for seed in range(4)]
    sources, targets = jnp.stack(pairs[:2]), jnp.stack(pairs[2:])
    found = transport_map(sources, targets)
    for i in range(2):
        alone = transport_map(sources[i], targets[i])
        np.testing.assert_allclose(found[i], alone, rtol=1e-4, atol=1e-4)


def test_a_map_of_ill_conditioned_covariances_is_right() -> None:
    scales = np.logspace(0, -5, 6)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    source = (rotation * scales) @ rotation.T
    target = (rotation * scales[::-1]) @ rotation.T
    expected = (rotation * np.sqrt(scales[::-1] / scales)) @ rotation.T
    found = transport_map(*(jnp.asarray(x, jnp.float32) for x in (source, target)))
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.5)


def test_the_gradient_of_a_map_is_that_of_differences() -> None:
    source, target = make_gaussian(0).covariance, make_gaussian(1).covariance
    direction = jnp.asarray(np.random.default_rng(2).normal(size=(5, 5)), jnp.float32)
    direction = direction + direction.T

    def value(t: jax.Array) -> jax.Array:
        return transport_map(source + t * direction, target)[0, 1]

    step = 1e-2
    difference = (value(jnp.array(step)) - value(jnp.array(-step))) / (2 * step)
    assert float(jax.grad(value)(0.0)) == pytest.approx(float(difference), rel=0.02)


# --- barycenters --------------------------------------------------------------------


def test_the_barycenter_of_one_given_twice_is_itself() -> None:
    one = make_gaussian(0)
    assert_same(barycenter([one, one], [0.3, 0.7]), one)


def test_the_barycenter_of_two_lies_on_the_way_between() -> None:
    """That of two is a point of the geodesic, which has a closed form."""
    one, other = make_gaussian(0), make_gaussian(1)
    way = 0.3 * transport_map(one.covariance, other.covariance) + 0.7 * jnp.eye(5)
    expected = Gaussian(0.7 * one.mean + 0.3 * other.mean, way @ one.covariance @ way)
    found = jax.jit(barycenter)([one, other], [0.7, 0.3])
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(
        found.covariance, expected.covariance, rtol=2e-3, atol=2e-3
    )


def test_the_barycenter_of_scaled_ones_has_the_mean_deviation() -> None:
    one = make_gaussian(0)
    scaled = [Gaussian(one.mean, s**2 * one.covariance) for s in (1.0, 2.0, 6.0)]
    found = barycenter(scaled, [1 / 3] * 3)
    assert_same(found, Gaussian(one.mean, 9 * one.covariance))
