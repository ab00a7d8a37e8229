"""``jaxstyle stylize``: photos in, pictures out."""

import argparse
import sys
import tempfile
import warnings
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from jaxstyle.cli.interrupts import catch_interrupts
from jaxstyle.cli.runtime import use_compilation_cache, versions
from jaxstyle.cli.strategies import check_strategy
from jaxstyle.cli.style_inputs import load_styles
from jaxstyle.cli.stylize.net_programs import FINISHES, Painter
from jaxstyle.cli.stylize.photo_batches import Task
from jaxstyle.cli.stylize.photo_inputs import find_photos, measure_photo
from jaxstyle.cli.stylize.photo_outputs import (
    plan_outputs,
    plan_picture,
    prepare_outputs,
)
from jaxstyle.cli.stylize.photo_pictures import Job, make_contact_sheet, stylize_all


def run(arguments: argparse.Namespace) -> int:
    """Make the pictures; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as scratch:
        return make_pictures(arguments, Path(scratch))


def make_pictures(arguments: argparse.Namespace, scratch: Path) -> int:
    """Find the photos, settle what is written, and stylize; return the exit code."""
    job = make_job(arguments, scratch)
    make = make_contact_sheet if arguments.contact_sheet else stylize_all
    total = sum(len(task.outputs) for task in job.tasks)
    with (
        warnings.catch_warnings(),
        catch_interrupts() as interrupts,
        tqdm(total=total, unit="picture", disable=arguments.quiet) as bar,
        closing(make(job)) as progress,  # waits for what is being written
    ):
        # Each thread that reads silences Pillow, and the first to end undoes it.
        warnings.filterwarnings("ignore", module="PIL")
        for _ in progress:
            bar.update(len(job.written) - bar.n)
            if interrupts.received:
                break
    return report(job, total, output=arguments.output)


def make_job(arguments: argparse.Namespace, scratch: Path) -> Job:
    """Find photos and styles, and settle which files are written."""
    output = arguments.output
    check_strategy(arguments.devices, arguments.tile)
    photos = find_photos(arguments.photos, output=Path(output), scratch=scratch)
    styles = load_styles(arguments.styles)
    if arguments.contact_sheet:
        if len(photos) > 1:
            raise ValueError(f"--contact-sheet takes one photo, got {len(photos)}")
        outputs = [[plan_picture(output, scratch=scratch)]]
    else:
        names = [style.name for style in styles]
        outputs = plan_outputs(photos, names, output, scratch=scratch)
    inputs = chain((photo.path for photo in photos), *(style.paths for style in styles))
    written = list(chain.from_iterable(outputs))
    prepare_outputs(written, inputs=list(inputs), output=output)
    use_compilation_cache()
    say = partial(tqdm.write, file=sys.stderr)  # leaves the progress bar whole
    options = {
        "strength": arguments.strength,
        "preserve_color": arguments.preserve_color,
        "max_size": arguments.max_size,
    }
    return Job(
        tasks=[
            Task(photo, measure_photo(photo, max_size=arguments.max_size), paths)
            for photo, paths in zip(photos, outputs, strict=True)
        ],
        styles=styles,
        devices=arguments.devices or 1,
        paint=Painter(
            strength=arguments.strength,
            finish=FINISHES[arguments.preserve_color],
            devices=arguments.devices,
            tile=arguments.tile,
            say=(lambda _: None) if arguments.quiet else say,
        ),
        record={"command": "stylize", **options, **versions()},
        written=[],
        failures=set(),
    )


def report(job: Job, total: int, *, output: str) -> int:
    """Say what was made and what was not; return the exit code."""
    done = len(job.written)
    for failure in sorted(job.failures):
        print(f"jaxstyle stylize: error: {failure}", file=sys.stderr)
    if output != "-":
        print(f"{output}: {done} picture{'' if done == 1 else 's'}")
    elif job.written:
        sys.stdout.buffer.write(job.written[0].read_bytes())
        sys.stdout.buffer.flush()
    if job.failures:
        return 1
    if done < total:
        print(f"interrupted after {done} of {total} pictures", file=sys.stderr)
        return 130
    return 0
