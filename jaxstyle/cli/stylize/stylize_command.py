"""``jaxstyle stylize``: photos in, pictures out.

Threads read the next photos and write the last pictures while the device computes.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import TypeVar

import jax
from tqdm import tqdm

from jaxstyle.cli import loading, runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.style_kinds import load_mixture
from jaxstyle.cli.stylize import outputs, painting, photos
from jaxstyle.cli.stylize.full_size import painted_size
from jaxstyle.cli.stylize.photos import PhotoError
from jaxstyle.cli.stylize.pictures import (
    Job,
    make_contact_sheet,
    naming_photos,
    write_pictures,
)
from jaxstyle.cli.stylize.stylize_options import StylizeOptions

THREADS = min(4, os.cpu_count() or 1)
"""The number of threads that read, and of those that write."""

PHOTOS_AHEAD, BATCHES_BEHIND = 8, 2
"""The most photos read before their turn, and batches written after it."""

PIXELS_AHEAD = 2**25
"""The most pixels of photos read before their turn."""

Result = TypeVar("Result")


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
    say = runtime.make_say(quiet=arguments.quiet)
    for line in photos.describe_others(arguments.photos, output=Path(output)):
        say(line)
    found, unfit = photos.fit_masks(found, arguments.masks or ())
    styles = load_all(arguments)
    for style in styles:
        if arguments.tile is not None and style.network.tiled is None:
            raise ValueError(f"{style.name} cannot run in tiles; leave out --tile")
    if arguments.contact_sheet:
        if len(found) > 1:
            raise ValueError(f"--contact-sheet takes one photo, got {len(found)}")
        planned = {found[0]: [outputs.plan_picture(output, scratch=scratch)]}
    else:
        names = [style.name for style in styles]
        planned = outputs.plan_outputs(found, names, output, scratch=scratch)
    inputs = chain.from_iterable(style.paths for style in styles)
    possible, failures = outputs.prepare_outputs(
        planned, inputs=list(inputs), output=output
    )
    runtime.use_compilation_cache()
    settings = (
        *(
            "strength",
            "passes",
            "preserve_color",
            "stroke_size",
            "style_size",
            "max_size",
        ),
    )
    record = {name: getattr(arguments, name) for name in settings}
    paint = painting.Painter(arguments, say)
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
    """Begin each batch of photos in each style; yield it with the style's index.

    CPUs finish it: they are no faster with several, for which an interrupt would wait.
    """
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
                    if jax.default_backend() == "cpu":
                        jax.block_until_ready(painted)
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
