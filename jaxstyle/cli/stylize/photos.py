"""The photos that ``jaxstyle stylize`` reads, and the pictures that it writes."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from jaxstyle.cli.stylize.full_size import Picture, Pixels, painted_size
from jaxstyle.data.sources import list_files, list_images
from jaxstyle.files.atomic import explained
from jaxstyle.files.image_decoding import SUFFIXES, open_image, similar_files
from jaxstyle.files.image_files import (
    load_upright,
    to_floats,
)
from jaxstyle.files.image_pixels import upright_size
from jaxstyle.files.regular_files import check_regular
from jaxstyle.files.web_images import is_address, local_image
from jaxstyle.images.arrays import check_proportions, check_side, fit_size

if TYPE_CHECKING:
    from PIL import Image

Size: TypeAlias = tuple[int, int]
"""Height and width, in pixels."""


class Photo(NamedTuple):
    """A file, its path within the folder it was found in, and its name in messages."""

    path: Path
    name: Path
    title: str


class LoadedPhoto(NamedTuple):
    """A photo, and its pixels.

    Attributes:
        image: in the size in which it is painted.
        pixels: the same in full size; ``None`` if that is the size of the image.
        opacity: in full size; ``None`` if the photo is opaque.
    """

    photo: Photo
    image: Picture
    pixels: Pixels | None = None
    opacity: "Image.Image | None" = None


class PhotoError(ValueError):
    """A photo cannot be stylized; the others still can."""


# --- finding ------------------------------------------------------------------------


def find_photos(wanted: Sequence[str], *, output: Path, scratch: Path) -> list[Photo]:
    """Find the photos that arguments name, each file once.

    Arguments are files, folders, patterns, addresses on the web, or ``-`` for standard
    input, which is saved in a scratch folder. In folders and patterns, images are
    recognized by their suffixes. Hidden files in folders are skipped, and so is an
    output folder inside one. A ValueError says if a file, or any image in a folder, is
    missing.
    """
    photos: dict[Path, Photo] = {}
    for argument in wanted:
        found = list(_find(argument, output=output, scratch=scratch))
        if not found:
            raise ValueError(
                f"no images in {argument}: expected files that end in "
                f"{', '.join(SUFFIXES)}"
            )
        for photo in found:
            photos.setdefault(photo.path.resolve(), photo)
    return list(photos.values())


def _find(argument: str, *, output: Path, scratch: Path) -> Iterator[Photo]:
    path = Path(argument)
    if argument == "-":
        path = scratch / "stdin"
        path.write_bytes(sys.stdin.buffer.read())
        yield Photo(path, Path("stdin.png"), "standard input")
    elif is_address(argument):
        file = local_image(argument)
        yield Photo(file, Path(file.name), argument)
    elif path.is_dir():
        for name in map(Path, list_images(path)):
            # A second run must not take pictures of the first for photos.
            if output == path or output not in (path / name).parents:
                yield Photo(path / name, name, str(path / name))
    elif os.path.lexists(path):
        yield Photo(path, Path(path.name), argument)
    elif glob.has_magic(argument):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        for each in map(Path, sorted(glob.glob(argument, recursive=True))):
            if each.suffix.lower() in SUFFIXES and each.is_file():
                yield Photo(each, each.relative_to(root), str(each))
    else:
        near = similar_files(argument)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"no such photo: {argument}{hint}")


def describe_others(wanted: Sequence[str], *, output: Path) -> Iterator[str]:
    """Tell of files in the folders among arguments that are no images by their names.

    Those in an output folder inside one are not told.
    """
    for folder in map(Path, wanted):
        names = map(Path, list_files(folder)) if folder.is_dir() else ()
        kinds = Counter(
            name.suffix.lower() or "no suffix"
            for name in names
            if name.suffix.lower() not in SUFFIXES
            and output not in (folder / name).parents
        )
        if kinds:
            files = "file" if kinds.total() == 1 else "files"
            told = ", ".join(sorted(kinds))
            yield f"{folder}: passed over {kinds.total()} other {files} ({told})"


# --- reading ------------------------------------------------------------------------


def read_size(photo: Photo, *, max_size: int | None) -> Size | None:
    """Read from the header of a file the full height and width in `read_photo`.

    ``None`` if the header is damaged.
    """
    try:
        check_regular(photo.path)
        with photo.path.open("rb") as file:
            height, width = upright_size(open_image(file))
    except Exception:  # Pillow raises nearly any; `read_photo` reports what is wrong
        return None
    if max_size is None or max(height, width) <= max_size:
        return height, width
    return fit_size((height, width), max_size)


def fit_masks(
    photos: Sequence[Photo], masks: Sequence[str]
) -> tuple[list[Photo], set[str]]:
    """List the photos of the masks' proportions, and say what is wrong with others.

    A ValueError says if there is no such photo. Only headers are read: of a file that
    is damaged, its reader tells.
    """
    fitting, unfit = [], set()
    for photo in photos:
        try:
            _check_masks(photo, masks)
        except ValueError as error:
            unfit.add(str(error))
        else:
            fitting.append(photo)
    if not fitting:
        raise ValueError("; ".join(sorted(unfit)))
    return fitting, unfit


def _check_masks(photo: Photo, masks: Sequence[str]) -> None:
    for mask in masks:
        own = read_size(Photo(Path(mask), Path(mask), mask), max_size=None)
        size = read_size(photo, max_size=None)
        if own is not None and size is not None:
            what = f"the photo {photo.title}"
            check_proportions(own, size, name=f"the mask {mask}", what=what)


def read_photo(
    photo: Photo, *, max_size: int | None, stroke_size: float, smallest_side: int
) -> LoadedPhoto:
    """Read the pixels of a photo, the longer side shrunk to ``max_size`` pixels.

    A PhotoError says if it is damaged, or if a side is below the smallest, in pixels.
    """
    try:
        colors, opacity = upright = load_upright(photo.path, shrink_to=max_size)
        full = colors.height, colors.width
        check_side(full, name=photo.title, smallest=smallest_side)
        height, width = size = painted_size(
            full, stroke_size=stroke_size, smallest=smallest_side
        )
        with explained(f"cannot read the image {photo.path}"):
            if size == full:
                return LoadedPhoto(photo, to_floats(colors), None, opacity)
            image = to_floats(upright.resize((width, height)).colors)
            return LoadedPhoto(photo, image, np.asarray(colors), opacity)
    except ValueError as error:
        message = str(error).replace(str(photo.path), photo.title)
        raise PhotoError(message) from error
