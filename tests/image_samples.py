"""Images to write to files, and what the tests of image files check."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxstyle.files.image_files import load_image

# Pillow's arguments for pixels as exact as the format allows.
FINEST: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"quality": 100, "subsampling": 0},
    ".webp": {"lossless": True, "exact": True},
    ".tif": {},
}


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def blocks(height: int = 16, width: int = 32) -> np.ndarray:
    """Four quadrants of different colors, which JPEG keeps nearly exactly."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[: height // 2, : width // 2] = 255, 0, 0
    image[height // 2 :, : width // 2] = 0, 160, 0
    image[: height // 2, width // 2 :] = 20, 20, 220
    return image


def smooth(height: int = 40, width: int = 60) -> np.ndarray:
    """Color ramps in [0, 1], which every format keeps well."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([x, y, 1 - (x + y) / 2], -1)


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def cmyk(inks: np.ndarray) -> Image.Image:
    return Image.merge(
        "CMYK", [Image.fromarray(ink) for ink in np.moveaxis(inks, 2, 0)]
    )


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def read(path: Path) -> np.ndarray:
    """Load an image, check what holds for every image, and return it in 0..255."""
    image = load_image(path)
    assert image.dtype == np.float32
    assert image.ndim == 3
    assert image.shape[-1] == 3
    assert image.min() >= 0
    assert image.max() <= 1
    return image.astype(np.float64) * 255


def assert_close(image: np.ndarray, expected: Any, *, within: float = 1e-4) -> None:
    np.testing.assert_allclose(
        image, np.broadcast_to(expected, image.shape), atol=within, rtol=0
    )


def refusal(path: Path, function: Callable[[Path], object] = load_image) -> str:
    """Return the reason for which a function refuses a path, on one line."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
        function(path)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message.replace(str(path), "PATH")


def places(part: np.ndarray, whole: np.ndarray) -> list[tuple[int, int]]:
    """Return where an image lies in another, pixel by pixel."""
    height, width, _ = part.shape
    tops = range(whole.shape[0] - height + 1)
    corners = [
        (top, left)
        for top in tops
        for left in range(whole.shape[1] - width + 1)
        if np.array_equal(whole[top, left], part[0, 0])
    ]
    return [
        (top, left)
        for top, left in corners
        if np.array_equal(whole[top : top + height, left : left + width], part)
    ]
