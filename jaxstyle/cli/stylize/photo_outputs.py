"""Where ``jaxstyle stylize`` writes, settled before any work."""

from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from jaxstyle.cli.stylize.photo_inputs import Photo
from jaxstyle.data.sources import SUFFIXES
from jaxstyle.files.image_files import check_image_path


def plan_outputs(
    photos: Sequence[Photo], styles: Sequence[str], output: str, *, scratch: Path
) -> list[list[Path]]:
    """Return the file to write for each photo in each style.

    Several pictures go to a folder, each under its photo's name, with the style's where
    there are several styles: as JPEG where the photo is one, else as PNG. Where two
    would have one name, the later gets a number.

    Args:
        photos: what to stylize.
        styles: the names of the styles.
        output: a picture, a folder, or ``-`` for standard output.
        scratch: a folder for the picture that goes to standard output.

    Raises:
        ValueError: there are more pictures than fit the output.
    """
    pictures = len(photos) * len(styles)
    if output == "-" or _is_picture(output):
        if pictures > 1:
            raise ValueError(
                f"-o {output} is one picture, but {pictures} are to be made; "
                "name a folder"
            )
        return [[plan_picture(output, scratch=scratch)]]
    taken: set[str] = set()
    return [
        [Path(output) / _unused(name, taken) for name in _names(photo, styles)]
        for photo in photos
    ]


def plan_picture(output: str, *, scratch: Path) -> Path:
    """Return the file to write for an output that is one picture."""
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
    """Return a name, numbered if it is taken, and take it."""
    numbered = (name.with_name(f"{name.stem}-{i}{name.suffix}") for i in count(2))
    # Some file systems do not tell A.png from a.png.
    free = next(
        path for path in chain([name], numbered) if str(path).casefold() not in taken
    )
    taken.add(str(free).casefold())
    return free


def prepare_outputs(
    outputs: Sequence[Path], *, inputs: Sequence[Path], output: str
) -> None:
    """Make the folders of outputs that lie within the output.

    Raises:
        ValueError: an output is an input, or cannot be written.
    """
    resolved = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in resolved:
            raise ValueError(f"{path} is an input; writing the picture would lose it")
    for folder in {path.parent for path in outputs if path != Path(output)}:
        _make_folder(folder)
    for path in outputs:
        check_image_path(path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot make the folder {folder}: {error.strerror or error}"
        ) from error
