"""Keeping the photo's colors: luma of the one, chroma of the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close, assert_gradients

from jaxstyle.images import color

# NumPy arrays are taken, too.
keep_chroma: Any = color.keep_chroma
keep_colors: Any = color.keep_colors
luminance: Any = color.luminance

# Rows: Y', I, Q of NTSC, as Gatys et al. have it, and Y', Cb, Cr of BT.601.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
)


either = pytest.mark.parametrize("keep", [keep_chroma, keep_colors])


def luma_and_chroma(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return Y', and the differences of red, green and blue from it."""
    luma = np.asarray(images, np.float64) @ YIQ[0]
    return luma, images - luma[..., None]


def random_images(*shape: int, least: float = 0.0, most: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return rng.uniform(least, most, (*shape, 3)).astype(np.float32)


@pytest.fixture
def pale() -> tuple[np.ndarray, np.ndarray]:
    """Two images whose colors are mild enough for every result to exist."""
    return random_images(5, 6, least=0.4, most=0.6), random_images(
        6, 5, least=0.35, most=0.65
    ).swapaxes(0, 1)


@either
@pytest.mark.parametrize("space", [YIQ, YCBCR])
def test_luma_is_of_the_stylized_and_chroma_of_the_content(
    pale: tuple[np.ndarray, np.ndarray], space: np.ndarray, keep: Any
) -> None:
    content, stylized = pale
    found = np.asarray(keep(content, stylized)) @ space.T
    np.testing.assert_allclose(found[..., 0], (stylized @ space.T)[..., 0], atol=1e-6)
    # The published matrices are rounded.
    np.testing.assert_allclose(found[..., 1:], (content @ space.T)[..., 1:], atol=1e-3)
    assert np.abs(content - stylized).max() > 0.1


@either
def test_an_image_keeps_its_own_colors(
    pale: tuple[np.ndarray, np.ndarray], keep: Any
) -> None:
    np.testing.assert_allclose(keep(pale[0], pale[0]), pale[0], atol=1e-6)
    strong = random_images(4, 4)
    np.testing.assert_allclose(keep(strong, strong), strong, atol=1e-6)


@either
def test_a_gray_content_gives_grays(keep: Any) -> None:
    content = np.repeat(random_images(4, 5)[..., :1], 3, axis=-1)
    found = np.asarray(keep(content, random_images(5, 4).swapaxes(0, 1)))
    np.testing.assert_allclose(found, found[..., :1].repeat(3, -1), atol=1e-6)


def test_what_does_not_exist_is_paler_with_the_same_luma_and_hue() -> None:
    content = random_images(20, 20)
    stylized = random_images(20, 21)[:, :20]
    found = np.asarray(keep_colors(content, stylized))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    luma = stylized @ YIQ[0]
    np.testing.assert_allclose(found @ YIQ[0], luma, atol=1e-6)
    chroma = found - luma[..., None]
    wanted = content - (content @ YIQ[0])[..., None]
    share = (chroma * wanted).sum(-1) / (wanted**2).sum(-1)
    np.testing.assert_allclose(chroma, share[..., None] * wanted, atol=1e-5)
    touching = (found.min(-1) < 1e-5) | (found.max(-1) > 1 - 1e-5)
    assert ((share > 1 - 1e-5) | touching).all()
    assert 0.1 < (share < 0.99).mean() < 0.9


def test_chroma_is_kept_exactly_and_luma_as_far_as_it_fits() -> None:
    content = random_images(20, 20)
    stylized = random_images(20, 21, least=-0.2, most=1.2)[:, :20]
    found = np.asarray(keep_chroma(content, stylized))
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    (luma, chroma), (wanted, _) = luma_and_chroma(found), luma_and_chroma(stylized)
    np.testing.assert_allclose(chroma, luma_and_chroma(content)[1], atol=1e-6)
    # Too bright a luma ends where a channel is full, too dark a one where one is empty.
    too_bright, too_dark = luma < wanted - 1e-5, luma > wanted + 1e-5
    np.testing.assert_allclose(found.max(-1)[too_bright], 1, atol=1e-6)
    np.testing.assert_allclose(found.min(-1)[too_dark], 0, atol=1e-6)
    assert all(0.1 < found.mean() < 0.8 for found in (too_bright, too_dark))


def test_luma_beyond_black_and_white_is_clipped() -> None:
    content = random_images(3, 3)
    stylized = np.full((3, 3, 3), 1.5, np.float32)
    np.testing.assert_allclose(keep_colors(content, stylized), 1, atol=1e-6)
    np.testing.assert_allclose(keep_colors(content, -stylized), 0, atol=1e-6)


@either
@pytest.mark.parametrize(
    "transform", [jax.jit, jax.vmap, lambda f: jax.vmap(jax.jit(f))]
)
def test_batches_and_transformations_change_nothing(
    transform: Callable[..., Callable[..., jax.Array]], keep: Any
) -> None:
    content, stylized = random_images(3, 4, 5), random_images(4, 4, 5)[:3]
    expected = [keep(a, b) for a, b in zip(content, stylized, strict=True)]
    assert_close(transform(keep)(content, stylized), jnp.stack(expected))


@either
def test_gradients(pale: tuple[np.ndarray, np.ndarray], keep: Any) -> None:
    content, stylized = pale
    assert_gradients(keep, content[:2, :2], stylized[:2, :2])


@either
def test_gradients_of_grays_are_finite(keep: Any) -> None:
    gray = jnp.full((2, 2, 3), 0.5)
    for argument in (0, 1):
        f = jax.grad(lambda *x: keep(*x).sum(), argument)
        gradient = jax.jit(f)(gray, gray)
        assert jnp.isfinite(gradient).all()


@either
def test_the_precision_stays(keep: Any) -> None:
    content = jnp.asarray(random_images(3, 3), jnp.bfloat16)
    assert keep(content, content).dtype == jnp.bfloat16


@either
def test_bad_images_are_refused(keep: Any) -> None:
    image = random_images(3, 4)
    with pytest.raises(ValueError, match="one shape, got"):
        keep(image, image[:2])
    with pytest.raises(TypeError, match="content must hold floating-point"):
        keep((255 * image).astype(np.uint8), image)
    with pytest.raises(ValueError, match="stylized must have the shape"):
        keep(image, image[..., :2])


# --- the luma alone -----------------------------------------------------------------


def test_luminance_is_gray_with_the_same_luma() -> None:
    images = random_images(2, 3, 4)
    found = np.asarray(luminance(images))
    assert found.shape == images.shape
    np.testing.assert_array_equal(found, found[..., :1].repeat(3, -1))
    np.testing.assert_allclose(found @ YIQ[0], images @ YIQ[0], atol=1e-6)
    np.testing.assert_allclose(luminance(found), found, atol=1e-6)


def test_only_images_have_a_luminance() -> None:
    with pytest.raises(ValueError, match="images must have the shape"):
        luminance(random_images(3, 4)[..., :1])
