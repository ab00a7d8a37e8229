"""Moments of features, whole or by region, and the losses that compare them.

That the losses are losses is for the battery in test_losses.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close

from jaxstyle.losses import gram_matrix, style_loss
from jaxstyle.losses.style import STYLE_LOSSES
from jaxstyle.losses.terms import Moments, moments

gram = jax.jit(gram_matrix)


@pytest.fixture(scope="module")
def features() -> jax.Array:
    """Two layers, [2, 6, 7, 5]."""
    return jnp.asarray(
        np.random.default_rng(1).normal(size=(2, 6, 7, 5)).astype(np.float32)
    )


# --- moments ------------------------------------------------------------------------


def moments_of(features: Any, mask: Any = None) -> Moments:
    """Return the moments, compiled."""
    found: Moments = jax.jit(moments)(features, mask)
    return found


@pytest.fixture(scope="module")
def mask() -> jax.Array:
    """Two soft masks, [2, 6, 7]."""
    return jnp.asarray(np.random.default_rng(3).uniform(size=(2, 6, 7)), jnp.float32)


def test_the_gram_matrix_is_the_second_moment_by_channel(features: jax.Array) -> None:
    assert_close(gram(features), moments_of(features).second / 5, rtol=1e-6)


def test_moments_are_those_of_numpy(features: jax.Array, mask: jax.Array) -> None:
    found = moments_of(features, mask)
    for f, m, mean, second in zip(features, mask, *found, strict=True):
        flat, shares = np.float64(f).reshape(-1, 5), np.float64(m).ravel()
        shares /= shares.sum()
        np.testing.assert_allclose(mean, shares @ flat, rtol=0, atol=1e-6)
        np.testing.assert_allclose(second, flat.T * shares @ flat, rtol=0, atol=1e-6)


def test_a_mask_of_ones_changes_nothing(features: jax.Array) -> None:
    assert_close(moments_of(features, jnp.ones((6, 7))), moments_of(features))


def test_a_mask_counts_by_its_proportions(features: jax.Array, mask: jax.Array) -> None:
    assert_close(moments_of(features, 255 * mask), moments_of(features, mask))


def test_a_hard_mask_is_a_crop(features: jax.Array) -> None:
    window = jnp.zeros((6, 7)).at[1:4, 2:6].set(1)
    crop = features[:, 1:4, 2:6]
    assert_close(moments_of(features, window), moments_of(crop))


def test_complementary_soft_masks_share_out_the_whole(
    features: jax.Array, mask: jax.Array
) -> None:
    parts = [moments_of(features, m) for m in (mask, 1 - mask)]
    shares = [m.mean((-2, -1)) for m in (mask, 1 - mask)]
    mean = sum(s[:, None] * p.mean for s, p in zip(shares, parts, strict=True))
    second = sum(
        s[:, None, None] * p.second for s, p in zip(shares, parts, strict=True)
    )
    assert_close(Moments(mean, second), moments_of(features))  # type: ignore[arg-type]


def test_masks_of_several_regions_are_an_axis(
    features: jax.Array, mask: jax.Array
) -> None:
    found = moments_of(features[:, None], mask)
    assert found.mean.shape == (2, 2, 5)
    assert found.second.shape == (2, 2, 5, 5)
    for region in (0, 1):
        of_region = jax.tree.map(lambda x, r=region: x[:, r], found)
        assert_close(of_region, moments_of(features, mask[region]))


def test_an_empty_region_has_finite_losses(features: jax.Array) -> None:
    empty = jnp.zeros((6, 7))
    assert all(bool((x == 0).all()) for x in moments_of(features, empty))
    for make_target, compare, _ in STYLE_LOSSES.values():
        target = make_target(moments(features))
        evaluate = jax.value_and_grad(
            lambda x, of=compare, target=target: of(moments(x, empty), target).sum()
        )
        value, gradient = jax.jit(evaluate)(features)
        assert value > 0
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_moments_of_half_precision_are_accumulated_in_float32(
    dtype: type[np.generic],
) -> None:
    large = jax.random.uniform(jax.random.key(0), (64, 64, 3), minval=100, maxval=500)
    half, window = large.astype(dtype), jnp.ones((64, 64), dtype)
    expected = moments_of(half.astype(jnp.float32))
    for found in (moments_of(half), moments_of(half, window)):
        assert {x.dtype for x in found} == {jnp.dtype(jnp.float32)}
        assert_close(found, expected)


# --- style losses -------------------------------------------------------------------

every_style_loss = pytest.mark.parametrize("name", STYLE_LOSSES)
both_distances = pytest.mark.parametrize("name", ["wasserstein", "wasserstein-exact"])


def compare(name: str, found: Moments, style: Moments) -> jax.Array:
    """Return a style loss between moments, compiled."""
    make_target, of, _ = STYLE_LOSSES[name]
    return jnp.asarray(jax.jit(lambda a, b: of(a, make_target(b)))(found, style))


@pytest.fixture(scope="module")
def pair(features: jax.Array) -> tuple[Moments, Moments]:
    """The moments of two layers, each [5] and [5, 5]."""
    a, b = features
    return moments(a), moments(2 * b + 1)


def test_the_gram_loss_is_the_style_loss(features: jax.Array) -> None:
    a, b = features
    found = compare("gram", moments(a), moments(b))
    assert_close(found, style_loss(gram(a), gram(b)))


@every_style_loss
def test_style_losses_forget_where_things_are(features: jax.Array, name: str) -> None:
    a, b = features
    shuffled = a.reshape(42, 5)[np.random.default_rng(2).permutation(42)]
    found = compare(name, moments(shuffled.reshape(3, 14, 5)), moments(b))
    assert_close(found, compare(name, moments(a), moments(b)))


def normal(mean: Any, variances: Any) -> Moments:
    """Return the moments of independent channels; 1e-4 is added to the variances."""
    mean, variances = np.float32(mean), np.float32(variances) - np.float32(1e-4)
    second = np.diag(variances) + np.outer(mean, mean)
    return Moments(jnp.asarray(mean), jnp.asarray(second))


MEANS = [0.5, 1.0, 2.0], [1.0, -1.0, 1.5]
VARIANCES = [1.0, 4.0, 0.25], [2.25, 0.09, 0.5]
APART = np.square(np.subtract(*MEANS)).mean()
SPREADS_APART = np.square(np.subtract(*np.sqrt(VARIANCES))).mean()


def test_mean_loss_sees_means_only() -> None:
    a, b = map(normal, MEANS, VARIANCES)
    assert compare("mean", a, b) == pytest.approx(APART)
    assert compare("mean", a, normal(MEANS[0], VARIANCES[1])) == 0


@pytest.mark.parametrize("name", ["mean-std", "wasserstein", "wasserstein-exact"])
def test_independent_channels_compare_deviations(name: str) -> None:
    """The Wasserstein distance between commuting covariances is that of their roots."""
    a, b = map(normal, MEANS, VARIANCES)
    found = float(compare(name, a, b))
    assert found == pytest.approx(APART + SPREADS_APART, rel=1e-5)


def test_only_covariances_tell_correlations() -> None:
    a = normal([0.0, 0.0], [1.0, 1.0])
    b = Moments(a.mean, a.second.at[0, 1].set(0.6).at[1, 0].set(0.6))
    assert compare("mean-std", a, b) == 0
    # Variances of 1.6 and 0.4 along the diagonals, against 1.
    expected = np.mean([(1.6**0.5 - 1) ** 2, (0.4**0.5 - 1) ** 2])
    for name in ("wasserstein", "wasserstein-exact"):
        assert float(compare(name, a, b)) == pytest.approx(expected, rel=1e-3)


@both_distances
def test_rotated_channels_are_as_far_apart(
    pair: tuple[Moments, Moments], name: str
) -> None:
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(5, 5)))[0]
    q = jnp.asarray(rotation, jnp.float32)
    rotated = [Moments(q @ m.mean, q @ m.second @ q.T) for m in pair]
    assert_close(compare(name, *rotated), compare(name, *pair))


def test_both_roots_agree_where_no_channel_is_weak(
    pair: tuple[Moments, Moments],
) -> None:
    assert_close(compare("wasserstein", *pair), compare("wasserstein-exact", *pair))


def test_newton_schulz_overrates_the_distance_of_weak_channels() -> None:
    style = normal([0.0, 0.0], [1.0, 1e-3])
    # The conjugate covariance is diag(1, 1e-6), whose smaller root comes out at 0.937.
    excess = float(compare("wasserstein", style, style))
    assert excess == pytest.approx(2 * (1 - 0.937) * 1e-3 / 2, rel=4e-2)
    assert abs(float(compare("wasserstein-exact", style, style))) < 1e-6


def test_the_exact_distance_keeps_its_digits_in_float32() -> None:
    """Many channels, few positions: most variances are the 1e-4 that is added."""
    x, target = np.random.default_rng(5).uniform(0, 9, size=(2, 3, 4, 96))
    with jax.enable_x64(True):
        doubles = moments(jnp.asarray(x)), moments(jnp.asarray(target))
        expected = compare("wasserstein-exact", *doubles)
        assert expected.dtype == jnp.float64
    singles = (moments(jnp.asarray(np.float32(f))) for f in (x, target))
    found = compare("wasserstein-exact", *singles)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@every_style_loss
def test_flat_features_have_finite_gradients(features: jax.Array, name: str) -> None:
    make_target, of, _ = STYLE_LOSSES[name]
    target = make_target(moments(features[0]))
    gradient_of = jax.jit(jax.grad(lambda x: of(moments(x), target)))
    for value in (0.0, 0.3, 300.0):
        gradient = gradient_of(jnp.full((6, 7, 5), value))
        assert bool(jnp.isfinite(gradient).all())


@every_style_loss
def test_descending_brings_moments_to_those_of_the_style(
    pair: tuple[Moments, Moments], features: jax.Array, name: str
) -> None:
    make_target, of, _ = STYLE_LOSSES[name]
    target = make_target(pair[1])
    evaluate = jax.jit(jax.value_and_grad(lambda x: of(moments(x), target)))
    x = features[0]
    first, gradient = evaluate(x)
    step = 0.1 * first / jnp.square(gradient).sum()
    assert evaluate(x - step * gradient)[0] < 0.95 * first


@both_distances
def test_targets_of_several_regions_are_an_axis(
    features: jax.Array, mask: jax.Array, name: str
) -> None:
    a, b = features
    found = compare(name, moments(a, mask), moments(b, mask))
    expected = [compare(name, moments(a, m), moments(b, m)) for m in mask]
    assert_close(found, jnp.stack(expected))
