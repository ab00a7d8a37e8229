"""The work of ``jaxstyle stylize``: many pictures, or one contact sheet.

Threads read the next photos and write the last pictures while the device works.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxstyle.cli.runtime import explain_lack_of_memory
from jaxstyle.cli.style_inputs import Style
from jaxstyle.cli.stylize.net_programs import Paint
from jaxstyle.cli.stylize.photo_batches import (
    Batch,
    Task,
    ahead,
    make_batches,
    make_plan,
)
from jaxstyle.cli.stylize.photo_inputs import Picture, read_photo
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import save_image

THREADS = min(4, os.cpu_count() or 1)
"""How many threads read, and how many write."""

PHOTOS_AHEAD, BATCHES_BEHIND = 8, 2
"""How many photos are read before their turn, and how many batches written after."""

COLUMNS = 4
"""How many pictures stand side by side in a contact sheet."""

Result = TypeVar("Result")


class Job(NamedTuple):
    """What is to be done, and what has become of it so far.

    Attributes:
        tasks: the photos.
        styles: what they are stylized with.
        devices: how many share a batch.
        paint: the program.
        record: what the settings of every picture hold.
        written: the pictures that are done; threads add to it.
        failures: what was wrong with photos; threads add to it.
    """

    tasks: Sequence[Task]
    styles: Sequence[Style]
    devices: int
    paint: Paint
    record: Mapping[str, Any]
    written: list[Path]
    failures: set[str]


class Painted(NamedTuple):
    """A batch in the style of an index, perhaps not done yet."""

    batch: Batch
    style: int
    images: jax.Array


# --- many pictures ------------------------------------------------------------------


def stylize_all(job: Job) -> Generator[None, None, None]:
    """Make every photo in every style; yield now and then."""
    plan = make_plan(job.tasks, devices=job.devices)
    read, write = partial(read_task, job), partial(write_pictures, job)
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
        photos = ahead(read, plan.tasks, executor=readers, count=PHOTOS_AHEAD)
        batches = make_batches(filter(None, photos), plan)
        painted = paint_batches(job, batches)
        yield from ahead(write, painted, executor=writers, count=BATCHES_BEHIND)


def read_task(job: Job, task: Task) -> tuple[Task, Picture] | None:
    """Read a photo, or note what is wrong with it."""
    try:
        return task, read_photo(task.photo, size=task.size)
    except ValueError as error:
        job.failures.add(str(error))
        return None


def paint_batches(job: Job, batches: Iterable[Batch]) -> Iterator[Painted]:
    """Have the device begin with each batch in each style."""
    for batch in batches:
        for index, style in enumerate(job.styles):
            images = compute(
                job, batch, job.paint, style.params, batch.images, batch.sizes
            )
            if images is not None:
                yield Painted(batch, index, images)


def write_pictures(job: Job, painted: Painted) -> None:
    """Wait for a batch, and write its pictures."""
    batch, index, _ = painted
    style = job.styles[index].name
    for task, picture in zip(batch.tasks, fetch(job, painted), strict=False):
        save(job, picture, task, task.outputs[index], style=style)


def fetch(job: Job, painted: Painted) -> list[Picture]:
    """Wait for a batch, and return its pictures, none if memory does not suffice."""
    pictures = compute(job, painted.batch, np.asarray, painted.images)
    if pictures is None:
        return []
    sizes = painted.batch.sizes
    return [
        picture[:height, :width]
        for picture, (height, width) in zip(pictures, sizes, strict=True)
    ]


# --- contact sheets -----------------------------------------------------------------


def make_contact_sheet(job: Job) -> Generator[None, None, None]:
    """Make one picture of a photo in all styles; yield now and then."""
    plan = make_plan(job.tasks, devices=job.devices)
    pictures = []
    photos = filter(None, (read_task(job, task) for task in plan.tasks))
    for painted in paint_batches(job, make_batches(photos, plan)):
        pictures += fetch(job, painted)
        yield
    if len(pictures) < len(job.styles):  # some have failed
        return
    (task,) = job.tasks
    names = [style.name for style in job.styles]
    pictures.insert(0, read_photo(task.photo, size=task.size))
    labels = [task.photo.name.stem, *names]
    sheets = [
        make_sheet([pictures[i : i + COLUMNS]], column_labels=labels[i : i + COLUMNS])
        for i in range(0, len(pictures), COLUMNS)
    ]
    save(job, stack(sheets), task, task.outputs[0], style=", ".join(names))


def stack(sheets: Sequence[Picture]) -> Picture:
    """Put sheets below each other; those that are narrower have white at the right."""
    width = max(sheet.shape[1] for sheet in sheets)
    return np.concatenate(
        [
            np.pad(
                sheet, ((0, 0), (0, width - sheet.shape[1]), (0, 0)), constant_values=1
            )
            for sheet in sheets
        ]
    )


# --- both ---------------------------------------------------------------------------


def compute(
    job: Job, batch: Batch, function: Callable[..., Result], *values: Any
) -> Result | None:
    """Return a function's result, or note which photos memory does not suffice for."""
    titles = ", ".join(task.photo.title for task in batch.tasks)
    try:
        with explain_lack_of_memory(what=titles, advice="use a smaller --max-size"):
            return function(*values)
    except ValueError as error:
        job.failures.add(str(error))
        return None


def save(job: Job, picture: Picture, task: Task, path: Path, *, style: str) -> None:
    """Write a picture with its settings."""
    made = {"photo": task.photo.title, "style": style}
    save_image(picture, path, settings={**job.record, **made})
    job.written.append(path)
