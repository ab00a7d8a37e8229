"""Decoded images of all kinds of pixels, converted to upright 8-bit sRGB over white."""

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

STRIP = 2**22
"""About how many pixels are converted at a time."""

# EXIF's tag.
_ORIENTATION = 0x0112

# The value of white in pixels of more than 8 bits, by Pillow mode.
_WHITE = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "F": 1}

# The mode without alpha of all other pixels; where none is given, it is RGB.
_COLORS = {"L": "L", "LA": "L", "CMYK": "CMYK"}

Convert: TypeAlias = "Callable[[Image.Image], Image.Image]"


class Upright(NamedTuple):
    """An upright image: RGB over white, and its opacity, ``None`` if it is opaque."""

    colors: "Image.Image"
    opacity: "Image.Image | None"

    def resize(self, size: tuple[int, int]) -> "Upright":
        """Resize both to (width, height)."""
        from PIL import Image

        colors, opacity = (
            each and each.resize(size, Image.Resampling.LANCZOS) for each in self
        )
        assert colors is not None
        return Upright(colors, opacity)


def to_srgb(image: "Image.Image") -> Upright:
    """Convert a decoded image to upright 8-bit sRGB over white; see `load_image`.

    Floats below 0 become black.
    """
    from PIL import Image

    if image.mode == "La":  # premultiplied gray, which Pillow converts to LA only
        image = image.convert("LA")
    reduce = _without_alpha(image)
    to_rgb = _profile_transform(image)
    colors = Image.new("RGB", image.size, "white")
    opacity = Image.new("L", image.size) if image.has_transparency_data else None
    for box in _strips(image.size):
        strip, mask = image.crop(box), None
        if opacity is not None:
            opacity.paste(mask := _opacity(strip), box)
        colors.paste(to_rgb(reduce(strip)), box, mask)
    if opacity is not None and opacity.getextrema() == (255, 255):
        opacity = None
    turned = orientation(image)
    return Upright(_turn(colors, turned), opacity and _turn(opacity, turned))


def add_opacity(colors: "Image.Image", opacity: "Image.Image") -> "Image.Image":
    """Make an RGBA image that, over white, has these colors, as far as there are such.

    The color c of a pixel of opacity a satisfies a c + (1 - a) white = its given color.
    """
    from PIL import Image

    result = Image.new("RGBA", colors.size)
    for box in _strips(colors.size):
        strip, alpha = np.asarray(colors.crop(box), np.float32), opacity.crop(box)
        share = np.maximum(np.asarray(alpha, np.float32), 1)[..., None] / 255
        below = (255 - strip) / share
        shown = np.rint(255 - below.clip(0, 255)).astype(np.uint8)
        part = Image.fromarray(shown)
        part.putalpha(alpha)
        result.paste(part, box)
    return result


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Divide an image into boxes of whole rows, of about `STRIP` pixels."""
    width, height = size
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(height, top + rows)


def _without_alpha(image: "Image.Image") -> Convert:
    """Make a function that converts colors to 8-bit L, RGB or CMYK.

    Wide pixels are scaled. A ValueError says if some have no meaning.
    """
    from PIL import Image

    if image.mode not in _WHITE:
        mode = _COLORS.get(image.mode, "RGB")
        return lambda strip: strip.convert(mode)
    white = np.float32(_WHITE[image.mode])
    for box in _strips(image.size):
        values = np.asarray(image.crop(box), np.float32)
        if not np.isfinite(values).all() or (image.mode == "I" and values.min() < 0):
            raise ValueError(
                "some pixels are NaN, infinite, or integers beyond 31 bits"
            )
        white = max(white, values.max())

    def scale(strip: "Image.Image") -> "Image.Image":
        values = np.asarray(strip, np.float32).clip(min=0) / white
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))

    return scale


def _profile_transform(image: "Image.Image") -> Convert:
    """Make a function to sRGB from L, RGB or CMYK, by the profile if it fits."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    mode = "L" if image.mode in _WHITE else _COLORS.get(image.mode, "RGB")
    if not profile:
        return lambda colors: colors.convert("RGB")
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    flags |= ImageCms.Flags.HIGHRESPRECALC  # or linear profiles are banded near black
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    srgb = ImageCms.createProfile("sRGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "L" and source.profile.xcolor_space == "RGB ":
            mode = "RGB"
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", intent, flags)
    except (OSError, ImageCms.PyCMSError):  # damaged, or for another kind of pixels
        return lambda colors: colors.convert("RGB")
    return lambda colors: transform.apply(colors.convert(mode))


def _opacity(image: "Image.Image") -> "Image.Image":
    """Compute the opacity of an image with transparency, as 8-bit or 1-bit gray."""
    from PIL import Image

    if image.mode in _WHITE:  # Pillow would compare just 8 bits with the clear value
        return Image.fromarray(np.asarray(image) != image.info["transparency"])
    return image.convert("RGBA").getchannel("A")


def upright_size(image: "Image.Image") -> tuple[int, int]:
    """Read the height and width that an image has once it is upright."""
    turned = orientation(image) in range(5, 9)
    return image.size if turned else (image.height, image.width)


def orientation(image: "Image.Image") -> int:
    """Read how the EXIF block of an image says that it is turned, from 1 to 8."""
    from PIL import Image

    try:
        # Pillow's own function for PNG files decodes the pixels first.
        return Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # a damaged block, which says nothing about the pixels
        return 1


def _turn(picture: "Image.Image", turned: int) -> "Image.Image":
    """Undo an orientation."""
    from PIL import ImageOps

    picture.getexif()[_ORIENTATION] = turned
    return ImageOps.exif_transpose(picture)
