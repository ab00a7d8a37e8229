"""Masks of the command line: images whose brightness says how much a pixel counts."""

import jax.numpy as jnp

from jaxstyle.files.image_files import load_image
from jaxstyle.images.arrays import Image, Images
from jaxstyle.images.color import luminance
from jaxstyle.losses.targets import Mask
from jaxstyle.optimize.scenes import resize_image

PROPORTIONS = 0.05
"""By how much, relatively, the proportions of a mask and its image may differ."""


def load_mask(path: str, image: Image | None = None) -> Mask:
    """Read a mask, resized to an image if one is given.

    A ValueError says if it is black all over, or of other proportions.
    """
    mask = luminance(jnp.asarray(load_image(path)))
    if image is not None:
        check_proportions(mask[..., 0], image, name=f"the mask {path}")
        mask = resize_image(mask, image.shape[:2])
    if not mask.any():
        raise ValueError(f"the mask {path} is black all over: it would mask everything")
    return mask[..., 0]


def check_proportions(mask: Mask, images: Images, *, name: str = "a mask") -> None:
    """Raise a ValueError if a mask has other proportions than what it masks."""
    height, width = images.shape[-3:-1]
    if abs(mask.shape[0] / mask.shape[1] * width / height - 1) > PROPORTIONS:
        raise ValueError(
            f"{name} has {mask.shape[1]}x{mask.shape[0]} pixels, but what it masks is "
            f"{width}x{height}; draw it on the image itself"
        )
