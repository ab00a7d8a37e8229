"""From painted batches to the files of pictures, in the full size of their photos."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.cli import runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.stylize import painting
from jaxstyle.cli.stylize.full_size import Picture, restore_size
from jaxstyle.cli.stylize.photos import LoadedPhoto, Photo, PhotoError
from jaxstyle.cli.stylize.stylize_options import StylizeOptions
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import to_8_bit, write_pixels

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk."""

COLUMNS = 4
"""The number of pictures side by side in a contact sheet."""


@dataclass(frozen=True)
class Job:
    """The files to write for each photo: one per style, or a contact sheet.

    ``paint`` begins to stylize a batch, and ``record`` is written into every picture.
    Photos that cannot be stylized add why to ``failures``.
    """

    outputs: Mapping[Photo, Sequence[Path]]
    styles: Sequence[Style]
    paint: Callable[[Style, painting.Batch], jax.Array]
    arguments: StylizeOptions
    record: Mapping[str, Any]
    failures: set[str] = field(default_factory=set)


def write_pictures(
    job: Job, batch: painting.Batch, style: int, painted: jax.Array
) -> list[Path]:
    """Wait for a batch in the style of an index, and write its pictures that can be."""
    pictures, name = fetch(batch, painted), job.styles[style].name
    written: list[Path] = []
    for photo, picture in zip(batch.photos, pictures, strict=False):
        path = job.outputs[photo.photo][style]
        try:
            save(job, picture, photo, path, style=name)
        except ValueError as error:
            if getattr(error.__cause__, "errno", None) in FULL:
                raise  # as it would for all others
            job.failures.add(str(error))
        else:
            written.append(path)
    return written


def make_contact_sheet(
    job: Job, painted: Iterable[tuple[painting.Batch, int, jax.Array]]
) -> Iterator[list[Path]]:
    """Make one picture of a photo in all styles, unless one is missing."""
    if not job.outputs:
        return
    ((photo, (path,)),) = job.outputs.items()
    pictures: list[Picture] = []
    try:
        for batch, _, array in painted:
            pictures += fetch(batch, array)
    except PhotoError as error:
        job.failures.add(str(error))
        return
    names = [style.name for style in job.styles]
    if len(pictures) == len(names):
        original = batch.crop(batch.images)
        sheet = lay_out([*original, *pictures], labels=[photo.name.stem, *names])
        save(job, sheet, LoadedPhoto(photo, sheet), path, style=", ".join(names))
        yield [path]


def lay_out(pictures: Sequence[Picture], *, labels: Sequence[str]) -> Picture:
    """Lay out pictures with labels in rows of `COLUMNS`."""
    sheets = [
        make_sheet([pictures[i : i + COLUMNS]], column_labels=labels[i : i + COLUMNS])
        for i in range(0, len(pictures), COLUMNS)
    ]
    width = max(sheet.shape[1] for sheet in sheets)
    margins = [((0, 0), (0, width - sheet.shape[1]), (0, 0)) for sheet in sheets]
    return np.concatenate(
        list(map(partial(np.pad, constant_values=1), sheets, margins))
    )


def fetch(batch: painting.Batch, painted: jax.Array) -> list[Picture]:
    """Wait for a batch, and crop its pictures."""
    with naming_photos(batch):
        return batch.crop(np.asarray(painted))


@contextmanager
def naming_photos(batch: painting.Batch) -> Iterator[None]:
    """Turn a lack of memory into a PhotoError that names the photos of a batch."""
    titles = ", ".join(each.photo.title for each in batch.photos)
    try:
        with runtime.explain_lack_of_memory(
            what=titles, advice="use a smaller --max-size"
        ):
            yield
    except ValueError as error:
        raise PhotoError(str(error)) from error


def save(
    job: Job, picture: Picture, loaded: LoadedPhoto, path: Path, *, style: str
) -> None:
    """Write a picture with its settings, in the full size of its photo."""
    made = {"photo": loaded.photo.title, "style": style}
    if loaded.pixels is None:
        pixels = to_8_bit(picture)
    else:
        finish = painting.choose_finish(job.arguments)
        pixels = restore_size(loaded.pixels, loaded.image, picture, finish)
    settings = {**job.record, **made}
    write_pixels(pixels, path, settings=settings, opacity=loaded.opacity)
