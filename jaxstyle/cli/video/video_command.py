"""``jaxstyle video``: a film in, the film painted like a painting out."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.cli import loading, runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.style_kinds import load_mixture
from jaxstyle.cli.stylize import painting
from jaxstyle.cli.video import film_outputs
from jaxstyle.cli.video.film_inputs import Film, open_film
from jaxstyle.cli.video.film_outputs import FRAMES_EACH, Output
from jaxstyle.cli.video.film_painting import FilmPainter
from jaxstyle.cli.video.optical_flow import check_flow
from jaxstyle.cli.video.shots import SAMPLES
from jaxstyle.cli.video.video_options import (
    NET_SHARE,
    PAINTING_SHARE,
    VideoOptions,
)
from jaxstyle.files.image_files import write_pixels
from jaxstyle.files.video_reader import Frame
from jaxstyle.files.video_writer import write_segment
from jaxstyle.images.arrays import check_side

STILLS = (1 / 6, 1 / 2, 5 / 6)
"""Where the frames of ``--preview`` are, as shares of the film."""

SETTINGS = (
    *("strength", "stroke_size", "style_size", "preserve_color", "blend", "size"),
    *("start", "end", "fps", "crf"),
)
"""The options that a film records."""


class Job(NamedTuple):
    """What is to be made of a film."""

    film: Film
    output: Output
    painter: FilmPainter
    options: VideoOptions
    record: dict[str, Any]


class StoppedError(Exception):
    """Frames ended before their segment was whole."""


def run(options: VideoOptions) -> int:
    """Make the film and return the exit code."""
    job = make_job(options)
    segments = film_outputs.begin(job.output, fingerprint(job))
    if options.preview and not segments:
        write_stills(job)
    with runtime.catch_interrupts() as interrupts:
        try:
            paint_segments(job, segments, interrupts)
        except StoppedError:
            count = FRAMES_EACH * len(segments)
            text = f"interrupted; the same command goes on after {count} frames"
            print(text, file=sys.stderr)
            return 130
    return report(job, segments)


def make_job(options: VideoOptions) -> Job:
    """Open the film and the style, and choose how the film is written."""
    runtime.check_strategy(options.devices, options.tile)
    if options.blend == 1:
        raise ValueError("--blend 1 would show the first frame only; give less")
    if options.blend != 0:
        check_flow()
    film = open_film(options)
    output = film_outputs.plan_output(film, options.output, crf=options.crf)
    (style,) = load_style(options)
    if options.blend is None:
        painted = "strength" in style.params  # as only paintings' are
        options = replace(options, blend=PAINTING_SHARE if painted else NET_SHARE)
    runtime.check_kept(style.paths, [output.path], what="video")
    say = runtime.make_say(quiet=options.quiet)
    for line in film_outputs.describe_left_out(film, output):
        say(line)
    if film.colors.is_hdr:
        say(f"{film.path} is HDR; its colors are taken as they are, not tone-mapped")
    runtime.use_compilation_cache()
    paint = painting.Painter(options, say)
    painter = FilmPainter(film, style, options, paint)
    check_side(painter.size, name=str(film.path), smallest=style.network.smallest_side)
    if style.network.hold is None:
        say(f"{style.name} has no statistics to hold: each frame is painted by itself")
    record = {name: getattr(options, name) for name in SETTINGS}
    made = {"video": film.path.name, "style": style.name}
    record = {"command": "video", **made, **record, **runtime.versions()}
    return Job(film, output, painter, options, record)


def load_style(options: VideoOptions) -> list[Style]:
    """Read the style; a ValueError says if it is more than one."""
    size, strength = options.style_size, options.strength
    load = partial(load_mixture, size=size, strength=strength)
    styles = loading.load_styles([options.style], load)
    if len(styles) > 1:
        raise ValueError(f"a film has one style, and {options.style} is {len(styles)}")
    if options.tile is not None and styles[0].network.tiled is None:
        raise ValueError(f"{styles[0].name} cannot run in tiles; leave out --tile")
    return styles


def fingerprint(job: Job) -> dict[str, Any]:
    """Record all that frames depend on, so that none of another run are mixed in."""
    path = job.film.path
    files = [path] if path.is_file() else sorted(path.iterdir())
    stats = [file.stat() for file in files]
    digest = sha256()
    for leaf in jax.tree.leaves(job.painter.style.params):
        digest.update(np.asarray(leaf).tobytes())
    return {
        **job.record,
        "files": [[file.name for file in files]],
        "states": [[stat.st_size, stat.st_mtime_ns] for stat in stats],
        "style_digest": digest.hexdigest(),
        "run": [job.options.devices, job.options.tile, job.output.path.name],
        "frames": [FRAMES_EACH, SAMPLES],
    }


# --- frames -------------------------------------------------------------------------


def paint_segments(
    job: Job, segments: list[Path], interrupts: runtime.Interrupts
) -> None:
    """Paint all frames that are not in segments yet, and add theirs.

    An `StoppedError` says if there was an interrupt.
    """
    skipped, painter = FRAMES_EACH * len(segments), job.painter
    if segments:
        painter.picture = film_outputs.load_picture(job.output, len(segments) - 1)
        runtime.make_say(quiet=job.options.quiet)(f"going on after {skipped} frames")
    total, quiet = job.film.count, job.options.quiet or None
    with tqdm(total=total, initial=skipped, unit="frame", disable=quiet) as bar:
        film = painter.paint_film(skipped=skipped)
        painted = runtime.until_interrupted(interrupts, film)

        def take(first: Frame) -> Iterator[Frame]:
            for frame in chain([first], islice(painted, FRAMES_EACH - 1)):
                bar.update()
                yield frame
            if interrupts.received:
                raise StoppedError
            assert painter.picture is not None
            film_outputs.save_picture(job.output, len(segments), painter.picture)

        while first := next(painted, None):
            path = job.output.segment(len(segments))
            write_segment(take(first), path, job.output.encoding)
            segments.append(path)


def write_stills(job: Job) -> None:
    """Paint three frames and write them beside the output."""
    count, output = job.film.count or 1, job.output.path
    numbers = {int(share * count) for share in STILLS}
    stills = islice(job.painter.paint_stills(numbers), len(numbers))
    for number, pixels in enumerate(stills, 1):
        path = output.with_name(f"{output.stem}-still-{number}.png")
        write_pixels(pixels, path)
        print(path, flush=True)


def report(job: Job, segments: Sequence[Path]) -> int:
    """Join the segments, say what was made, and return the exit code."""
    film, output, painter = job.film, job.output, job.painter
    if not segments:
        film_outputs.discard(output)
        raise ValueError(f"no frame of {film.path} can be read between these times")
    film_outputs.finish(film, output, segments, end=painter.end, record=job.record)
    for damage in film.damage:
        print(f"jaxstyle video: error: {film.path}: {damage}", file=sys.stderr)
    counts = {"frame": painter.count, "shot": painter.shots}
    told = (f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
    print(f"{output.path}: {', '.join(told)}")
    return 1 if film.damage else 0
