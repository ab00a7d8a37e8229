"""Photographs in one file of raw pixels, and random crops as a function of the step.

JPEG files take longer to decode than a step may last. So each is decoded once, in the
first run, and mapped into memory from then on.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.data.sources import SUFFIXES, make_fingerprint
from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.image_files import load_image, to_8_bit

PIXELS, INDEX = "photos.bin", "photos.json"

LARGEST = 480
"""The shorter side, in pixels, to which larger photographs are shrunk."""

SCALES = (0.75, 1.5)
"""The range of the scale of crops: source pixels for each of their own."""

Photo = UInt8[np.ndarray, "_h _w 3"]


class Album(NamedTuple):
    """Photographs, sorted by name.

    Attributes:
        names: what the files are called.
        photos: their pixels.
        digest: of names and sizes.
    """

    names: list[str]
    photos: list[Photo]
    digest: str


def find_photos(folders: Sequence[Path]) -> list[Path]:
    """Return the image files in folders and their subfolders, sorted.

    Raises:
        ValueError: a folder is missing or holds no image.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder of photographs {folder}")
        files = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES]
        if not files:
            raise ValueError(f"no photographs in the folder {folder}")
        found += sorted(files)
    return found


def prepare_album(folders: Sequence[Path], album: Path, *, smallest: int) -> list[str]:
    """Decode photographs into one file, once, and return what is wrong with some.

    Args:
        folders: where they are.
        album: the folder for their pixels.
        smallest: the shorter side, in pixels, below which photographs are left out.

    Raises:
        ValueError: there are none, or the file has been made of others.
    """
    paths = find_photos(folders)
    origin = make_fingerprint(
        [smallest, *((_name(p), p.stat().st_size) for p in paths)]
    )
    if not (album / INDEX).exists():
        album.mkdir(parents=True, exist_ok=True)
        return _make_album(paths, album, smallest=smallest, origin=origin)
    if _read_index(album)["origin"] != origin:
        raise ValueError(
            f"the pixels in {album} are of other photographs: name the same folders as "
            "at first, or another folder for the run"
        )
    return []


def _make_album(
    paths: Sequence[Path], album: Path, *, smallest: int, origin: str
) -> list[str]:
    notes: list[str] = []
    entries: list[dict[str, Any]] = []
    with atomic_path(album / PIXELS) as temporary, temporary.open("wb") as file:
        for path in paths:
            try:
                photo = _load(path)
            except ValueError as error:
                notes.append(str(error))
                continue
            height, width, _ = photo.shape
            if min(height, width) < smallest:
                notes.append(
                    f"{path} of {width}x{height} pixels is too small: at least "
                    f"{smallest}x{smallest} are needed"
                )
                continue
            start = file.tell()
            entries.append(
                {"name": _name(path), "size": [height, width], "start": start}
            )
            file.write(photo.tobytes())
    if not entries:
        raise ValueError(f"no photograph can be used: {'; '.join(notes[:3])}")
    with atomic_path(album / INDEX) as temporary:
        temporary.write_text(json.dumps({"origin": origin, "photos": entries}))
    return notes


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _read_index(album: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((album / INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the photographs in {album}: {error}") from error
    return index


def _load(path: Path) -> Photo:
    image = load_image(path)
    height, width, _ = image.shape
    if min(height, width) > LARGEST:
        longest = round(LARGEST * max(height, width) / min(height, width))
        image = load_image(path, longest_side=longest)
    return to_8_bit(image)


def open_album(folder: Path) -> Album:
    """Map the pixels of an album into memory.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    entries = _read_index(folder)["photos"]
    try:
        pixels = np.memmap(folder / PIXELS, np.uint8, "r")
        photos = [_view(pixels, entry) for entry in entries]
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the photographs in {folder}: {error}") from error
    digest = make_fingerprint(json.dumps(entry) for entry in entries)
    return Album([entry["name"] for entry in entries], photos, digest)


def _view(pixels: np.ndarray, entry: dict[str, Any]) -> Photo:
    height, width = entry["size"]
    size = 3 * height * width
    photo: Photo = pixels[entry["start"] : entry["start"] + size]
    return photo.reshape(height, width, 3)


def hold_out(album: Album, count: int) -> tuple[Album, Album]:
    """Split an album into photographs to train on and those to measure on.

    The latter are those whose names have the lowest hash values: no matter which others
    there are, they are seldom others.

    Raises:
        ValueError: nothing is left to train on.
    """
    if not 0 < count < len(album.names):
        raise ValueError(
            f"cannot hold out {count} of {len(album.names)} photographs: at least one "
            "must be left to train on"
        )
    order = sorted(range(len(album.names)), key=lambda i: _hash(album.names[i]))
    return _select(album, sorted(order[count:])), _select(album, sorted(order[:count]))


def _select(album: Album, chosen: Sequence[int]) -> Album:
    names = [album.names[i] for i in chosen]
    photos = [album.photos[i] for i in chosen]
    return Album(names, photos, make_fingerprint([album.digest, *names]))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def draw_crops(
    album: Album, *, seed: int, step: int, batch: int, crop: int
) -> UInt8[np.ndarray, "batch crop crop 3"]:
    """Return the random crops of a step: scaled, and mirrored or not.

    They depend on the arguments alone, so that a run goes on from any step. Every
    photograph comes once in an epoch.

    Args:
        album: at least as large as a crop.
        seed: of all that is random.
        step: from 0.
        batch: how many crops there are.
        crop: their side in pixels.
    """
    generator = np.random.default_rng([seed, 1, step])
    positions = range(step * batch, (step + 1) * batch)
    chosen = _epochs(positions, seed=seed, count=len(album.photos))
    return np.stack([_cut(album.photos[i], generator, crop) for i in chosen])


def _epochs(positions: range, *, seed: int, count: int) -> Iterator[int]:
    """Yield the photographs at positions of an endless row of shuffled epochs."""
    orders = {
        epoch: np.random.default_rng([seed, 0, epoch]).permutation(count)
        for epoch in {position // count for position in positions}
    }
    for position in positions:
        yield int(orders[position // count][position % count])


def _cut(photo: Photo, generator: np.random.Generator, crop: int) -> Photo:
    from PIL import Image

    scale = np.exp(generator.uniform(*np.log(SCALES)))
    side = min(round(crop * scale), *photo.shape[:2])
    top, left = (
        int(generator.integers(length - side + 1)) for length in photo.shape[:2]
    )
    square = photo[top : top + side, left : left + side]
    picture = Image.fromarray(square).resize((crop, crop), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return pixels[:, ::-1] if generator.integers(2) else pixels


def center_squares(album: Album, side: int) -> UInt8[np.ndarray, "n side side 3"]:
    """Return the middle of each photograph, shrunk first if its shorter side is longer.

    Raises:
        ValueError: a photograph is smaller than that.
    """
    from PIL import Image

    squares = []
    for name, photo in zip(album.names, album.photos, strict=True):
        shorter = min(photo.shape[:2])
        if shorter < side:
            raise ValueError(f"{name} is smaller than {side} pixels")
        top, left = ((length - shorter) // 2 for length in photo.shape[:2])
        square = Image.fromarray(photo[top : top + shorter, left : left + shorter])
        squares.append(square.resize((side, side), Image.Resampling.LANCZOS))
    return np.stack([np.asarray(square) for square in squares])
