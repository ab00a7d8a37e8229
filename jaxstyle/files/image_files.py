"""Image files on disk, read into and written from float32 RGB arrays in [0, 1].

Reading normalizes any image that Pillow decodes to upright, opaque sRGB of 8 bits.
Writing stores the settings that made the image in two EXIF tags, in every format.
"""

import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, UInt8

from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.param_files import package_file
from jaxstyle.images.arrays import check_image, fit_size

if TYPE_CHECKING:
    from PIL import Image

PHOTOS = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg")
"""The example images that are photographs."""

# Suffix -> arguments of Pillow's `save`, for all formats that can be written.
_WRITERS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
}
_WRITERS |= {".jpeg": _WRITERS[".jpg"], ".tiff": _WRITERS[".tif"]}

# EXIF tags.
_DESCRIPTION, _SOFTWARE, _ORIENTATION = 0x010E, 0x0131, 0x0112

# The value of white in pixels of more than 8 bits, by Pillow mode.
_WHITE = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "F": 1}

# The mode without alpha of all other pixels; where none is given, it is RGB.
_COLORS = {"L": "L", "LA": "L", "CMYK": "CMYK"}


def load_image(
    path: str | Path, *, longest_side: int | None = None, shrink_to: int | None = None
) -> Float[np.ndarray, "h w 3"]:
    """Read the first frame of an image file as sRGB ``[h, w, 3]``, upright, over white.

    Pixels are rounded to 8 bits. White is 65535 in wide integer pixels and 1.0 in
    floating-point ones, or the image's own maximum where that is larger. An embedded
    profile that is damaged or does not fit the pixels is ignored.

    Args:
        path: a file in any format that Pillow reads.
        longest_side: resize, up or down, to this many pixels on the longer side.
        shrink_to: the same, but only down.

    Returns:
        float32 RGB in [0, 1].

    Raises:
        ValueError: the file is missing, unreadable, no image, damaged, or larger than
            Pillow's limit against decompression bombs; or a pixel is NaN or infinite.
        MemoryError: enlarged, it needs more memory than is free.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.png")
        >>> jaxstyle.load_image("photo.png", longest_side=8).shape
        (8, 8, 3)
    """
    from PIL import Image

    with _decoded(Path(path)) as source:
        picture = to_srgb(source)
    if shrink_to is not None:
        longest_side = min(shrink_to, max(picture.size))
    if longest_side is not None:
        height, width = fit_size((picture.height, picture.width), longest_side)
        if longest_side > max(picture.size):
            _check_room(height * width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def save_image(
    image: ArrayLike, path: str | Path, *, settings: dict[str, object] | None = None
) -> None:
    """Write one image ``[h, w, 3]`` with 8 bits per channel to a new or replaced file.

    Args:
        image: floating-point RGB; values are clipped to [0, 1] and rounded.
        path: its suffix chooses the format: ``.png``, ``.jpg``, ``.webp`` or ``.tif``.
        settings: JSON values for `jaxstyle.files.load_settings`.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.jpg", settings={"steps": 100})
    """
    from PIL import Image

    path, picture, exif = Path(path), Image.fromarray(to_8_bit(image)), _exif(settings)
    check_image_path(path)
    with explained(f"cannot write the image {path}"), atomic_path(path) as temporary:
        picture.save(temporary, exif=exif, **_WRITERS[path.suffix.lower()])


def load_settings(path: str | Path) -> dict[str, object]:
    """Read the settings that `jaxstyle.save_image` recorded in an image file.

    Args:
        path: a picture that jaxstyle has written.

    Returns:
        The settings by name; tuples have become lists.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.jpg", settings={"steps": 100})
        >>> jaxstyle.files.load_settings("photo.jpg")
        {'steps': 100}
    """
    with _decoded(Path(path)) as source:
        exif = source.getexif()
        # Other programs keep JSON of their own in the description.
        ours = str(exif.get(_SOFTWARE)).startswith("jaxstyle")
        settings = json.loads(exif.get(_DESCRIPTION, "null")) if ours else None
    if not isinstance(settings, dict):
        raise ValueError(f"no settings in {path}: jaxstyle has not written them there")
    return settings


def example_photos() -> list[Path]:
    """Locate the photographs among the package's example images."""
    return [package_file("examples", name) for name in PHOTOS]


def check_image_path(path: str | Path) -> None:
    """Raise, before any long work, as `check_output_path` does for an image."""
    check_output_path(path, kind="image", suffixes=_WRITERS)


def check_exists(path: str | Path) -> None:
    """Raise a ValueError, before any long work, if there is no such image file."""
    if not os.path.exists(path):
        raise ValueError(f"no such image file: {path}")


def _check_room(pixels: int) -> None:
    """Raise a MemoryError if pixels, as bytes and as floats, exceed what is free."""
    from jaxstyle.scaling.memory import check_free, free_host_memory  # imports JAX

    check_free(pixels * 3 * (1 + 4), free_host_memory())


@contextmanager
def _decoded(path: Path) -> "Iterator[Image.Image]":
    """Yield the first frame, pixels in memory, with Pillow's warnings silenced."""
    from PIL import Image

    check_exists(path)
    with explained(f"cannot read the image {path}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not path.is_file():  # a folder, or a pipe, which would wait for a writer
            raise ValueError("it is not a regular file")
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        with path.open("rb") as file:
            Image.open(file).verify()  # the checksums of a PNG, which loading ignores
            with Image.open(file) as image:
                image.load()
                yield image


def to_8_bit(image: ArrayLike) -> UInt8[np.ndarray, "h w 3"]:
    """Check one image ``[h, w, 3]``, clip it to [0, 1] and round it to 0..255."""
    array = np.asarray(image)
    check_image(array)  # type: ignore[arg-type]
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the image holds NaN or infinite values and was not written")
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _exif(settings: dict[str, object] | None) -> "Image.Exif":
    from PIL import Image

    try:
        version = metadata.version("jaxstyle")
    except metadata.PackageNotFoundError:  # run from a source tree
        version = "(not installed)"
    exif = Image.Exif()
    exif[_SOFTWARE] = f"jaxstyle {version}"
    if settings is not None:
        exif[_DESCRIPTION] = json.dumps(settings)  # escaped to ASCII, as EXIF wants
    return exif


# --- pixels -------------------------------------------------------------------------


def to_srgb(image: "Image.Image") -> "Image.Image":
    """Convert a decoded image to upright 8-bit sRGB over white; see `load_image`.

    Floats below 0 become black.
    """
    from PIL import Image

    if image.mode == "La":  # premultiplied gray, which Pillow converts to LA only
        image = image.convert("LA")
    picture = _apply_profile(_without_alpha(image), image.info.get("icc_profile"))
    if image.has_transparency_data:
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=_opacity(image))
        picture = white
    return _upright(picture, image)


def _without_alpha(image: "Image.Image") -> "Image.Image":
    """Convert the colors to 8-bit L, RGB or CMYK, scaling wide pixels."""
    from PIL import Image

    if image.mode not in _WHITE:
        return image.convert(_COLORS.get(image.mode, "RGB"))
    values = np.asarray(image, np.float32)
    if not np.isfinite(values).all() or (image.mode == "I" and values.min() < 0):
        raise ValueError("some pixels are NaN, infinite, or integers beyond 31 bits")
    scaled = values.clip(min=0) / max(_WHITE[image.mode], values.max())
    return Image.fromarray(np.rint(scaled * 255).astype(np.uint8))


def _apply_profile(colors: "Image.Image", profile: bytes | None) -> "Image.Image":
    """Convert L, RGB or CMYK to sRGB, by the embedded profile if it fits."""
    from PIL import ImageCms

    if not profile:
        return colors.convert("RGB")
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    flags |= ImageCms.Flags.HIGHRESPRECALC  # or linear profiles are banded near black
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if colors.mode == "L" and source.profile.xcolor_space == "RGB ":
            colors = colors.convert("RGB")
        return ImageCms.buildTransform(
            source, srgb, colors.mode, "RGB", intent, flags
        ).apply(colors)
    except (OSError, ImageCms.PyCMSError):  # damaged, or for another kind of pixels
        return colors.convert("RGB")


def _opacity(image: "Image.Image") -> "Image.Image":
    """Compute the opacity of an image with transparency, as 8-bit or 1-bit gray."""
    from PIL import Image

    if image.mode in _WHITE:  # Pillow would compare just 8 bits with the clear value
        return Image.fromarray(np.asarray(image) != image.info["transparency"])
    return image.convert("RGBA").getchannel("A")


def upright_size(image: "Image.Image") -> tuple[int, int]:
    """Read the height and width that an image has once it is upright."""
    turned = _orientation(image) in range(5, 9)
    return image.size if turned else (image.height, image.width)


def _upright(picture: "Image.Image", image: "Image.Image") -> "Image.Image":
    """Undo in ``picture`` the orientation that the EXIF block of ``image`` states."""
    from PIL import ImageOps

    orientation = _orientation(image)
    picture.info.clear()  # Pillow would write the rest of the block back, or fail to
    picture.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(picture)


def _orientation(image: "Image.Image") -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged block, which says nothing about the pixels
        return 1
