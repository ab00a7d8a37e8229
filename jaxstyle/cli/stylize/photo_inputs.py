"""The photos that ``jaxstyle stylize`` works with, found and read."""

import glob
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxstyle.data.sources import SUFFIXES
from jaxstyle.files.image_files import load_image
from jaxstyle.images.arrays import check_images, fit_size
from jaxstyle.nets.transform_net import SMALLEST_SIDE

# The EXIF tag, and its values for photos that lie on their sides.
_ORIENTATION, _TURNED = 0x0112, range(5, 9)

Picture = Float[np.ndarray, "h w 3"]


class Photo(NamedTuple):
    """A photo to stylize.

    Attributes:
        path: the file.
        name: its path within the folder or pattern that it was found by.
        title: what the user calls it.
    """

    path: Path
    name: Path
    title: str


# --- finding ------------------------------------------------------------------------


def find_photos(wanted: Sequence[str], *, output: Path, scratch: Path) -> list[Photo]:
    """Return the photos that arguments stand for, each file once.

    In folders, and where patterns match, images are told by their names. Hidden ones
    in folders are passed over, and so is an output folder that lies in one.

    Args:
        wanted: files, folders, patterns, or ``-`` for standard input.
        output: what is to be written.
        scratch: a folder to put standard input in.

    Raises:
        ValueError: there is no such file, or no image in a folder or pattern.
    """
    photos: dict[Path, Photo] = {}
    for argument in wanted:
        if argument == "-":
            found = [_read_standard_input(scratch)]
        elif os.path.isdir(argument):
            found = list(_in_folder(Path(argument), output=output))
        elif os.path.lexists(argument):
            path = Path(argument)
            found = [Photo(path, Path(path.name), argument)]
        elif glob.has_magic(argument):
            found = list(_matches(argument))
        else:
            raise ValueError(f"no such photo: {argument}")
        if not found:
            raise ValueError(
                f"no images in {argument}: expected files that end in "
                f"{', '.join(SUFFIXES)}"
            )
        for photo in found:
            photos.setdefault(photo.path.resolve(), photo)
    return list(photos.values())


def _read_standard_input(scratch: Path) -> Photo:
    path = scratch / "stdin"
    path.write_bytes(sys.stdin.buffer.read())
    return Photo(path, Path("stdin.png"), "standard input")


def _in_folder(folder: Path, *, output: Path) -> Iterator[Photo]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        # A second run must not take what the first has made for photos.
        made = output != folder and output in path.parents
        if _is_image(path) and not hidden and not made:
            yield Photo(path, name, str(path))


def _matches(pattern: str) -> Iterator[Photo]:
    fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    root = Path(*fixed)
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if _is_image(path):
            yield Photo(path, path.relative_to(root), str(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


# --- reading ------------------------------------------------------------------------


def measure_photo(photo: Photo, *, max_size: int | None) -> tuple[int, int] | None:
    """Return the height and width that a photo will be read with.

    Only the beginning of the file is looked at; None if that is damaged.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(photo.path) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _TURNED:
                height, width = width, height
    except Exception:  # of nearly any type; reading it all will tell what is wrong
        return None
    if max_size is None or max(height, width) <= max_size:
        return height, width
    return fit_size(height, width, max_size)


def read_photo(photo: Photo, *, size: tuple[int, int] | None) -> Picture:
    """Read a photo with the size that `measure_photo` has found.

    Raises:
        ValueError: it is damaged, or too small to stylize.
    """
    try:
        image = load_image(photo.path, longest_side=size and max(size))
    except ValueError as error:
        raise ValueError(str(error).replace(str(photo.path), photo.title)) from error
    check_images(image, name=photo.title, smallest=SMALLEST_SIDE)  # type: ignore[arg-type]
    return image
