"""Masks of the command line: images whose brightness says how much a pixel counts."""

import jax
import jax.numpy as jnp

from jaxstyle.files.image_files import load_image
from jaxstyle.images.arrays import Images
from jaxstyle.images.color import luminance
from jaxstyle.losses.targets import Mask

PROPORTIONS = 0.05
"""By how much, relatively, the proportions of a mask and its image may differ."""


def load_mask(path: str) -> Mask:
    """Read a mask; a ValueError if it is black all over."""
    mask = luminance(jnp.asarray(load_image(path)))[..., 0]
    if not mask.any():
        raise ValueError(f"the mask {path} is black all over: it would mask everything")
    return mask


def fit_mask(mask: Mask, images: Images, *, name: str = "a mask") -> Mask:
    """Resize a mask to images; a ValueError names it if it has other proportions."""
    height, width = images.shape[-3:-1]
    if abs(mask.shape[0] / mask.shape[1] * width / height - 1) > PROPORTIONS:
        raise ValueError(
            f"{name} has {mask.shape[1]}x{mask.shape[0]} pixels, but what it masks is "
            f"{width}x{height}; draw it on the image itself"
        )
    if mask.shape == (height, width):
        return mask
    return jnp.clip(jax.image.resize(mask, (height, width), "cubic"), 0, 1)
