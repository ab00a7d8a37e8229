"""``jaxstyle stylize``: photos in, pictures out.

Threads read the next photos and write the last pictures while the device computes.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli.loading import (
    Shares,
    Style,
    is_painted,
    load_net,
    load_styles,
    mixture_name,
)
from jaxstyle.cli.runtime import (
    catch_interrupts,
    explain_lack_of_memory,
    run_ahead,
    use_compilation_cache,
    versions,
)
from jaxstyle.cli.strategies import check_strategy
from jaxstyle.cli.stylize import painting
from jaxstyle.cli.stylize.photos import (
    Photo,
    PhotoError,
    Picture,
    find_photos,
    plan_outputs,
    plan_picture,
    prepare_outputs,
    read_photo,
    read_size,
)
from jaxstyle.cli.stylize.stylize_options import StylizeOptions
from jaxstyle.files.figures import make_sheet
from jaxstyle.files.image_files import save_image
from jaxstyle.images.color import keep_colors

THREADS = min(4, os.cpu_count() or 1)
"""The number of threads that read, and of those that write."""

PHOTOS_AHEAD, BATCHES_BEHIND = 8, 2
"""The number of photos read before their turn, and of batches written after it."""

COLUMNS = 4
"""The number of pictures side by side in a contact sheet."""

Result = TypeVar("Result")


class Job(NamedTuple):
    """The files to write for each photo: one per style, or a contact sheet.

    ``paint`` begins to stylize a batch, and ``record`` is written into every picture.
    """

    outputs: Mapping[Photo, Sequence[Path]]
    styles: Sequence[Style]
    paint: Callable[[Style, painting.Batch], jax.Array]
    devices: int
    max_size: int | None
    record: Mapping[str, Any]


def run(arguments: StylizeOptions) -> int:
    """Make the pictures and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as scratch:
        job = make_job(arguments, Path(scratch))
        failures: set[str] = set()
        make = make_contact_sheet if arguments.contact_sheet else stylize_photos
        written = make_pictures(job, make, failures, quiet=arguments.quiet)
        return report(job, written, failures, output=arguments.output)


def make_job(arguments: StylizeOptions, scratch: Path) -> Job:
    """Find photos and styles, and choose the files to write."""
    output = arguments.output
    check_strategy(arguments.devices, arguments.tile)
    photos = find_photos(arguments.photos, output=Path(output), scratch=scratch)
    styles = load_all(arguments)
    for style in styles:
        if arguments.tile is not None and style.network.tiled is None:
            raise ValueError(f"{style.name} cannot run in tiles; leave out --tile")
    if arguments.contact_sheet:
        if len(photos) > 1:
            raise ValueError(f"--contact-sheet takes one photo, got {len(photos)}")
        outputs = {photos[0]: [plan_picture(output, scratch=scratch)]}
    else:
        names = [style.name for style in styles]
        outputs = plan_outputs(photos, names, output, scratch=scratch)
    inputs = chain.from_iterable(style.paths for style in styles)
    prepare_outputs(outputs, inputs=list(inputs), output=output)
    use_compilation_cache()
    say = partial(tqdm.write, file=sys.stderr)  # leaves the progress bar whole
    options = {
        "strength": arguments.strength,
        "preserve_color": arguments.preserve_color,
        "style_size": arguments.style_size,
        "max_size": arguments.max_size,
    }
    paint = painting.Painter(
        strength=arguments.strength,
        finish=keep_colors if arguments.preserve_color else painting.clip_colors,
        devices=arguments.devices,
        tile=arguments.tile,
        say=(lambda _: None) if arguments.quiet else say,
    )
    return Job(
        outputs=outputs,
        styles=styles,
        paint=paint,
        devices=arguments.devices or 1,
        max_size=arguments.max_size,
        record={"command": "stylize", **options, **versions()},
    )


def load_all(arguments: StylizeOptions) -> list[Style]:
    """Read the styles; with masks they become one.

    Only paintings need Flax, which takes half a second to import.
    """
    size, strength = arguments.style_size, arguments.strength

    def load(shares: Shares) -> Style:
        painted = {is_painted(path) for path in shares}
        if len(painted) > 1:
            raise ValueError(
                f"cannot mix {mixture_name(shares)}: a painting and a net; mix "
                "paintings with paintings"
            )
        if True in painted:
            from jaxstyle.cli.painted_styles import load_painted

            return load_painted(shares, size=size, strength=strength)
        return load_net(shares)

    styles = load_styles(arguments.styles, load)
    if arguments.masks is None:
        return styles
    from jaxstyle.cli.painted_styles import join_regions

    return [join_regions(styles, arguments.masks, strength=strength)]


Make = Callable[[Job, set[str], Callable[[], bool]], Generator[list[Path], None, None]]
"""``make(job, failures, stop)``: yields the pictures it has written, adds to the
failures, and begins no more once ``stop()`` is true."""


def make_pictures(
    job: Job, make: Make, failures: set[str], *, quiet: bool
) -> list[Path]:
    """Make pictures with a progress bar until all are made, or an interrupt comes."""
    written: list[Path] = []
    total = sum(map(len, job.outputs.values()))
    with (
        warnings.catch_warnings(),
        catch_interrupts() as interrupts,
        tqdm(total=total, unit="picture", disable=quiet) as bar,
        closing(make(job, failures, lambda: interrupts.received)) as made,
    ):
        # Each thread that reads silences Pillow, and the first to end undoes it.
        warnings.filterwarnings("ignore", module="PIL")
        for paths in made:
            written += paths
            bar.update(len(paths))
    return written


def report(
    job: Job, written: Sequence[Path], failures: set[str], *, output: str
) -> int:
    """Print what was made and what was not, and return the exit code."""
    done, total = len(written), sum(map(len, job.outputs.values()))
    for failure in sorted(failures):
        print(f"jaxstyle stylize: error: {failure}", file=sys.stderr)
    if output != "-":
        print(f"{output}: {done} picture{'' if done == 1 else 's'}")
    elif written:
        sys.stdout.buffer.write(written[0].read_bytes())
        sys.stdout.buffer.flush()
    if failures:
        return 1
    if done < total:
        print(f"interrupted after {done} of {total} pictures", file=sys.stderr)
        return 130
    return 0


# --- many pictures ------------------------------------------------------------------


def stylize_photos(
    job: Job, failures: set[str], stop: Callable[[], bool]
) -> Generator[list[Path], None, None]:
    """Make every photo in every style; yield the files of a batch in one style."""
    sizes = {photo: read_size(photo, max_size=job.max_size) for photo in job.outputs}
    networks = [style.network for style in job.styles]
    batching = painting.plan_batches(sizes, networks, devices=job.devices)
    reading = (partial(read, job, photo) for photo in batching.photos)
    with ThreadPoolExecutor(THREADS) as readers, ThreadPoolExecutor(THREADS) as writers:
        read_futures = run_ahead(reading, executor=readers, count=PHOTOS_AHEAD)
        batches = painting.make_batches(successes(read_futures, failures), batching)
        painted = until(stop, paint_batches(job, batches, failures))
        writing = (partial(write_pictures, job, *each) for each in painted)
        written = run_ahead(writing, executor=writers, count=BATCHES_BEHIND)
        yield from successes(written, failures)


def read(job: Job, photo: Photo) -> tuple[Photo, Picture]:
    """Read a photo that all styles can be applied to."""
    smallest = max(style.network.smallest_side for style in job.styles)
    return photo, read_photo(photo, max_size=job.max_size, smallest_side=smallest)


def paint_batches(
    job: Job, batches: Iterable[painting.Batch], failures: set[str]
) -> Iterator[tuple[painting.Batch, int, jax.Array]]:
    """Begin each batch in each style, and yield it with the style's index."""
    for batch in batches:
        for index, style in enumerate(job.styles):
            try:
                with naming_photos(batch):
                    painted = job.paint(style, batch)
            except PhotoError as error:
                failures.add(str(error))
            else:
                yield batch, index, painted


def write_pictures(
    job: Job, batch: painting.Batch, style: int, painted: jax.Array
) -> list[Path]:
    """Wait for a batch in the style of an index, and write its pictures."""
    pictures = fetch(batch, painted)
    paths = [job.outputs[photo][style] for photo in batch.photos]
    name = job.styles[style].name
    for photo, path, picture in zip(batch.photos, paths, pictures, strict=False):
        save(job, picture, photo, path, style=name)
    return paths


def successes(
    futures: Iterable[Future[Result]], failures: set[str]
) -> Iterator[Result]:
    """Yield the results of futures, and collect the messages of photos that failed."""
    for future in futures:
        try:
            result = future.result()
        except PhotoError as error:
            failures.add(str(error))
        else:
            yield result


def until(stop: Callable[[], bool], items: Iterable[Result]) -> Iterator[Result]:
    """Yield items until, after one of them, ``stop()`` is true."""
    for item in items:
        yield item
        if stop():
            return


# --- contact sheets -----------------------------------------------------------------


def make_contact_sheet(
    job: Job, failures: set[str], stop: Callable[[], bool]
) -> Generator[list[Path], None, None]:
    """Make one picture of a photo in all styles, and yield its file."""
    ((photo, (path,)),) = job.outputs.items()
    try:
        _, image = read(job, photo)
        height, width, _ = image.shape
        networks = [style.network for style in job.styles]
        batching = painting.plan_batches({photo: (height, width)}, networks)
        batches = painting.make_batches([(photo, image)], batching)
        pictures = [image]
        for batch, _, painted in until(stop, paint_batches(job, batches, failures)):
            pictures += fetch(batch, painted)
    except PhotoError as error:
        failures.add(str(error))
        return
    if len(pictures) > len(job.styles):
        names = [style.name for style in job.styles]
        sheet = lay_out(pictures, labels=[photo.name.stem, *names])
        save(job, sheet, photo, path, style=", ".join(names))
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


# --- both ---------------------------------------------------------------------------


def fetch(batch: painting.Batch, painted: jax.Array) -> list[Picture]:
    """Wait for a batch, and crop its pictures."""
    with naming_photos(batch):
        return batch.crop(np.asarray(painted))


@contextmanager
def naming_photos(batch: painting.Batch) -> Iterator[None]:
    """Turn a lack of memory into a PhotoError that names the photos of a batch."""
    titles = ", ".join(photo.title for photo in batch.photos)
    try:
        with explain_lack_of_memory(what=titles, advice="use a smaller --max-size"):
            yield
    except ValueError as error:
        raise PhotoError(str(error)) from error


def save(job: Job, picture: Picture, photo: Photo, path: Path, *, style: str) -> None:
    """Write a picture with its settings."""
    made = {"photo": photo.title, "style": style}
    save_image(picture, path, settings={**job.record, **made})
