"""Image files to pixels: a few formats, in bounded memory, cut JPEG files included.

Everything that reads an image opens it here, from files of unknown origin.
"""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from jaxstyle.files.atomic import explained
from jaxstyle.files.regular_files import check_regular
from jaxstyle.files.style_files import is_shipped

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
"""The formats that are decoded. Pillow would run programs for some others (EPS)."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"),
    *(".avif", ".jfif", ".jp2", ".mpo", ".heic", ".heif"),
)
"""The suffixes of image files in a folder; other files are skipped."""

HEIF, HEIF_BRANDS = "HEIF", {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
"""A format that the package pillow-heif decodes, and its brands."""

LARGE = 2**24
"""Images of more pixels are checked against the file's size and the free memory."""

MOST_PER_BYTE = 10_000
"""The most pixels for a byte of a large image; deflate and LZW reach no more."""

LONGEST = 2**18
"""The most pixels on a side; JPEG files reach a quarter of it."""

BYTES_PER_PIXEL = 28
"""The memory that a pixel takes, at most, from the file to float32 RGB (measured)."""

PIXELS_AT_ONCE = 2**26
"""The most pixels that threads decode at the same time, unless one image has more."""

DRAFTED = 2**25
"""JPEG files of more pixels are decoded at 1/2, 1/4 or 1/8 of their size, if asked."""

# Pillow's names of formats that are read without an end, and that end.
_CUT, _END_OF_JPEG = ("JPEG", "MPO"), b"\xff\xd9"

# The bits of a sample of PNG files, by Pillow's name of the layout.
_BITS = {"L;2": 2, "L;4": 4, "L": 8, "RGB": 8}

# Pillow's names of the layout of 16-bit RGB, and of one that gives the low bytes.
_WIDE_RGB, _LOW_BYTES = "RGB;16B", "RGB;16L"


ADVICE = "use jaxstyle stylize PHOTO --style {}, or give an image of a painting"
"""What to do with a style where an image is wanted."""


class ImageFileWarning(UserWarning):
    """An image file was read or written, but not all of it."""


class _Room:
    """Pixels that threads share: who asks for more than is free waits."""

    def __init__(self, pixels: int) -> None:
        self._free = self._all = pixels
        self._changed = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Take pixels, or all if there are not as many, and give them back."""
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_ROOM = _Room(PIXELS_AT_ONCE)


@contextmanager
def decoded(path: Path, *, least: int | None = None) -> "Iterator[Image.Image]":
    """Yield the first frame of an image file, pixels in memory.

    A large JPEG may have fewer pixels than its header says, but ``least`` on the longer
    side. If its end is missing, that part is gray, and an ImageFileWarning names the
    file. Any failure, also in the block, is a ValueError that names it.
    """
    check_exists(path)
    with explained(f"cannot read the image {path}"):
        check_regular(path)
        if path.suffix == ".safetensors":
            raise ValueError(f"it holds parameters; {ADVICE.format(path)}")
        if (stored := path.stat().st_size) == 0:
            raise ValueError("the file is empty")
        with path.open("rb") as file:
            open_image(file).verify()  # the checksums of a PNG, which loading ignores
            image = open_image(file, least=least)
            with room_for(image, stored=stored):
                try:
                    load_pixels(image, file)
                except OSError as error:
                    if image.format not in _CUT or "truncated" not in str(error):
                        raise
                    image = _load_cut(file, path, least=least)
                yield image


def check_exists(path: str | Path) -> None:
    """Raise a ValueError, before any long work, if there is no such image file."""
    if os.path.exists(path):
        return
    hint = ""
    if is_shipped(path):
        hint = f"; that is a style, not an image: {ADVICE.format(path)}"
    elif near := similar_files(path):
        hint = f"; did you mean {' or '.join(near)}?"
    raise ValueError(f"no such image file: {path}{hint}")


def similar_files(path: str | Path) -> list[str]:
    """List the files beside a missing one that have nearly its name."""
    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or os.curdir)
    except OSError:
        return []
    stem = Path(name).stem
    same = [each for each in names if Path(each).stem == stem]
    close = get_close_matches(name, names, n=2, cutoff=0.85)
    return [os.path.join(folder, each) for each in sorted(same)[:2] or close]


def _load_cut(file: IO[bytes], path: Path, *, least: int | None) -> "Image.Image":
    """Decode a JPEG file without an end, and warn."""
    file.seek(0)
    ended = io.BytesIO(file.read() + _END_OF_JPEG)
    image = open_image(ended, least=least)
    image.load()
    warning = f"{path} breaks off: what is missing is gray"
    warnings.warn(warning, ImageFileWarning, stacklevel=2)
    return image


def open_image(file: IO[bytes], *, least: int | None = None) -> "Image.Image":
    """Read the header of an image; Pillow's warnings are silenced in the process.

    A large JPEG is shrunk while it is decoded, to ``least`` pixels or more on the
    longer side. A ValueError says if a side is longer than any picture's: decoders
    take minutes and gigabytes for such a row.
    """
    from PIL import Image

    # Not `catch_warnings`, which is not safe between threads.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if is_heif := bool(_brands(file) & HEIF_BRANDS):
        _register_heif()
    image = Image.open(file, formats=[HEIF] if is_heif else FORMATS)
    if max(image.size) > LONGEST:
        size = f"{image.width}x{image.height} pixels"
        raise ValueError(f"it is {size}; at most {LONGEST} are read on a side")
    if least is not None and image.width * image.height > DRAFTED:
        factor = least / max(image.size)
        image.draft(None, (round(image.width * factor), round(image.height * factor)))
    return image


def _brands(file: IO[bytes]) -> set[bytes]:
    """Read the brands at the beginning of a file of the family of HEIF and AVIF."""
    file.seek(0)
    head = file.read(64)
    if head[4:8] != b"ftyp":
        return set()
    end = min(len(head), int.from_bytes(head[:4]))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def _register_heif() -> None:
    """Let Pillow decode HEIF images; an ImportError says what to install."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImportError(
            "it is a HEIC image, which needs a package: pip install pillow-heif"
        ) from error
    register_heif_opener()


@contextmanager
def room_for(image: "Image.Image", *, stored: int) -> Iterator[None]:
    """Wait until there is room for the pixels of an image, and take it in the block.

    A ValueError says if no file of ``stored`` bytes holds as many, a MemoryError if
    they exceed the free memory.
    """
    pixels = image.width * image.height
    if pixels > LARGE:
        if pixels > MOST_PER_BYTE * stored:
            size = f"{image.width}x{image.height} pixels"
            raise ValueError(f"it claims {size}, which {stored} bytes cannot hold")
        check_room(pixels * BYTES_PER_PIXEL)
    with _ROOM.take(pixels):
        yield


def check_room(needed: int) -> None:
    """Raise a MemoryError if bytes exceed what is free."""
    from jaxstyle.scaling.memory import check_free, free_host_memory  # imports JAX

    check_free(needed, free_host_memory())


# --- transparent colors -------------------------------------------------------------


def load_pixels(image: "Image.Image", file: IO[bytes]) -> None:
    """Decode an image of a file; a PNG's transparent color fits its decoded samples.

    Pillow keeps it in the depth of the file.
    """
    clear = image.info.get("transparency")
    tiles = getattr(image, "tile", None)
    layout = tiles[0][3] if tiles and image.format == "PNG" else None
    if layout == _WIDE_RGB and isinstance(clear, tuple):
        _load_wide(image, file, clear)
        return
    image.load()
    if layout in _BITS and clear is not None:
        white = 2 ** _BITS[layout] - 1
        scaled = tuple(int(x & white) * 255 // white for x in np.atleast_1d(clear))
        image.info["transparency"] = scaled if len(scaled) > 1 else scaled[0]


def _load_wide(
    image: "Image.Image", file: IO[bytes], clear: tuple[int, int, int]
) -> None:
    """Decode 16-bit RGB, of which Pillow keeps the high bytes, and make it RGBA."""
    from PIL import Image

    file.seek(0)
    low: Any = open_image(file)
    low.tile = [tile._replace(args=_LOW_BYTES) for tile in low.tile]
    opaque = np.asarray(low) != np.array(clear) & 255
    del low
    opaque |= np.asarray(image) != np.array(clear) >> 8
    del image.info["transparency"]
    image.putalpha(Image.fromarray(opaque.any(-1)))
