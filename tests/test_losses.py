"""One battery for every elementary loss, then what is particular to each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies
from numeric_checks import assert_close, assert_gradients

from jaxstyle.losses import (
    absolute_variation,
    content_loss,
    gram_matrix,
    style_loss,
    total_variation,
)
from jaxstyle.losses.style import STYLE_LOSSES
from jaxstyle.losses.terms import isotropic_variation, moments


class Loss(NamedTuple):
    """A loss of something against a target, and the shape of that thing.

    ``slack`` is how far values may be off, relative to the mean squares of both: more
    than none where a distance is a difference of large terms.
    """

    eager: Callable[[jax.Array, jax.Array], jax.Array]
    shape: tuple[int, ...]
    slack: float = 0

    def of(self, x: jax.Array, target: jax.Array) -> jax.Array:
        """Return the loss, compiled: that is quicker here than its operations are."""
        return jnp.asarray(jax.jit(self.eager)(x, target))

    def scale(self, x: jax.Array, target: jax.Array) -> float:
        """Return what the slack is relative to; covariances are 1e-4 at least."""
        return float(jnp.square(x).mean() + jnp.square(target).mean()) + 1e-4

    @property
    def rtol(self) -> float:
        """Return the relative error that the order of additions may cause."""
        return 1e-5 if self.slack else 1e-6


def of_features(name: str, *, slack: float = 0) -> Loss:
    """Return a style loss as a loss of features against features."""
    make_target, compare, _ = STYLE_LOSSES[name]
    return Loss(
        lambda x, target: compare(moments(x), make_target(moments(target))),
        (4, 5, 3),
        slack,
    )


# A new loss inherits all tests by a line here.
LOSSES = {
    "content_loss": Loss(content_loss, (4, 5, 3)),
    "style_loss": Loss(style_loss, (6, 6)),
    "style_loss of features": Loss(
        lambda x, target: style_loss(gram_matrix(x), gram_matrix(target)), (4, 5, 3)
    ),
    "total_variation": Loss(lambda x, target: total_variation(x - target), (4, 5, 3)),
    "absolute_variation": Loss(
        lambda x, target: absolute_variation(x - target), (4, 5, 3)
    ),
    "isotropic_variation": Loss(
        lambda x, target: isotropic_variation(x - target), (4, 5, 3)
    ),
    "gram_loss": of_features("gram"),
    "mean_loss": of_features("mean"),
    "mean_std_loss": of_features("mean-std"),
    # Newton-Schulz roots miss a part of small eigenvalues, so that not even equal
    # distributions have the distance 0.
    "wasserstein_loss": of_features("wasserstein", slack=1e-2),
    # Traces cancel to rounding.
    "exact_wasserstein_loss": of_features("wasserstein-exact", slack=3e-6),
}

gram, variation = jax.jit(gram_matrix), jax.jit(total_variation)
both_variations = pytest.mark.parametrize(
    "variation", [total_variation, absolute_variation]
)

Variation = Callable[[jax.Array], jax.Array]

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def make_batch(loss: Loss, count: int, *, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Return things and targets."""
    generator = np.random.default_rng(seed)
    x, target = generator.normal(size=(2, count, *loss.shape)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(target)


# --- the battery --------------------------------------------------------------------


@every_loss
@hypothesis.given(data=strategies.data())
@hypothesis.settings(max_examples=10, deadline=None, derandomize=True)
def test_losses_are_those_of_a_distance(
    loss: Loss, data: strategies.DataObject
) -> None:
    values = strategies.floats(-1e3, 1e3, width=32)
    of_shape = arrays.arrays(np.float32, loss.shape, elements=values)
    x, target = jnp.asarray(data.draw(of_shape)), jnp.asarray(data.draw(of_shape))
    value = float(loss.of(x, target))
    slack = loss.slack * loss.scale(x, target)
    assert -slack <= value < np.inf
    assert loss.of(x, x) == pytest.approx(0, abs=loss.slack * loss.scale(x, x))
    assert loss.of(target, x) == pytest.approx(value, rel=1e-5, abs=slack)


@every_loss
def test_different_things_differ(loss: Loss) -> None:
    assert bool((loss.of(*make_batch(loss, 3)) > 1e-3).all())


@every_loss
def test_there_is_one_value_per_image(loss: Loss) -> None:
    x, target = make_batch(loss, 6)
    whole = loss.of(x, target)
    assert whole.shape == (6,)
    one_by_one = [loss.of(a, b) for a, b in zip(x, target, strict=True)]
    assert all(value.shape == () for value in one_by_one)
    assert_close(whole, jnp.stack(one_by_one), rtol=loss.rtol)
    axes = (2, 3, *loss.shape)
    assert_close(loss.of(x.reshape(axes), target.reshape(axes)), whole.reshape(2, 3))


@every_loss
def test_the_order_of_the_batch_is_that_of_the_values(loss: Loss) -> None:
    x, target = make_batch(loss, 4)
    order = jnp.array([2, 0, 3, 1])
    assert_close(
        loss.of(x[order], target[order]), loss.of(x, target)[order], rtol=loss.rtol
    )


@every_loss
def test_one_target_serves_a_batch(loss: Loss) -> None:
    x, target = make_batch(loss, 3)
    expected = loss.of(x, jnp.broadcast_to(target[0], x.shape))
    assert_close(loss.of(x, target[0]), expected, rtol=loss.rtol)


@every_loss
def test_jit_and_vmap_change_nothing(loss: Loss) -> None:
    x, target = make_batch(loss, 3)
    expected = loss.eager(x, target)
    assert_close(jax.jit(loss.eager)(x, target), expected, rtol=loss.rtol)
    assert_close(jax.jit(jax.vmap(loss.eager))(x, target), expected, rtol=loss.rtol)


@every_loss
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    x, target = make_batch(loss, 2)
    assert_gradients(loss.of, x, target)


@every_loss
def test_the_gradient_at_the_target_is_zero(loss: Loss) -> None:
    x, _ = make_batch(loss, 1)
    gradient_of = jax.jit(jax.grad(lambda x, target: loss.of(x, target).sum()))
    for at in (x, jnp.zeros_like(x), jnp.ones_like(x)):
        gradient = gradient_of(at, at)
        np.testing.assert_allclose(gradient, 0, atol=1e-6 if loss.slack else 1e-8)


@every_loss
def test_float64_stays_float64(loss: Loss) -> None:
    x, target = make_batch(loss, 1)
    with jax.enable_x64(True):
        doubles = jnp.asarray(np.float64(x)), jnp.asarray(np.float64(target))
        precise = loss.of(*doubles)
        assert precise.dtype == jnp.float64
    np.testing.assert_allclose(loss.of(x, target), precise, rtol=1e-5)


# --- Gram matrices ------------------------------------------------------------------


@pytest.fixture(scope="module")
def features() -> jax.Array:
    return jnp.asarray(
        np.random.default_rng(1).normal(size=(2, 6, 7, 5)).astype(np.float32)
    )


def test_gram_matrix_is_the_mean_product_of_channels(features: jax.Array) -> None:
    flat = np.float64(features).reshape(2, 42, 5)
    expected = flat.swapaxes(1, 2) @ flat / (42 * 5)
    assert_close(gram(features), jnp.asarray(np.float32(expected)), rtol=1e-6)


def test_gram_matrix_forgets_where_things_are(features: jax.Array) -> None:
    flat = features.reshape(2, 42, 5)
    shuffled = flat[:, np.random.default_rng(2).permutation(42)].reshape(2, 3, 14, 5)
    assert_close(gram(shuffled), gram(features), rtol=1e-6)


def test_gram_matrix_does_not_grow_with_the_image(features: jax.Array) -> None:
    tiled = jnp.tile(features, (1, 3, 2, 1))
    assert_close(gram(tiled), gram(features), rtol=1e-6)


def test_gram_matrix_grows_with_the_square_of_activations(features: jax.Array) -> None:
    assert_close(gram(3 * features), 9 * gram(features), rtol=1e-6)


def test_gram_matrix_follows_the_order_of_channels(features: jax.Array) -> None:
    order = jnp.array([3, 1, 4, 0, 2])
    expected = gram(features)[:, order][:, :, order]
    assert_close(gram(features[..., order]), expected, rtol=1e-6)


@pytest.mark.parametrize("height", [1, 6])
def test_gram_matrix_is_symmetric_and_positive(
    features: jax.Array, height: int
) -> None:
    matrix = gram(features[:, :height, :1])
    assert_close(matrix, matrix.swapaxes(-2, -1), rtol=1e-7)
    least = np.linalg.eigvalsh(np.float64(matrix)).min()
    assert least > -1e-6 * float(jnp.abs(matrix).max())


@pytest.mark.parametrize("axes", [(), (3,), (2, 3)])
def test_gram_matrix_keeps_batch_axes(axes: tuple[int, ...]) -> None:
    assert gram(jnp.ones((*axes, 4, 5, 6))).shape == (*axes, 6, 6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gram_matrix_of_half_precision_is_accumulated_in_float32(
    dtype: type[np.generic],
) -> None:
    large = jax.random.uniform(jax.random.key(0), (64, 64, 3), minval=100, maxval=500)
    half = large.astype(dtype)
    matrix = gram(half)
    assert matrix.dtype == jnp.float32
    assert_close(matrix, gram(half.astype(jnp.float32)), rtol=1e-5)


@pytest.mark.parametrize("loss", [content_loss, total_variation, absolute_variation])
def test_losses_of_half_precision_are_accumulated_in_float32(
    loss: Callable[..., jax.Array],
) -> None:
    x = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3)).astype(jnp.bfloat16)
    target = (jnp.zeros_like(x),) if loss is content_loss else ()
    value = loss(x, *target)
    assert value.dtype == jnp.float32
    wide = (a.astype(jnp.float32) for a in (x, *target))
    assert_close(value, loss(*wide), rtol=2e-3)


# --- variation ----------------------------------------------------------------------


@both_variations
@pytest.mark.parametrize("shape", [(2, 2, 3), (5, 8, 3), (3, 4, 7, 3)])
def test_a_checkerboard_varies_by_exactly_2(
    shape: tuple[int, ...], variation: Variation
) -> None:
    *_, height, width, _ = shape
    board = (jnp.arange(height)[:, None] + jnp.arange(width)) % 2.0
    images = jnp.broadcast_to(board[..., None], shape)
    np.testing.assert_array_equal(variation(images), 2.0)


@both_variations
def test_stripes_vary_across_only(variation: Variation) -> None:
    stripes = jnp.broadcast_to((jnp.arange(6) % 2.0)[:, None], (4, 6, 3))
    assert variation(stripes) == 1
    assert variation(stripes.swapaxes(0, 1)) == 1


@both_variations
def test_a_flat_image_does_not_vary(variation: Variation) -> None:
    flat = jnp.full((5, 4, 3), 0.3)
    assert variation(flat) == 0
    np.testing.assert_array_equal(jax.jit(jax.grad(variation))(flat), 0)


@both_variations
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 3), (5, 1, 3)])
def test_a_side_of_one_pixel_adds_nothing(
    shape: tuple[int, ...], variation: Variation
) -> None:
    image = jnp.arange(np.prod(shape)).reshape(shape) / 3
    steps = 0 if shape == (1, 1, 3) else 1
    assert variation(image) == pytest.approx(steps)
    assert bool(jnp.isfinite(jax.jit(jax.grad(variation))(image)).all())


@both_variations
def test_brightness_does_not_matter(content: jax.Array, variation: Variation) -> None:
    assert_close(variation(content + 0.5), variation(content))


def test_contrast_counts_by_its_square_or_by_itself(content: jax.Array) -> None:
    assert_close(variation(2 * content), 4 * variation(content))
    assert_close(absolute_variation(2 * content), 2 * absolute_variation(content))


def isotropic(image: Any) -> float:
    """Return the isotropic variation of an image [h, w] in gray, compiled."""
    gray = jnp.asarray(image, jnp.float32)[..., None]
    return float(
        jax.jit(isotropic_variation)(jnp.broadcast_to(gray, (*image.shape, 3)))
    )


def test_isotropic_variation_of_a_ramp() -> None:
    ramp = np.arange(5.0) * np.ones((4, 1))
    # Of 4x5 differences across, 4 in 5 are 1; of 5x6 on either diagonal, 4 in 6 are.
    assert isotropic(ramp) == pytest.approx(2 * (4 / 5 / 3 + 2 * 4 / 6 / 12))
    assert isotropic(ramp.T) == pytest.approx(isotropic(ramp))


def test_isotropic_variation_of_a_checkerboard() -> None:
    board = np.indices((4, 6)).sum(0) % 2.0
    # Diagonal neighbors are equal, but for those between the edge and its repetition:
    # of 5x7 on either diagonal, two rows of 5 and two columns of 3.
    diagonals = 2 * (2 * 5 + 2 * 3) / (5 * 7) / 12
    assert isotropic(board) == pytest.approx(2 * ((5 / 6 + 3 / 4) / 3 + diagonals))


def test_isotropic_variation_of_one_pixel_and_of_a_flat_image_is_zero() -> None:
    assert isotropic(np.full((1, 1), 0.7)) == 0
    assert isotropic(np.full((4, 3), 0.7)) == 0


def test_isotropic_variation_judges_directions_more_alike() -> None:
    """Steep stripes along a diagonal, against upright ones as far apart."""
    down, across = np.indices((64, 64))
    upright, diagonal = across % 4 < 2, (across + down) / 2**0.5 % 4 < 2
    ratio = isotropic(diagonal) / isotropic(upright)
    gray = [jnp.asarray(x, jnp.float32)[..., None] for x in (diagonal, upright)]
    plain = float(variation(gray[0]) / variation(gray[1]))
    assert 1 < ratio < plain


def test_only_the_square_prefers_gradual_edges() -> None:
    sharp, gradual = jnp.array([0.0, 0, 4, 4, 4]), jnp.array([0.0, 1, 2, 3, 4])
    sharp, gradual = (jnp.broadcast_to(x[:, None], (3, 5, 3)) for x in (sharp, gradual))
    assert absolute_variation(sharp) == absolute_variation(gradual)
    assert variation(sharp) == 4 * variation(gradual)
