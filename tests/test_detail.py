"""Paintings of small photos, brought to the size of the photos with their detail."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_samples import smooth
from numeric_checks import assert_close

from jaxstyle import images
from jaxstyle.cli.stylize import full_size
from jaxstyle.cli.stylize.full_size import painted_size, restore_size
from jaxstyle.cli.stylize.painting import clip_colors
from jaxstyle.images import detail
from jaxstyle.images.color import keep_colors

HEIGHT, WIDTH = 60, 84
SMALL = 20, 28

# NumPy arrays are taken, too.
restore_detail: Any = images.restore_detail
fit_detail: Any = detail.fit_detail

restore = jax.jit(restore_detail)


def grating(height: int, width: int, *, period: float = 3.0) -> np.ndarray:
    """Return stripes that are too fine for the small size."""
    stripes = 0.05 * np.sin(2 * np.pi * np.arange(width) / period)
    return np.broadcast_to(stripes[:, None], (height, width, 3))


def shrink(photo: np.ndarray) -> np.ndarray:
    return np.asarray(jax.image.resize(photo, (*SMALL, 3), "lanczos3"))


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth photo with fine stripes of little contrast."""
    return (0.25 + smooth(HEIGHT, WIDTH) / 2 + grating(HEIGHT, WIDTH)).astype(
        np.float32
    )


def stripes_of(picture: np.ndarray) -> float:
    """Measure how strong the stripes are, relative to those of the photo."""
    stripes = grating(HEIGHT, WIDTH)
    return float((picture * stripes).sum() / (stripes**2).sum())


def test_a_photo_that_was_not_painted_stays_as_it_is(photo: np.ndarray) -> None:
    small = shrink(photo)
    assert_close(restore(photo, small, small), photo, rtol=1e-4)


def test_detail_is_added_where_the_painting_follows_the_photo(
    photo: np.ndarray,
) -> None:
    """Even if it has other colors: those are the painting's."""
    small = shrink(photo)
    painted = small[..., ::-1] * 0.9
    picture = np.asarray(restore(photo, small, painted))
    enlarged = jax.image.resize(painted, photo.shape, "lanczos3")
    inner = np.s_[12:-12, 12:-12]
    gray = (picture - enlarged)[inner]
    assert np.ptp(gray, axis=-1).max() < 0.01  # no color but the painting's
    assert 0.9 < stripes_of(picture) - stripes_of(np.asarray(enlarged)) < 1.05


def test_detail_is_left_out_where_strokes_go_their_own_way(photo: np.ndarray) -> None:
    small = shrink(photo)
    strokes = 0.2 * np.sin(np.arange(SMALL[0]))[:, None, None]
    picture = restore(photo, small, (small + strokes).astype(np.float32))
    assert abs(stripes_of(np.asarray(picture))) < 0.4


def test_it_is_pure_and_works_on_batches_and_has_gradients(photo: np.ndarray) -> None:
    photos = jnp.stack([photo, photo[::-1]])
    small = jnp.stack([shrink(photo), shrink(photo[::-1])])
    painted = 1 - small
    both = restore(photos, small, painted)
    each = jax.jit(jax.vmap(restore_detail))(photos, small, painted)
    assert_close(both, each)
    assert_close(both[1], restore(photos[1], small[1], painted[1]))

    def total(painted: jax.Array) -> jax.Array:
        return restore_detail(photos[0], small[0], painted).sum()

    gradient = jax.jit(jax.grad(total))(small[0])
    assert np.isfinite(gradient).all()


def test_wrong_images_are_refused(photo: np.ndarray) -> None:
    small = shrink(photo)
    with pytest.raises(ValueError, match=r"small and painted must have one shape, got"):
        restore_detail(photo, small, small[1:])
    with pytest.raises(ValueError, match="photos and small must be as many images"):
        restore_detail(photo[None], small, small)
    with pytest.raises(TypeError, match="photos must hold floating-point"):
        restore_detail(np.zeros((9, 9, 3), np.uint8), small, small)


# --- window by window ---------------------------------------------------------------


@pytest.mark.parametrize("window", [16, 100])
@pytest.mark.parametrize("finish", [clip_colors, keep_colors])
def test_windows_are_parts_of_the_whole(
    photo: np.ndarray, finish: full_size.Finish, window: int
) -> None:
    pixels = np.rint(photo * 255).astype(np.uint8)
    photo = (pixels / 255).astype(np.float32)
    small = shrink(photo)
    painted = np.clip(1.1 * small[..., ::-1] - 0.05, 0, 1)
    whole = finish(jnp.asarray(photo), restore(photo, small, painted))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_size, "WINDOW", window)
        full_size.compile_window.cache_clear()
        found = restore_size(pixels, small, painted, finish)
        full_size.compile_window.cache_clear()
    np.testing.assert_allclose(found / 255, np.clip(whole, 0, 1), atol=0.6 / 255)


def test_a_painting_that_is_not_finite_is_refused(photo: np.ndarray) -> None:
    small = shrink(photo)
    with pytest.raises(ValueError, match="NaN or infinite"):
        restore_size(photo.astype(np.uint8), small, small * np.nan, clip_colors)


@pytest.mark.parametrize(
    ("size", "stroke_size", "painted"),
    [
        ((768, 1024), 1, (768, 1024)),
        ((3000, 4000), 1, (768, 1024)),
        ((4000, 3000), 2, (512, 384)),
        ((3000, 4000), 0.5, (1536, 2048)),
        ((3000, 4000), 0.25, (3000, 4000)),
        ((3000, 4000), 0, (3000, 4000)),
        ((480, 640), 2, (240, 320)),
        ((480, 640), 0.5, (480, 640)),
        ((40, 4000), 1, (16, 1600)),
        ((48, 64), 1e9, (16, 22)),
    ],
)
def test_the_size_of_strokes_chooses_the_size_that_is_painted(
    size: tuple[int, int], stroke_size: float, painted: tuple[int, int]
) -> None:
    assert painted_size(size, stroke_size=stroke_size, smallest=16) == painted


def test_coefficients_are_those_of_the_documentation() -> None:
    """Flat images: b is the painting, less what is of the photo."""
    small, painted = (
        np.full((6, 6, 3), 0.5, np.float32),
        np.full((6, 6, 3), 0.7, np.float32),
    )
    found = np.asarray(fit_detail(small, painted))
    color = 1e-4 / (0.04 + 1e-4)
    expected = [0.7 - 0.5] * 3 + [1, color]
    np.testing.assert_allclose(found[3, 3], expected, atol=1e-3)
