"""Image files on disk, read into and written from float32 RGB arrays in [0, 1].

Reading normalizes whatever Pillow decodes: pixels arrive upright, in sRGB and opaque,
with 8 bits of precision. Writing keeps the settings that made the picture in the same
two EXIF tags for every format.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, UInt8

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.pillow_rgb import to_srgb
from jaxstyle.images.arrays import check_images, fit_size

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
_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131


def load_image(
    path: str | Path,
    *,
    longest_side: int | None = None,
    shrink_to: int | None = None,
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
        height, width = fit_size(picture.height, picture.width, longest_side)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def save_image(
    image: ArrayLike, path: str | Path, *, settings: dict[str, object] | None = None
) -> None:
    """Write one image ``[h, w, 3]`` with 8 bits per channel, wholly or not at all.

    Args:
        image: floating-point RGB; values are clipped to [0, 1] and rounded.
        path: the file; one that exists is replaced. The suffix chooses the format:
            ``.png``, ``.jpg``, ``.webp`` or ``.tif``.
        settings: what `load_settings` will return; anything that JSON can hold.

    Raises:
        TypeError: the pixels are not floating-point, or JSON cannot hold the settings.
        ValueError: the shape is wrong, a pixel is NaN or infinite, the suffix is
            unknown, or writing failed.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.jpg", settings={"steps": 100})
    """
    from PIL import Image

    path, picture, exif = Path(path), Image.fromarray(to_8_bit(image)), _exif(settings)
    check_output_path(path)
    with explained("write", path), atomic_path(path) as temporary:
        picture.save(temporary, exif=exif, **_WRITERS[path.suffix.lower()])


def load_settings(path: str | Path) -> dict[str, object]:
    """Return the settings that `save_image` recorded in an image file.

    Args:
        path: the image file.

    Returns:
        The settings, as JSON gives them back. Tuples are lists by then.

    Raises:
        ValueError: the file cannot be read, or holds no settings.

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


def check_output_path(
    path: str | Path,
    *,
    kind: str = "image",
    suffixes: Collection[str] = _WRITERS.keys(),
) -> None:
    """Raise, before any long work, unless an image can be written to ``path``.

    Args:
        path: the file.
        kind: what the message calls it.
        suffixes: those that stand for a format which can be written.

    Raises:
        ValueError: the suffix is unknown, the folder is missing or write-protected, or
            ``path`` is a folder or a write-protected file.
    """
    path = Path(path)
    with explained("write", path, kind=kind):
        if os.path.isdir(path):
            raise ValueError("it is a folder")
        if path.suffix.lower() not in suffixes:
            known = ", ".join(sorted(suffixes))
            raise ValueError(f"unknown suffix {path.suffix!r}, use one of {known}")
        if not os.path.isdir(path.parent):
            raise ValueError(f"there is no folder {path.parent}")
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise ValueError("the file is write-protected")
        tempfile.NamedTemporaryFile(prefix=f".{path.name}-", dir=path.parent).close()


@contextmanager
def explained(action: str, path: Path, *, kind: str = "image") -> Iterator[None]:
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
        raise ValueError(f"cannot {action} the {kind} {path}: {line}") from error


@contextmanager
def _decoded(path: Path) -> "Iterator[Image.Image]":
    """Yield the first frame, pixels in memory, with Pillow's warnings silenced."""
    from PIL import Image

    if not os.path.exists(path):
        raise ValueError(f"no such image file: {path}")
    with explained("read", path), warnings.catch_warnings():
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
