"""Image files on disk, read into and written from float32 RGB arrays in [0, 1].

Reading normalizes any image that Pillow decodes to upright, opaque sRGB of 8 bits.
Writing stores the settings that made the image in two EXIF tags, in every format.
"""

import json
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, UInt8

from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.image_decoding import ImageFileWarning, check_room, decoded
from jaxstyle.files.image_pixels import Upright, add_opacity, to_srgb
from jaxstyle.files.param_files import package_file
from jaxstyle.files.web_images import local_image
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

WRITABLE = tuple(sorted(_WRITERS))
"""The suffixes of image files that can be written."""

# EXIF tags.
_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131


def load_image(
    path: str | Path, *, longest_side: int | None = None, shrink_to: int | None = None
) -> Float[np.ndarray, "h w 3"]:
    """Read the first frame of an image file as sRGB ``[h, w, 3]``, upright, over white.

    Pixels are rounded to 8 bits. White is 65535 in wide integer pixels and 1.0 in
    floating-point ones, or the image's own maximum where that is larger. An embedded
    profile that is damaged or does not fit the pixels is ignored. A JPEG file that
    breaks off is gray from there on, and a warning says so; one of more than 2**25
    pixels is decoded at a fraction of its size if it is to be shrunk.

    Args:
        path: a file that is JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, AVIF or JPEG 2000,
            whatever its suffix, or HEIC, with the package pillow-heif; or an http or
            https address of one, which is downloaded once, to the cache folder.
        longest_side: resize, up or down, to this many pixels on the longer side.
        shrink_to: the same, but only down.

    Returns:
        float32 RGB in [0, 1].

    Raises:
        ValueError: the file is missing, unreadable, no image of these formats, damaged,
            too large for the free memory, larger than Pillow's limit against
            decompression bombs, or longer than 2**18 pixels; or a pixel is NaN or
            infinite.
        MemoryError: enlarged, it needs more memory than is free.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.png")
        >>> jaxstyle.load_image("photo.png", longest_side=8).shape
        (8, 8, 3)
    """
    upright = load_upright(path, longest_side=longest_side, shrink_to=shrink_to)
    with explained(f"cannot read the image {path}"):
        return to_floats(upright.colors)


def load_upright(
    path: str | Path, *, longest_side: int | None = None, shrink_to: int | None = None
) -> Upright:
    """Read an image as `load_image` does, and its opacity, as Pillow's images."""
    wanted = longest_side or shrink_to
    with decoded(local_image(path), least=wanted and 2 * wanted) as source:
        upright = to_srgb(source)
        del source  # and with it its memory
    width, height = upright.colors.size
    if shrink_to is not None:
        longest_side = min(shrink_to, max(width, height))
    if longest_side is None:
        return upright
    new_height, new_width = fit_size((height, width), longest_side)
    if longest_side > max(width, height):
        check_room(new_height * new_width * 3 * (1 + 4))
    with explained(f"cannot read the image {path}"):
        return upright.resize((new_width, new_height))


def load_opacity(path: str | Path, size: Sequence[int]) -> "Image.Image | None":
    """Read the opacity of an image at a size (height, width); ``None`` if opaque."""
    height, width = size
    return load_upright(path).resize((width, height)).opacity


def to_floats(picture: "Image.Image") -> Float[np.ndarray, "h w 3"]:
    """Convert Pillow's 8-bit RGB to float32 in [0, 1]."""
    return np.divide(np.asarray(picture), 255, dtype=np.float32)


def save_image(
    image: ArrayLike, path: str | Path, *, settings: dict[str, object] | None = None
) -> None:
    """Write one image ``[h, w, 3]`` with 8 bits per channel to a new or replaced file.

    Args:
        image: floating-point RGB; values are clipped to [0, 1] and rounded.
        path: its suffix chooses the format: ``.png``, ``.jpg``, ``.webp`` or ``.tif``.
        settings: JSON values for `jaxstyle.files.load_settings`. If they are too long
            for the format, as more than 64 KB are for JPEG, they are left out with a
            warning.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.jpg", settings={"steps": 100})
    """
    write_pixels(to_8_bit(image), path, settings=settings)


def write_pixels(
    pixels: UInt8[np.ndarray, "h w 3"],
    path: str | Path,
    *,
    settings: dict[str, object] | None = None,
    opacity: "Image.Image | None" = None,
) -> None:
    """Write pixels as `save_image` does, with the opacity that they had over white.

    JPEG has none: there they stay as they are over white, and a warning says so, once
    for all pictures.
    """
    from PIL import Image

    check_image_path(path := Path(path))
    picture, exif = Image.fromarray(pixels), _exif(settings)
    writer = _WRITERS[path.suffix.lower()]
    if opacity is not None and writer["format"] == "JPEG":
        warning = (
            "JPEG files have no transparency: the picture is over white; "
            "write .png, .webp or .tif to keep it"
        )
        warnings.warn(warning, ImageFileWarning, stacklevel=2)
    elif opacity is not None:
        picture = add_opacity(picture, opacity)
    with explained(f"cannot write the image {path}"), atomic_path(path) as temporary:
        try:
            picture.save(temporary, exif=exif, **writer)
        except ValueError:  # of JPEG, for more than 64 KB
            picture.save(temporary, exif=_exif(None), **writer)
            warning = f"{path} holds no settings: they are too long for its format"
            warnings.warn(warning, ImageFileWarning, stacklevel=2)


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
    with decoded(Path(path)) as source:
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


def to_8_bit(image: ArrayLike) -> UInt8[np.ndarray, "h w 3"]:
    """Check one image ``[h, w, 3]``, clip it to [0, 1] and round it to 0..255."""
    check_image(image)  # type: ignore[arg-type]
    array = np.asarray(image)
    check_finite(array)
    pixels = np.empty(array.shape, np.uint8)
    for row, values in zip(pixels, array, strict=True):  # float64 takes much memory
        row[...] = np.rint(np.clip(values.astype(np.float64), 0, 1) * 255)
    return pixels


def check_finite(image: Float[np.ndarray, "h w 3"]) -> None:
    """Raise a ValueError if some values of an image are not finite."""
    if not np.isfinite(image).all():
        raise ValueError("the image holds NaN or infinite values and was not written")


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
