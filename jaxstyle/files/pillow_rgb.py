"""Any image that Pillow decodes, as an upright picture in sRGB without alpha."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# The value of white in pixels of more than 8 bits, by Pillow mode.
_WHITE = {"I": 65535, "I;16": 65535, "I;16L": 65535, "I;16B": 65535, "F": 1}

# The mode without alpha of all other pixels; where none is given, it is RGB.
_COLOURS = {"L": "L", "LA": "L", "CMYK": "CMYK"}

# EXIF orientation -> the member of `Image.Transpose` that undoes it.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION = 0x0112


def to_srgb(image: "Image.Image") -> "Image.Image":
    """Return a decoded image as 8-bit sRGB, upright, laid over white.

    White is 65535 in wide integer pixels and 1.0 in floating-point ones, or the image's
    own maximum where that is larger; floats below 0 are black. An embedded profile
    that is damaged or does not fit the pixels is ignored.

    Raises:
        ValueError: pixels are NaN, infinite, or integers below 0.
    """
    if image.mode == "La":  # premultiplied gray, which Pillow converts to LA only
        image = image.convert("LA")
    picture = _apply_profile(_without_alpha(image), image.info.get("icc_profile"))
    if image.has_transparency_data:
        picture = _over_white(picture, _opacity(image))
    return _upright(picture, _orientation(image))


def _without_alpha(image: "Image.Image") -> "Image.Image":
    """Return the colors as 8-bit L, RGB or CMYK; wide pixels are scaled to fit."""
    from PIL import Image

    if image.mode not in _WHITE:
        return image.convert(_COLOURS.get(image.mode, "RGB"))
    values = np.asarray(image, np.float32)
    if not np.isfinite(values).all() or (image.mode == "I" and values.min() < 0):
        raise ValueError("some pixels are NaN, infinite, or integers beyond 31 bits")
    scaled = values.clip(min=0) / max(_WHITE[image.mode], values.max())
    return Image.fromarray(np.rint(scaled * 255).astype(np.uint8))


def _apply_profile(colors: "Image.Image", profile: bytes | None) -> "Image.Image":
    """Convert L, RGB or CMYK to sRGB, by the embedded profile where one fits."""
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
    """Return the opacity of an image that has transparency, as 8-bit or 1-bit gray."""
    from PIL import Image

    if image.mode in _WHITE:  # Pillow would compare just 8 bits with the clear value
        return Image.fromarray(np.asarray(image) != image.info["transparency"])
    return image.convert("RGBA").getchannel("A")


def _over_white(picture: "Image.Image", opacity: "Image.Image") -> "Image.Image":
    from PIL import Image

    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=opacity)
    return white


def _orientation(image: "Image.Image") -> int | None:
    """Return the orientation that the EXIF block states."""
    try:
        orientation: int | None = image.getexif().get(_ORIENTATION)
    except Exception:  # a damaged block, which says nothing about the pixels
        return None
    return orientation


def _upright(picture: "Image.Image", orientation: int | None) -> "Image.Image":
    from PIL import Image

    if orientation not in _TURNS:
        return picture
    return picture.transpose(Image.Transpose[_TURNS[orientation]])
