"""Images to start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.optimize.scenes import INITS

every_init = pytest.mark.parametrize("name", INITS)


@pytest.fixture(scope="module")
def styles() -> list[jax.Array]:
    """Two flat styles of different sizes, each of several colors far from 0 and 1."""
    generator = np.random.default_rng(0)
    first = generator.normal([0.5, 0.45, 0.4], [0.02, 0.05, 0.08], (40, 30, 3))
    second = generator.normal([0.5, 0.55, 0.6], [0.02, 0.05, 0.08], (20, 35, 3))
    return [jnp.asarray(np.float32(style)) for style in (first, second)]


def init(
    name: str, content: jax.Array, styles: list[jax.Array], *, seed: int = 0
) -> jax.Array:
    return INITS[name](content, styles, jax.random.key(seed))


def test_the_inits_by_name() -> None:
    assert list(INITS) == ["content", "noise", "gray", "style-stats"]


@every_init
def test_inits_are_images_like_the_content(
    name: str, content: jax.Array, styles: list[jax.Array]
) -> None:
    image = init(name, content, styles)
    assert image.shape == content.shape
    assert image.dtype == content.dtype
    assert 0 <= image.min() < image.max() <= 1


@every_init
def test_inits_work_under_jit(
    name: str, content: jax.Array, styles: list[jax.Array]
) -> None:
    key = jax.random.key(3)
    image = jax.jit(INITS[name])(content, styles, key)
    np.testing.assert_allclose(
        image, INITS[name](content, styles, key), rtol=0, atol=1e-6
    )


@every_init
def test_half_precision_stays_half_precision(
    name: str, content: jax.Array, styles: list[jax.Array]
) -> None:
    half = [image.astype(jnp.bfloat16) for image in (content, *styles)]
    assert init(name, half[0], half[1:]).dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ["noise", "gray", "style-stats"])
def test_the_key_decides_the_noise(
    name: str, content: jax.Array, styles: list[jax.Array]
) -> None:
    first, again, other = (init(name, content, styles, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert float((first == other).mean()) < 0.02


def test_content_is_the_content(content: jax.Array, styles: list[jax.Array]) -> None:
    np.testing.assert_array_equal(init("content", content, styles), content)


def test_noise_is_uniform(styles: list[jax.Array]) -> None:
    noise = init("noise", jnp.zeros((100, 100, 3)), styles)
    shares = np.histogram(noise, bins=10, range=(0, 1))[0] / noise.size
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_gray_is_mid_gray_to_one_of_255_levels(
    content: jax.Array, styles: list[jax.Array]
) -> None:
    gray = init("gray", content, styles)
    assert gray.min() >= 0.5
    assert gray.max() < 0.5 + 1 / 255
    assert float(gray.std()) == pytest.approx(1 / 255 / 12**0.5, rel=0.05)


def test_style_stats_have_the_mean_and_variance_of_all_styles(
    styles: list[jax.Array],
) -> None:
    """Each style counts as much, whatever its size."""
    image = init("style-stats", jnp.zeros((200, 200, 3)), styles)
    means = np.mean([np.float64(style).mean((0, 1)) for style in styles], 0)
    squares = np.mean(
        [np.square(np.float64(style)).mean((0, 1)) for style in styles], 0
    )
    deviations = np.sqrt(squares - np.square(means))
    np.testing.assert_allclose(image.mean((0, 1)), means, rtol=0, atol=2e-3)
    np.testing.assert_allclose(image.std((0, 1)), deviations, rtol=0.02)
    assert deviations[2] > 1.1 * float(styles[0][..., 2].std())  # the means differ


def test_style_stats_of_a_flat_style_are_its_color(content: jax.Array) -> None:
    for color in ([0.2, 0.5, 0.9], [0.0, 1.0, 0.5]):
        flat = jnp.broadcast_to(jnp.array(color), (8, 8, 3))
        image = init("style-stats", content, [flat])
        assert image.min() >= 0
        assert image.max() <= 1
        error = jnp.abs(image - jnp.array(color)).max()
        assert 0 < error < 6e-3
