"""The files that ``jaxstyle stylize`` writes."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain, count, product
from pathlib import Path

from jaxstyle.cli.runtime import check_kept
from jaxstyle.cli.stylize.photos import Photo
from jaxstyle.files.atomic import explained
from jaxstyle.files.image_files import WRITABLE, check_image_path


def plan_outputs(
    photos: Sequence[Photo], styles: Sequence[str], output: str, *, scratch: Path
) -> dict[Photo, list[Path]]:
    """Choose the file to write for each photo in each style.

    Several pictures go to a folder, each under its photo's name, with the style's name
    if there are several styles: as JPEG if the photo is one, else as PNG. If two
    pictures would have one name, the later gets a number. The output may also be a
    picture, or ``-`` for standard output, which goes through the scratch folder.

    A ValueError says if the output is one picture, but several are to be made, or if
    its suffix is none of a picture's.
    """
    folder = Path(output)
    if output == "-" or is_file(output):
        if output != "-" and folder.suffix.lower() not in WRITABLE:
            raise ValueError(
                f"cannot write {output}: unknown suffix {folder.suffix!r}, use one of "
                f"{', '.join(WRITABLE)}; for a folder, end its name with /"
            )
        if (pictures := len(photos) * len(styles)) > 1:
            raise ValueError(
                f"-o {output} is one picture, but {pictures} are to be made; "
                "name a folder"
            )
        return {photos[0]: [plan_picture(output, scratch=scratch)]}
    taken: set[str] = set()
    outputs: dict[Photo, list[Path]] = {photo: [] for photo in photos}
    for photo, style in product(photos, styles):
        is_jpeg = photo.name.suffix.lower() in (".jpg", ".jpeg")
        suffix = photo.name.suffix if is_jpeg else ".png"
        stem = f"{photo.name.stem}.{style}" if len(styles) > 1 else photo.name.stem
        numbers = chain([""], (f"-{number}" for number in count(2)))
        names = (photo.name.with_name(f"{stem}{x}{suffix}") for x in numbers)
        # Some file systems do not distinguish A.png from a.png.
        free = next(name for name in names if str(name).casefold() not in taken)
        taken.add(str(free).casefold())
        outputs[photo].append(folder / free)
    return outputs


def is_file(output: str) -> bool:
    """Tell a file from a folder, which exists, ends in a slash, or has no suffix.

    A suffix begins with a letter, unlike that of ``v1.0``.
    """
    path = Path(output)
    if path.is_dir() or output.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        return False
    return path.suffix[1:2].isalpha()


def plan_picture(output: str, *, scratch: Path) -> Path:
    """Choose the file to write for an output that is one picture."""
    return scratch / "stdout.png" if output == "-" else Path(output)


def prepare_outputs(
    outputs: Mapping[Photo, Sequence[Path]], *, inputs: Sequence[Path], output: str
) -> tuple[dict[Photo, Sequence[Path]], set[str]]:
    """Create the folders of pictures inside the output folder.

    Returns the files that can be written, and why others cannot. A ValueError says if a
    file to write is a photo or another input.
    """
    paths = list(chain.from_iterable(outputs.values()))
    check_kept((*(photo.path for photo in outputs), *inputs), paths, what="picture")
    possible: dict[Photo, Sequence[Path]] = {}
    failures: set[str] = set()
    for photo, files in outputs.items():
        try:
            for path in files:
                if path != Path(output):
                    make_folder(path.parent)
                check_image_path(path)
        except ValueError as error:
            failures.add(str(error))
        else:
            possible[photo] = files
    return possible, failures


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it is in; a ValueError says why that fails."""
    with explained(f"cannot make the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
