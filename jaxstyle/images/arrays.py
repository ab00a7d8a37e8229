"""What an image array is: float32 RGB in [0, 1], channels last, ``[*n, h, w, 3]``.

Every public function of the package takes one image or any batch of images in this
form. Checks read only shapes and dtypes, so they run once, while tracing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jaxtyping import Array, Float

Image = Float[Array, "h w 3"]
Images = Float[Array, "*n h w 3"]

Params: TypeAlias = Mapping[str, Any]
"""The parameters of a network: a tree of arrays, in nested dicts."""

KINDS = {
    "conv1_1": "those of a VGG",
    "conv1": "those of a transform net",
    "encoder": "those of jaxstyle.load_transport",
    "params": "the variables of a Flax module (take what is in 'params')",
}
"""What parameters are of, by a name in their tree."""

TOO_BRIGHT = 4.0
"""A mean that images in [0, 1] do not have, and photos in 0..255 do."""


def check_images(images: Images, *, name: str = "images", smallest: int = 1) -> None:
    """Raise unless ``images`` is a floating-point array ``[*n, h, w, 3]``.

    A TypeError is about the type; a ValueError, about the shape, a side of less than
    ``smallest`` pixels, values in 0..255 as far as they are known while tracing, or a
    mesh with explicit axes. The message calls the array ``name``.
    """
    if not hasattr(images, "dtype"):
        raise TypeError(_describe_other(images, name))
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
    check_mesh(images, name=name)
    check_range(images, name=name)


def _describe_other(images: Any, name: str) -> str:
    """Say what is no array, and what to do."""
    expected = f"{name} must be an array [*n, height, width, 3] of values in [0, 1]"
    kind = type(images)
    if isinstance(images, Mapping):
        return f"{expected}, got a {kind.__name__}; parameters are another argument"
    if kind.__module__.startswith("PIL."):
        advice = "numpy.asarray(image.convert('RGB'), numpy.float32) / 255"
        return f"{expected}, got a PIL image; use jaxstyle.load_image, or {advice}"
    if isinstance(images, str) or hasattr(images, "__fspath__"):
        return f"{expected}, got {images!r}; use jaxstyle.load_image to read a file"
    return f"{expected}, got a {kind.__name__}; use jax.numpy.asarray"


def check_mesh(images: Any, *, name: str) -> None:
    """Raise a ValueError if an array is sharded over a mesh with explicit axes."""
    sharding = getattr(getattr(images, "aval", None), "sharding", None)
    mesh = getattr(sharding, "mesh", None)
    if mesh is not None and AxisType.Explicit in mesh.axis_types:
        raise ValueError(
            f"{name} lie on a mesh with explicit axes, by which sizes cannot be "
            "changed; make it with jax.make_mesh(..., axis_types=(jax.sharding."
            "AxisType.Auto,) * n) for n axes"
        )


def check_range(images: Any, *, name: str) -> None:
    """Raise a ValueError if the values are known, and those of 8-bit images."""
    known = isinstance(images, np.ndarray) or (
        isinstance(images, jax.Array)
        and not isinstance(images, jax.core.Tracer)
        and images.is_fully_addressable
    )
    if not known or not images.size:
        return
    # A few values far off are no reason: they are clipped, or told of elsewhere.
    mean = float(np.clip(jax.device_get(images), -255, 255).mean(dtype=np.float32))
    if mean > TOO_BRIGHT:
        raise ValueError(
            f"{name} must hold values in [0, 1], got a mean of {mean:.4g}; divide "
            "8-bit images by 255"
        )


def check_params(params: Any, *, name: str, expected: str, loader: str) -> None:
    """Raise a TypeError or a ValueError unless parameters have an array of a name.

    Names are those of the tree, ``conv1`` of a transform net or ``conv1_1`` of a VGG.
    """
    if isinstance(params, str) or hasattr(params, "__fspath__"):
        raise TypeError(
            f"expected the parameters of {expected}, got {params!r}; load them by "
            f"{loader}"
        )
    if not isinstance(params, Mapping):
        raise TypeError(
            f"expected the parameters of {expected}, got a {type(params).__name__}; "
            f"they come before the images, from {loader}"
        )
    if name not in params:
        known = next((kind for key, kind in KINDS.items() if key in params), None)
        what = known or f"a dict with {', '.join(map(str, params)) or 'nothing'}"
        raise ValueError(
            f"expected the parameters of {expected}, got {what}; load them by {loader}"
        )


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
