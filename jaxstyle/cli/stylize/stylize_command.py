"""``jaxstyle stylize``: photos in, pictures out.

Threads read the next photos and write the last pictures while the device computes.
"""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli import loading, runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.style_kinds import load_mixture
from jaxstyle.cli.stylize import painting, photos
from jaxstyle.cli.stylize.full_size import Picture, painted_size, restore_size
from jaxstyle.cli.stylize.photos import LoadedPhoto, Photo, PhotoError
from jaxstyle.cli.stylize.stylize_options import StylizeOptions
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import to_8_bit, write_pixels

THREADS = min(4, os.cpu_count() or 1)
"""The number of threads that read, and of those that write."""

PHOTOS_AHEAD, BATCHES_BEHIND = 8, 2
"""The most photos read before their turn, and batches written after it."""

PIXELS_AHEAD = 2**25
"""The most pixels of photos read before their turn."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk."""

COLUMNS = 4
"""The number of pictures side by side in a contact sheet."""

Result = TypeVar("Result")


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


def run(arguments: StylizeOptions) -> int:
    """Make the pictures and return the exit code."""
    standard = "-" in (*arguments.photos, arguments.output)
    none = nullcontext(os.devnull)  # what is killed leaves nothing
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") if standard else none as path:
        job = make_job(arguments, Path(path))
        return report(job, make_pictures(job))


def make_job(arguments: StylizeOptions, scratch: Path) -> Job:
    """Find photos and styles, and choose the files to write."""
    output = arguments.output
    runtime.check_strategy(arguments.devices, arguments.tile)
    found = photos.find_photos(arguments.photos, output=Path(output), scratch=scratch)
    found, unfit = photos.fit_masks(found, arguments.masks or ())
    styles = load_all(arguments)
    for style in styles:
        if arguments.tile is not None and style.network.tiled is None:
            raise ValueError(f"{style.name} cannot run in tiles; leave out --tile")
    if arguments.contact_sheet:
        if len(found) > 1:
            raise ValueError(f"--contact-sheet takes one photo, got {len(found)}")
        outputs = {found[0]: [photos.plan_picture(output, scratch=scratch)]}
    else:
        names = [style.name for style in styles]
        outputs = photos.plan_outputs(found, names, output, scratch=scratch)
    inputs = chain.from_iterable(style.paths for style in styles)
    possible, failures = photos.prepare_outputs(
        outputs, inputs=list(inputs), output=output
    )
    runtime.use_compilation_cache()
    settings = (
        *("strength", "preserve_color", "stroke_size", "style_size", "max_size"),
    )
    record = {name: getattr(arguments, name) for name in settings}
    paint = painting.Painter(arguments, runtime.make_say(quiet=arguments.quiet))
    record = {"command": "stylize", **record, **runtime.versions()}
    return Job(possible, styles, paint, arguments, record, failures | unfit)


def load_all(arguments: StylizeOptions) -> list[Style]:
    """Read the styles; with masks they become one."""
    size, strength = arguments.style_size, arguments.strength
    load = partial(load_mixture, size=size, strength=strength)
    styles = loading.load_styles(arguments.styles, load)
    if arguments.masks is None:
        return styles
    from jaxstyle.cli.painted_styles import join_regions

    return [join_regions(styles, arguments.masks, strength=strength)]


def report(job: Job, written: Sequence[Path]) -> int:
    """Print what was made and what was not, and return the exit code."""
    output = job.arguments.output
    done, total = len(written), sum(map(len, job.outputs.values()))
    for failure in sorted(job.failures):
        print(f"jaxstyle stylize: error: {failure}", file=sys.stderr)
    if job.failures and not written:
        return 2
    if output != "-":
        print(f"{output}: {done} picture{'' if done == 1 else 's'}")
    elif written:
        sys.stdout.buffer.write(written[0].read_bytes())
        sys.stdout.buffer.flush()
    if job.failures:
        return 1
    if done < total:
        print(f"interrupted after {done} of {total} pictures", file=sys.stderr)
        return 130
    return 0


# --- from photos to pictures --------------------------------------------------------


def make_pictures(job: Job) -> list[Path]:
    """Make pictures with a progress bar until all are made, or an interrupt comes."""
    written: list[Path] = []
    total = sum(map(len, job.outputs.values()))
    with (
        runtime.catch_interrupts() as interrupts,
        tqdm(total=total, unit="picture", disable=job.arguments.quiet or None) as bar,
        ThreadPoolExecutor(THREADS) as readers,
        ThreadPoolExecutor(THREADS) as writers,
    ):
        painted = runtime.until_interrupted(interrupts, paint_batches(job, readers))
        if job.arguments.contact_sheet:
            made = make_contact_sheet(job, painted)
        else:
            writing = ((1, partial(write_pictures, job, *each)) for each in painted)
            made = successes(job, runtime.run_ahead(writing, writers, BATCHES_BEHIND))
        for paths in made:
            written += paths
            bar.update(len(paths))
        readers.shutdown(wait=False, cancel_futures=True)  # after an interrupt
    return written


def paint_batches(
    job: Job, readers: Executor
) -> Iterator[tuple[painting.Batch, int, jax.Array]]:
    """Begin each batch of photos in each style; yield it with the style's index."""
    max_size, stroke_size = job.arguments.max_size, job.arguments.stroke_size
    networks = [style.network for style in job.styles]
    smallest = max(network.smallest_side for network in networks)
    sizes = {photo: photos.read_size(photo, max_size=max_size) for photo in job.outputs}
    painted_sizes = {
        photo: size and painted_size(size, stroke_size=stroke_size, smallest=smallest)
        for photo, size in sizes.items()
    }
    devices = job.arguments.devices or 1
    batching = painting.plan_batches(painted_sizes, networks, devices)
    read = partial(
        photos.read_photo,
        max_size=max_size,
        stroke_size=stroke_size,
        smallest_side=smallest,
    )
    least = PIXELS_AHEAD // PHOTOS_AHEAD
    reading = (
        (max(least, prod(sizes[photo] or (0,))), partial(read, photo))
        for photo in batching.photos
    )
    found = successes(job, runtime.run_ahead(reading, readers, PIXELS_AHEAD))
    for batch in painting.make_batches(found, batching):
        for index, style in enumerate(job.styles):
            try:
                with naming_photos(batch):
                    painted = job.paint(style, batch)
            except PhotoError as error:
                job.failures.add(str(error))
            else:
                yield batch, index, painted


def successes(job: Job, futures: Iterable[Future[Result]]) -> Iterator[Result]:
    """Yield the results of futures, and collect the messages of photos that failed."""
    for future in futures:
        try:
            result = future.result()
        except PhotoError as error:
            job.failures.add(str(error))
        else:
            yield result


# --- writing ------------------------------------------------------------------------


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
