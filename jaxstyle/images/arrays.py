"""What an image array is: float32 RGB in [0, 1], channels last, ``[*n, h, w, 3]``.

Every public function of the package takes one image or any batch of images in this
form. Checks read only shapes and dtypes, so they run once, while tracing.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "h w 3"]
Images = Float[Array, "*n h w 3"]


def check_images(images: Images, *, name: str = "images", smallest: int = 1) -> None:
    """Raise unless ``images`` is a floating-point array ``[*n, h, w, 3]``.

    A TypeError is about the dtype; a ValueError, about the shape or a side of less than
    ``smallest`` pixels. The message calls the array ``name``.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} must hold floating-point values in [0, 1], got {images.dtype}; "
            "divide 8-bit images by 255"
        )
    if images.ndim < 3 or images.shape[-1] != 3:
        raise ValueError(
            f"{name} must have the shape [*n, height, width, 3], got {images.shape}"
        )
    check_side(images.shape[-3:-1], name=name, smallest=smallest)


def check_side(size: Sequence[int], *, name: str, smallest: int) -> None:
    """Raise a ValueError if a side of a size (height, width) is below the smallest."""
    if min(size) < smallest:
        height, width = size
        raise ValueError(
            f"{name} of {width}x{height} pixels is too small: "
            f"at least {smallest}x{smallest} are needed"
        )


def check_image(image: Image, *, name: str = "the image", smallest: int = 1) -> None:
    """Raise, as `check_images` does, unless it is one image ``[h, w, 3]``."""
    check_images(image, name=name, smallest=smallest)
    if image.ndim != 3:
        raise ValueError(
            f"{name} must be one image [h, w, 3], got {image.shape}; "
            "use jax.vmap for a batch"
        )


def check_one_shape(**images: Images) -> None:
    """Raise, as `check_images` does, or a ValueError if shapes of images differ."""
    for name, array in images.items():
        check_images(array, name=name)
    shapes = [array.shape for array in images.values()]
    if len({*shapes}) > 1:
        raise ValueError(
            f"{' and '.join(images)} must have one shape, got "
            f"{' and '.join(map(str, shapes))}"
        )


PROPORTIONS = 0.05
"""By how much, relatively, the proportions of a mask and its image may differ."""


def check_proportions(
    mask: Sequence[int],
    size: Sequence[int],
    *,
    name: str = "a mask",
    what: str = "what it masks",
) -> None:
    """Raise a ValueError if a mask has other proportions than what it masks.

    Both are (height, width); the message has the names.
    """
    (rows, columns), (height, width) = mask, size
    if abs(rows / columns * width / height - 1) > PROPORTIONS:
        raise ValueError(
            f"{name} has {columns}x{rows} pixels, but {what} is {width}x{height}; draw "
            "it on the image itself"
        )


def fit_size(size: Sequence[int], longest: int) -> tuple[int, int]:
    """Scale a size (height, width) so that the longer side is ``longest`` pixels.

    The aspect ratio is kept to the nearest pixel; no side becomes less than one.
    """
    if longest < 1:
        raise ValueError(f"the longest side must be at least 1 pixel, got {longest}")
    height, width = size
    scale = longest / max(size)
    return max(1, round(height * scale)), max(1, round(width * scale))
