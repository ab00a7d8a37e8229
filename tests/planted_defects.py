"""Clean pictures, and defects to plant in them."""

import numpy as np


def canvas(height: int = 128, width: int = 128, *, seed: int = 0) -> np.ndarray:
    """Return a rough blue-gray picture, like paint."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(scale=0.08, size=(height, width, 1))
    return np.clip(np.array([0.3, 0.4, 0.6]) + rough, 0, 1).astype(np.float32)


def with_blob(
    picture: np.ndarray, color: tuple[float, float, float], *, at: int = 48
) -> np.ndarray:
    """Return a picture with a square of 16 pixels."""
    changed = picture.copy()
    changed[at : at + 16, at : at + 16] = color
    return changed


def board(size: int, period: int) -> np.ndarray:
    """Return a checkerboard of -1 and 1."""
    place = np.arange(size) // (period // 2)
    return (1 - 2 * (np.add.outer(place, place) % 2))[..., None]
