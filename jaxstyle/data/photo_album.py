"""Photographs in one file of raw pixels, and random crops as a function of the step.

JPEG files take longer to decode than a step may last. So each is decoded once, in the
first run, and mapped into memory from then on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.data.sources import list_images, make_fingerprint
from jaxstyle.files.atomic import atomic_path, explained
from jaxstyle.files.image_files import load_image, to_8_bit
from jaxstyle.files.json_files import parse_object
from jaxstyle.files.regular_files import read_regular
from jaxstyle.images.arrays import check_images

PIXELS, INDEX = "photos.bin", "photos.json"

LARGEST = 480
"""The shorter side, in pixels, to which larger photographs are shrunk."""

SCALES = (0.75, 1.5)
"""The range of the scale of crops: source pixels for each of their own."""

Photo = UInt8[np.ndarray, "_h _w 3"]


class Album(NamedTuple):
    """Names of photographs, their pixels, and a digest of names and sizes."""

    names: list[str]
    photos: list[Photo]
    digest: str


def open_album(
    folder: Path,
    sources: Sequence[Path],
    *,
    smallest: int,
    say: Callable[[str], object],
) -> Album:
    """Map the photographs of some folders into memory from one file.

    The first time, they are decoded into it; ``say`` is told which are left out because
    they are damaged, or shorter than ``smallest`` pixels. A ValueError says if there
    are none, or if the file is damaged or was made of others.
    """
    paths = [source / name for source in sources for name in list_images(source)]
    origin = make_fingerprint(
        [smallest, *((_name(path), path.stat().st_size) for path in paths)]
    )
    if not (folder / INDEX).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_album(paths, folder, smallest=smallest, origin=origin, say=say)
    with explained(f"cannot read the photographs in {folder}"):
        index = parse_object(read_regular(folder / INDEX))
        pixels = np.memmap(folder / PIXELS, np.uint8, "r")
        entries = index["photos"]
        photos = [
            pixels[entry["start"] :][: 3 * height * width].reshape(height, width, 3)
            for entry in entries
            for height, width in [entry["size"]]
        ]
        found = index["origin"]
    if found != origin:
        raise ValueError(
            f"the pixels in {folder} are of other photographs; name the same folders "
            "as at first, or another folder for the run"
        )
    digest = make_fingerprint(json.dumps(entry) for entry in entries)
    return Album([entry["name"] for entry in entries], photos, digest)


def _write_album(
    paths: Sequence[Path],
    folder: Path,
    *,
    smallest: int,
    origin: str,
    say: Callable[[str], object],
) -> None:
    entries: list[dict[str, Any]] = []
    notes: list[str] = []
    with atomic_path(folder / PIXELS) as temporary, temporary.open("wb") as file:
        for path in paths:
            try:
                photo = _load(path, smallest=smallest)
            except ValueError as error:
                notes.append(str(error))
                continue
            size, start = list(photo.shape[:2]), file.tell()
            entries.append({"name": _name(path), "size": size, "start": start})
            file.write(photo.tobytes())
    if not entries:
        raise ValueError(f"no photograph can be used: {'; '.join(notes[:3])}")
    for note in notes:
        say(f"left out: {note}")
    with atomic_path(folder / INDEX) as temporary:
        temporary.write_text(json.dumps({"origin": origin, "photos": entries}))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _load(path: Path, *, smallest: int) -> Photo:
    """Read a photograph, shrunk to `LARGEST`; a ValueError if it is too small."""
    image = load_image(path)
    height, width, _ = image.shape
    if min(height, width) > LARGEST:
        longest = round(LARGEST * max(height, width) / min(height, width))
        image = load_image(path, longest_side=longest)
    check_images(image, name=str(path), smallest=smallest)  # type: ignore[arg-type]
    return to_8_bit(image)


def hold_out(album: Album, count: int) -> tuple[Album, Album]:
    """Split an album into photographs to train on and ``count`` to measure on.

    The latter are those whose names have the lowest hash values, so that another set of
    photographs holds out mostly the same. A ValueError says if none is left over.
    """
    total = len(album.names)
    if not 0 < count < total:
        raise ValueError(
            f"cannot hold out {count} of {total} photographs: at least one must be "
            "left to train on"
        )
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in album.names]
    order = sorted(range(total), key=hashes.__getitem__)

    def select(chosen: Sequence[int]) -> Album:
        names, photos = zip(
            *((album.names[i], album.photos[i]) for i in chosen), strict=True
        )
        return Album([*names], [*photos], make_fingerprint([album.digest, *names]))

    return select(sorted(order[count:])), select(sorted(order[:count]))


# --- crops --------------------------------------------------------------------------


def draw_crops(
    album: Album, *, seed: int, step: int, batch: int, crop: int
) -> UInt8[np.ndarray, "batch crop crop 3"]:
    """Cut the random crops of a step: scaled, and mirrored or not.

    They depend on the arguments alone, so that a run resumes at any step. Every
    photograph, of at least ``crop`` pixels a side, comes once in an epoch.
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
    height, width, _ = photo.shape
    scale = np.exp(generator.uniform(*np.log(SCALES)))
    side = min(round(crop * scale), height, width)
    top = int(generator.integers(height - side + 1))
    left = int(generator.integers(width - side + 1))
    pixels = _resize(photo[top : top + side, left : left + side], crop)
    return pixels[:, ::-1] if generator.integers(2) else pixels


def center_squares(album: Album, side: int) -> UInt8[np.ndarray, "n side side 3"]:
    """Cut the middle of each photograph, and shrink it to a side in pixels."""
    squares = []
    for photo in album.photos:
        shorter = min(photo.shape[:2])
        top, left = ((length - shorter) // 2 for length in photo.shape[:2])
        square = photo[top : top + shorter, left : left + shorter]
        squares.append(_resize(square, side))
    return np.stack(squares)


def _resize(square: Photo, side: int) -> Photo:
    from PIL import Image

    picture = Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)
