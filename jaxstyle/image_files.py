"""Image files on disk, read into and written from float32 RGB arrays in [0, 1].

Reading normalises whatever Pillow decodes: pixels arrive upright, in sRGB and opaque,
with 8 bits of precision. Writing keeps the settings that made the picture in the same
two EXIF tags for every format.
"""

import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, UInt8

from jaxstyle.files import atomic_path
from jaxstyle.images import check_images, fit_size

if TYPE_CHECKING:
    from PIL import Image

# Suffix -> arguments of Pillow's `save`: the one table of formats that can be written.
_WRITERS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
}
_WRITERS |= {".jpeg": _WRITERS[".jpg"], ".tiff": _WRITERS[".tif"]}

# EXIF tags.
_DESCRIPTION, _ORIENTATION, _SOFTWARE = 0x010E, 0x0112, 0x0131

# Pillow mode -> 8-bit mode without alpha; the wide ones -> nominal white; others: RGB.
_COLOUR_MODES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}
_WHITE = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "F": 1}


def load_image(
    path: str | Path, *, longest_side: int | None = None
) -> Float[np.ndarray, "h w 3"]:
    """Read the first frame of an image file as sRGB ``[h, w, 3]``, upright, over white.

    White is 65535 in wide integer pixels and 1.0 in floating-point ones, or the image's
    own maximum where that is larger; floats below 0 are black.

    Args:
        path: a file in any format that Pillow reads.
        longest_side: resize, up or down, to this many pixels on the longer side.

    Raises:
        ValueError: the file is missing, unreadable, no image, damaged, or larger than
            Pillow's limit against decompression bombs.
    """
    from PIL import Image

    with _decoded(Path(path)) as source:
        colour = _to_srgb(_without_alpha(source), source.info.get("icc_profile"))
        picture = _upright(_over_white(colour, source), source)
    if longest_side is not None:
        height, width = fit_size(picture.height, picture.width, longest_side)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def save_image(
    image: ArrayLike, path: str | Path, *, settings: dict[str, object] | None = None
) -> None:
    """Write one image ``[h, w, 3]`` with 8 bits per channel, wholly or not at all.

    Args:
        image: floating-point RGB; values are clipped to [0, 1] and rounded.
        path: the suffix chooses the format.
        settings: what ``load_settings`` will return; anything that JSON can hold.

    Raises:
        TypeError: the pixels are not floating-point, or JSON cannot hold the settings.
        ValueError: the shape is wrong, a pixel is NaN or infinite, or writing failed.
    """
    from PIL import Image

    path, picture, exif = Path(path), Image.fromarray(_to_8_bit(image)), _exif(settings)
    check_output_path(path)
    with _explained("write", path), atomic_path(path) as temporary:
        picture.save(temporary, exif=exif, **_WRITERS[path.suffix.lower()])


def load_settings(path: str | Path) -> dict[str, object]:
    """Return the settings that ``save_image`` recorded in the image file.

    Raises:
        ValueError: the file cannot be read, or holds no settings.
    """
    with _decoded(Path(path)) as source:
        exif = source.getexif()
        # Other programs keep JSON of their own in the description.
        ours = str(exif.get(_SOFTWARE)).startswith("jaxstyle")
        settings = json.loads(exif.get(_DESCRIPTION, "null")) if ours else None
    if not isinstance(settings, dict):
        raise ValueError(f"no settings in {path}: jaxstyle has not written them there")
    return settings


def check_output_path(path: str | Path) -> None:
    """Raise, before any long work, unless an image can be written to ``path``.

    Raises:
        ValueError: the suffix is unknown, the folder is missing or write-protected, or
            ``path`` is a folder or a write-protected file.
    """
    path = Path(path)
    with _explained("write", path):
        if os.path.isdir(path):
            raise ValueError("it is a folder")
        if path.suffix.lower() not in _WRITERS:
            known = ", ".join(sorted(_WRITERS))
            raise ValueError(f"unknown suffix {path.suffix!r}, use one of {known}")
        if not os.path.isdir(path.parent):
            raise ValueError(f"there is no folder {path.parent}")
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise ValueError("the file is write-protected")
        tempfile.NamedTemporaryFile(prefix=f".{path.name}-", dir=path.parent).close()


@contextmanager
def _explained(action: str, path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a ``ValueError`` of one line.

    Everything is caught because, on damaged files, Pillow's decoders raise nearly every
    exception there is.
    """
    from PIL import UnidentifiedImageError

    try:
        yield
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its format is unknown, or its first bytes are damaged"
        line = " ".join(reason.split())
        raise ValueError(f"cannot {action} the image {path}: {line}") from error


@contextmanager
def _decoded(path: Path) -> "Iterator[Image.Image]":
    """Yield the first frame, pixels in memory, with Pillow's warnings silenced."""
    from PIL import Image

    if not os.path.exists(path):
        raise ValueError(f"no such image file: {path}")
    with _explained("read", path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not path.is_file():  # a folder, or a pipe, which would wait for a writer
            raise ValueError("it is not a regular file")
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        with path.open("rb") as file:
            Image.open(file).verify()  # the checksums of a PNG, which loading ignores
            with Image.open(file) as image:
                image.load()
                # Of the modes with premultiplied colours, files come only in this one.
                yield image.convert("LA") if image.mode == "La" else image


def _without_alpha(image: "Image.Image") -> "Image.Image":
    """Return the colours as 8-bit L, RGB or CMYK; wide greyscale is not clipped."""
    from PIL import Image

    if image.mode not in _WHITE:
        return image.convert(_COLOUR_MODES.get(image.mode, "RGB"))
    values = np.asarray(image, np.float32)
    if not np.isfinite(values).all() or (image.mode == "I" and values.min() < 0):
        raise ValueError("some pixels are NaN, infinite, or integers beyond 31 bits")
    values = values.clip(min=0) / max(_WHITE[image.mode], values.max())
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _to_srgb(colour: "Image.Image", profile: bytes | None) -> "Image.Image":
    """Convert to sRGB by the embedded profile, where there is one that fits."""
    from PIL import ImageCms

    if not profile:
        return colour.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if colour.mode == "L" and source.profile.xcolor_space == "RGB ":
            colour = colour.convert("RGB")
        srgb = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        options = ImageCms.Flags
        flags = options.BLACKPOINTCOMPENSATION | options.HIGHRESPRECALC
        return ImageCms.buildTransform(
            source, srgb, colour.mode, "RGB", intent, flags
        ).apply(colour)
    except (OSError, ImageCms.PyCMSError):  # damaged, or for another kind of pixels
        return colour.convert("RGB")


def _over_white(colour: "Image.Image", source: "Image.Image") -> "Image.Image":
    """Lay the colours over white, as far as their source is transparent."""
    from PIL import Image

    if not source.has_transparency_data:
        return colour
    white = Image.new("RGB", colour.size, "white")
    white.paste(colour, mask=_alpha(source))
    return white


def _alpha(image: "Image.Image") -> "Image.Image":
    """Return the opacity of an image that has transparency, as 8-bit or 1-bit grey."""
    from PIL import Image

    if image.mode in _WHITE:  # Pillow would compare just 8 bits with the clear value
        return Image.fromarray(np.asarray(image) != image.info["transparency"])
    return image.convert("RGBA").getchannel("A")


def _upright(picture: "Image.Image", source: "Image.Image") -> "Image.Image":
    """Turn the picture as the EXIF block of its source says."""
    from PIL import ImageOps

    try:
        orientation = source.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return picture
    picture.info.clear()  # or Pillow rewrites all other tags too, and often fails
    picture.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(picture)


def _to_8_bit(image: ArrayLike) -> UInt8[np.ndarray, "h w 3"]:
    """Check one image ``[h, w, 3]``, clip it to [0, 1] and round it to 0..255."""
    array = np.asarray(image)
    check_images(array, name="the image")  # type: ignore[arg-type]
    if array.ndim != 3:
        raise ValueError(f"expected one image [height, width, 3], got {array.shape}")
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
