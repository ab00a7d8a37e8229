"""The photos that ``jaxstyle stylize`` reads, and the pictures that it writes."""

import glob
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count, takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from jaxstyle.data.sources import SUFFIXES
from jaxstyle.files.image_files import check_image_path, load_image, upright_size
from jaxstyle.images.arrays import check_images, fit_size

Picture = Float[np.ndarray, "h w 3"]

Size: TypeAlias = tuple[int, int]
"""Height and width, in pixels."""


class Photo(NamedTuple):
    """A photo to stylize.

    Attributes:
        path: the file.
        name: its path within the folder or pattern that it was found by.
        title: its name in messages.
    """

    path: Path
    name: Path
    title: str


class PhotoError(ValueError):
    """A photo cannot be stylized; the others still can."""


# --- finding ------------------------------------------------------------------------


def find_photos(wanted: Sequence[str], *, output: Path, scratch: Path) -> list[Photo]:
    """Find the photos that arguments name, each file once.

    In folders and patterns, images are recognized by their suffixes. Hidden files in
    folders are skipped, and so is an output folder inside one.

    Args:
        wanted: files, folders, patterns, or ``-`` for standard input.
        output: the file or folder to be written.
        scratch: a folder in which to save standard input.

    Raises:
        ValueError: there is no such file, or no image in a folder or pattern.
    """
    photos: dict[Path, Photo] = {}
    for argument in wanted:
        found = _find(argument, output=output, scratch=scratch)
        if not found:
            raise ValueError(
                f"no images in {argument}: expected files that end in "
                f"{', '.join(SUFFIXES)}"
            )
        for photo in found:
            photos.setdefault(photo.path.resolve(), photo)
    return list(photos.values())


def _find(argument: str, *, output: Path, scratch: Path) -> list[Photo]:
    if argument == "-":
        return [_read_standard_input(scratch)]
    path = Path(argument)
    if path.is_dir():
        return list(_in_folder(path, output=output))
    if os.path.lexists(path):
        return [Photo(path, Path(path.name), argument)]
    if glob.has_magic(argument):
        return list(_matches(argument))
    raise ValueError(f"no such photo: {argument}")


def _read_standard_input(scratch: Path) -> Photo:
    path = scratch / "stdin"
    path.write_bytes(sys.stdin.buffer.read())
    return Photo(path, Path("stdin.png"), "standard input")


def _in_folder(folder: Path, *, output: Path) -> Iterator[Photo]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        # A second run must not take pictures of the first for photos.
        written = output != folder and output in path.parents
        if _is_image(path) and not hidden and not written:
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


def read_size(photo: Photo, *, max_size: int | None) -> Size | None:
    """Read from the header of a file the size that `read_photo` gives the photo.

    Args:
        photo: the photo.
        max_size: of the longer side, in pixels; larger photos are shrunk.

    Returns:
        Height and width, or ``None`` if the header is damaged.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(photo.path) as image:
            warnings.simplefilter("ignore")
            height, width = upright_size(image)
    except Exception:  # Pillow raises nearly any; `read_photo` reports what is wrong
        return None
    if max_size is None or max(height, width) <= max_size:
        return height, width
    return fit_size(height, width, max_size)


def read_photo(photo: Photo, *, max_size: int | None, smallest_side: int) -> Picture:
    """Read a photo.

    Args:
        photo: the photo.
        max_size: of the longer side, in pixels; larger photos are shrunk.
        smallest_side: the least height and width that can be stylized, in pixels.

    Raises:
        PhotoError: it is damaged or too small.
    """
    try:
        image = load_image(photo.path, shrink_to=max_size)
        check_images(image, name=photo.title, smallest=smallest_side)  # type: ignore[arg-type]
    except ValueError as error:
        message = str(error).replace(str(photo.path), photo.title)
        raise PhotoError(message) from error
    return image


# --- writing ------------------------------------------------------------------------


def plan_outputs(
    photos: Sequence[Photo], styles: Sequence[str], output: str, *, scratch: Path
) -> dict[Photo, list[Path]]:
    """Choose the file to write for each photo in each style.

    Several pictures go to a folder, each under its photo's name, with the style's name
    if there are several styles: as JPEG if the photo is one, else as PNG. If two
    pictures would have one name, the later gets a number.

    Args:
        photos: the photos to stylize.
        styles: the names of the styles.
        output: a picture, a folder, or ``-`` for standard output.
        scratch: a folder for the picture that goes to standard output.

    Returns:
        For each photo one file per style.

    Raises:
        ValueError: the output is one picture, but several are to be made.
    """
    if output == "-" or _is_picture(output):
        if (pictures := len(photos) * len(styles)) > 1:
            raise ValueError(
                f"-o {output} is one picture, but {pictures} are to be made; "
                "name a folder"
            )
        return {photos[0]: [plan_picture(output, scratch=scratch)]}
    taken: set[str] = set()
    return {
        photo: [Path(output) / _unused(name, taken) for name in _names(photo, styles)]
        for photo in photos
    }


def plan_picture(output: str, *, scratch: Path) -> Path:
    """Choose the file to write for an output that is one picture."""
    return scratch / "stdout.png" if output == "-" else Path(output)


def _is_picture(output: str) -> bool:
    path = Path(output)
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _names(photo: Photo, styles: Sequence[str]) -> Iterator[Path]:
    suffix = photo.name.suffix
    if suffix.lower() not in (".jpg", ".jpeg"):
        suffix = ".png"
    for style in styles:
        ending = f".{style}{suffix}" if len(styles) > 1 else suffix
        yield photo.name.with_name(photo.name.stem + ending)


def _unused(name: Path, taken: set[str]) -> Path:
    """Add a name to those taken, numbered if it is one of them."""
    numbered = (name.with_name(f"{name.stem}-{i}{name.suffix}") for i in count(2))
    # Some file systems do not distinguish A.png from a.png.
    free = next(
        path for path in chain([name], numbered) if str(path).casefold() not in taken
    )
    taken.add(str(free).casefold())
    return free


def prepare_outputs(
    outputs: Mapping[Photo, Sequence[Path]], *, inputs: Sequence[Path], output: str
) -> None:
    """Create the folders of pictures inside the output folder.

    Args:
        outputs: the files to write, as from `plan_outputs`.
        inputs: the files of styles, which must not be overwritten, nor photos.
        output: a picture, a folder, or ``-`` for standard output.

    Raises:
        ValueError: an output is an input, or cannot be written.
    """
    paths = list(chain.from_iterable(outputs.values()))
    resolved = {path.resolve() for path in (*(p.path for p in outputs), *inputs)}
    for path in paths:
        if path.resolve() in resolved:
            raise ValueError(f"{path} is an input; writing the picture would lose it")
    for folder in {path.parent for path in paths if path != Path(output)}:
        _make_folder(folder)
    for path in paths:
        check_image_path(path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the folder {folder}: {error.strerror or error}"
        ) from error
