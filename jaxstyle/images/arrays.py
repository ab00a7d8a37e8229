"""What an image array is: float32 RGB in [0, 1], channels last, ``[*n, h, w, 3]``.

Every public function of the package takes one image or any batch of images in this
form. Checks read only shapes and dtypes, so they run once, while tracing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "h w 3"]
Images = Float[Array, "*n h w 3"]


def check_images(images: Images, *, name: str = "images", smallest: int = 1) -> None:
    """Raise unless ``images`` is a floating-point array ``[*n, h, w, 3]``.

    Args:
        images: the array to check.
        name: what the message calls it.
        smallest: the least height and width that the caller can work with, in pixels.

    Raises:
        TypeError: the values are not floating-point numbers.
        ValueError: the shape is not ``[*n, h, w, 3]``, or a side is too short.
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
    if min(images.shape[-3:-1]) < smallest:
        height, width = images.shape[-3:-1]
        raise ValueError(
            f"{name} of {width}x{height} pixels is too small: "
            f"at least {smallest}x{smallest} are needed"
        )


def check_image(image: Image, *, name: str) -> None:
    """Raise unless ``image`` is one floating-point image ``[h, w, 3]``.

    Raises:
        TypeError: the values are not floating-point numbers.
        ValueError: the shape is not ``[h, w, 3]``.
    """
    check_images(image, name=name)
    if image.ndim != 3:
        raise ValueError(
            f"{name} must be one image [h, w, 3], got {image.shape}; "
            "use jax.vmap for a batch"
        )


def fit_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return (height, width) scaled so that the longer side is ``longest`` pixels.

    The aspect ratio is kept to the nearest pixel; no side becomes less than one.
    """
    if longest < 1:
        raise ValueError(f"the longest side must be at least 1 pixel, got {longest}")
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
