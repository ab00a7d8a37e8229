"""Giving a style the colors of the content."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close, assert_gradients

from jaxstyle.images import color

# Jitted, which is quicker here. NumPy arrays are taken, too.
match_colors: Any = jax.jit(color.match_colors)
match_histograms: Any = jax.jit(color.match_histograms)
match_luminance: Any = jax.jit(color.match_luminance)

EVERY = [match_colors, match_histograms, match_luminance]
every = pytest.mark.parametrize("match", EVERY)

LEVEL = 1 / 255


def palette(seed: int, height: int, width: int, *batch: int) -> np.ndarray:
    """Return images with a mean and covariances of their own, far from 0 and 1."""
    rng = np.random.default_rng(seed)
    mean, mix = rng.uniform(0.45, 0.55, 3), rng.uniform(-0.06, 0.06, (3, 3))
    mix[0] += 0.15  # most of the differences are of brightness, as in pictures
    values = rng.uniform(-1, 1, (*batch, height, width, 3)) @ mix + mean
    assert 0 < values.min() < values.max() < 1
    return np.asarray(values, np.float32)


STYLE, CONTENT = palette(0, 20, 30), palette(1, 25, 16)
FLAT = np.broadcast_to(np.array([0.2, 0.5, 0.7], np.float32), (6, 7, 3))
GREY = np.repeat(STYLE[..., :1], 3, axis=-1)


def moments(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the covariance of the channels."""
    values = np.asarray(images, np.float64).reshape(-1, np.shape(images)[-1])
    return values.mean(0), np.atleast_2d(np.cov(values.T, bias=True))


def luma(images: Any) -> np.ndarray:
    values: np.ndarray = np.asarray(images, np.float64) @ np.array(color.LUMA)[:, None]
    return values


def assert_same_moments(found: Any, expected: Any) -> None:
    (mean, covariance), (wanted_mean, wanted) = moments(found), moments(expected)
    np.testing.assert_allclose(mean, wanted_mean, atol=1e-5)
    # What regularizes takes some 1e-4 of these covariances.
    np.testing.assert_allclose(covariance, wanted, atol=1e-3 * np.abs(wanted).max())


# --- means and covariances ----------------------------------------------------------


def test_colors_get_the_mean_and_the_covariances_of_the_content() -> None:
    found = match_colors(STYLE, CONTENT)
    assert found.shape == STYLE.shape
    assert_same_moments(found, CONTENT)
    assert np.abs(moments(STYLE)[0] - moments(CONTENT)[0]).max() > 0.02
    assert np.abs(moments(STYLE)[1] - moments(CONTENT)[1]).max() > 1e-3


def test_colors_are_moved_by_a_symmetric_positive_map() -> None:
    found = np.asarray(match_colors(STYLE, CONTENT), np.float64)
    values, moved = STYLE.reshape(-1, 3), found.reshape(-1, 3)
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    fit, *_ = np.linalg.lstsq(design, moved, rcond=None)
    np.testing.assert_allclose(design @ fit, moved, atol=1e-5)
    np.testing.assert_allclose(fit[:3], fit[:3].T, atol=1e-3)
    assert np.linalg.eigvalsh(fit[:3]).min() > 0.05
    # The other root of Gatys et al. would not be symmetric here.
    roots = [np.linalg.cholesky(moments(images)[1]) for images in (STYLE, CONTENT)]
    other = roots[1] @ np.linalg.inv(roots[0])
    assert np.abs(other - other.T).max() > 0.1


def test_luminance_gets_the_mean_and_the_deviation_of_the_contents() -> None:
    found = np.asarray(match_luminance(STYLE, CONTENT))
    assert found.shape == STYLE.shape
    np.testing.assert_array_equal(found, found[..., :1].repeat(3, -1))
    assert_same_moments(found[..., :1], luma(CONTENT))
    relation = np.corrcoef(found[..., 0].ravel(), luma(STYLE).ravel())[0, 1]
    assert relation == pytest.approx(1, abs=1e-5)


def test_an_image_matches_itself_already() -> None:
    np.testing.assert_allclose(match_colors(STYLE, STYLE), STYLE, atol=1e-5)
    np.testing.assert_allclose(match_luminance(GREY, GREY), GREY, atol=1e-5)


def test_a_gray_content_makes_the_style_gray() -> None:
    found = np.asarray(match_colors(STYLE, GREY))
    np.testing.assert_allclose(found, found[..., :1].repeat(3, -1), atol=2 * LEVEL)
    assert_same_moments(found.mean(-1, keepdims=True), GREY[..., :1])


def test_a_gray_style_stays_a_single_line_of_colors() -> None:
    found = np.asarray(match_colors(GREY, CONTENT))
    np.testing.assert_allclose(moments(found)[0], moments(CONTENT)[0], atol=1e-5)
    spread = np.linalg.eigvalsh(moments(found)[1])
    assert spread[-1] > 1e-3
    assert spread[1] < 1e-6


@pytest.mark.parametrize("match", [match_colors, match_luminance])
def test_a_flat_style_becomes_the_mean(match: Any) -> None:
    found = np.asarray(match(FLAT, CONTENT))
    mean = moments(CONTENT)[0] if match is match_colors else luma(CONTENT).mean()
    np.testing.assert_allclose(found, np.broadcast_to(mean, FLAT.shape), atol=1e-3)


@pytest.mark.parametrize("match", [match_colors, match_luminance])
def test_a_flat_content_flattens_the_style(match: Any) -> None:
    found = np.asarray(match(STYLE, FLAT))
    color = FLAT[0, 0] if match is match_colors else luma(FLAT)[0, 0]
    np.testing.assert_allclose(found, found * 0 + color, atol=2 * LEVEL)


def test_noise_of_less_than_a_level_is_not_blown_up_to_the_contents_colors() -> None:
    rng = np.random.default_rng(3)
    noise = rng.uniform(-LEVEL / 20, LEVEL / 20, STYLE.shape).astype(np.float32)
    found = np.asarray(match_colors(0.5 + noise, CONTENT))
    assert np.trace(moments(found)[1]) < 0.03 * np.trace(moments(CONTENT)[1])


# --- histograms ---------------------------------------------------------------------


def test_histograms_of_one_size_are_the_contents_exactly() -> None:
    content = palette(2, 30, 20)
    found = np.asarray(match_histograms(STYLE, content))
    for channel in range(3):
        np.testing.assert_allclose(
            np.sort(found[..., channel].ravel()),
            np.sort(content[..., channel].ravel()),
            atol=1e-6,
        )
        order = np.argsort(STYLE[..., channel].ravel())
        assert (np.diff(found[..., channel].ravel()[order]) >= 0).all()


@pytest.mark.parametrize("size", [(3, 4), (61, 47)])
def test_histograms_of_other_sizes_have_the_contents_quantiles(
    size: tuple[int, int],
) -> None:
    rng, pixels = np.random.default_rng(4), np.prod(size)
    different = np.stack([rng.permutation(pixels) for _ in range(3)], axis=-1)
    style = (different / pixels).astype(np.float32).reshape(*size, 3)
    found = np.asarray(match_histograms(style, CONTENT)).reshape(-1, 3)
    ranks = (np.arange(len(found)) + 0.5) / len(found)
    expected = np.quantile(CONTENT.reshape(-1, 3), ranks, axis=0, method="hazen")
    np.testing.assert_allclose(np.sort(found, axis=0), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [5, 256])
def test_an_image_with_ties_keeps_its_own_histogram(levels: int) -> None:
    image = np.floor(palette(5, 40, 40) * levels) / levels
    np.testing.assert_allclose(match_histograms(image, image), image, atol=1e-6)


def test_equal_values_stay_equal_and_get_the_middle_of_their_ranks() -> None:
    style = np.array([0.5, 0.1, 0.5, 0.5, 0.9], np.float32)
    content = np.array([0.0, 0.1, 0.4, 0.6, 1.0], np.float32)
    as_image = np.repeat(style[None, :, None], 3, axis=-1)
    found = match_histograms(as_image, np.repeat(content[None, :, None], 3, axis=-1))
    expected = np.array([0.4, 0.0, 0.4, 0.4, 1.0], np.float32)
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1e-6)


def test_histograms_of_flat_images() -> None:
    found = np.asarray(match_histograms(FLAT, CONTENT))
    median = np.median(CONTENT.reshape(-1, 3), axis=0)
    np.testing.assert_allclose(found, np.broadcast_to(median, FLAT.shape), atol=1e-6)
    found = np.asarray(match_histograms(STYLE, FLAT))
    np.testing.assert_array_equal(found, np.broadcast_to(FLAT[0, 0], STYLE.shape))


# --- all ----------------------------------------------------------------------------


@every
def test_results_are_images_where_the_matched_colors_are_none(match: Any) -> None:
    rng = np.random.default_rng(6)
    style = (0.9 * rng.beta(0.5, 5, (16, 16, 3))).astype(np.float32)
    content = rng.integers(0, 2, (16, 16, 1)).repeat(3, -1).astype(np.float32)
    found = np.asarray(match(style, content))
    assert found.min() == 0
    assert found.max() == 1


@every
@pytest.mark.parametrize(
    "transform", [lambda match: match.__wrapped__, jax.vmap], ids=["eager", "vmap"]
)
def test_batches_and_transformations_change_nothing(
    transform: Callable[..., Callable[..., jax.Array]], match: Any
) -> None:
    styles, contents = palette(7, 4, 5, 3), palette(8, 6, 3, 3)
    expected = [match(a, b) for a, b in zip(styles, contents, strict=True)]
    assert_close(transform(match)(styles, contents), jnp.stack(expected), rtol=1e-4)


@pytest.mark.parametrize("match", [match_colors, match_luminance])
def test_gradients(match: Any) -> None:
    # Different enough in all directions to be smooth on the scale of differences.
    style, content = np.random.default_rng(9).uniform(0.3, 0.7, (2, 6, 6, 3))
    assert_gradients(match, style, content)


def test_gradients_through_quantiles() -> None:
    style = np.float64(STYLE[:3, :3])
    assert_gradients(lambda content: match_histograms(style, content), CONTENT[:2, :4])


def test_gradients_through_ranks_are_zero() -> None:
    gradient = jax.grad(lambda style: match_histograms(style, CONTENT).sum())(STYLE)
    assert (gradient == 0).all()


@every
@pytest.mark.parametrize("argument", [0, 1])
def test_gradients_of_flat_images_are_finite(match: Any, argument: int) -> None:
    gradient = jax.jit(jax.grad(lambda *x: (match(*x) ** 2).sum(), argument))
    for images in ((FLAT, FLAT), (FLAT, CONTENT), (STYLE, FLAT)):
        assert jnp.isfinite(gradient(*images)).all()


@every
def test_the_precision_stays(match: Any) -> None:
    style = jnp.asarray(STYLE, jnp.bfloat16)
    found = match(style, jnp.asarray(CONTENT, jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
    expected = match(STYLE, CONTENT)
    np.testing.assert_allclose(np.asarray(found, np.float32), expected, atol=0.02)


@every
def test_bad_images_are_refused(match: Any) -> None:
    with pytest.raises(TypeError, match="style must hold floating-point"):
        match((255 * STYLE).astype(np.uint8), CONTENT)
    with pytest.raises(ValueError, match="content must have the shape"):
        match(STYLE, CONTENT[..., :2])
    with pytest.raises(ValueError, match=r"as many images, .* got \(2, 20, 30, 3\)"):
        match(np.stack([STYLE, STYLE]), CONTENT)
