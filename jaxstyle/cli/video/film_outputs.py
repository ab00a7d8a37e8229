"""The films that ``jaxstyle video`` writes, and the segments that they consist of."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.cli.runtime import check_kept
from jaxstyle.cli.stylize.full_size import Picture
from jaxstyle.cli.stylize.outputs import is_file, make_folder
from jaxstyle.cli.video.film_inputs import Film, FrameFolder
from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.films import save_gif
from jaxstyle.files.image_files import write_pixels
from jaxstyle.files.json_files import load_object, save_object
from jaxstyle.files.video_reader import Frame, VideoFile
from jaxstyle.files.video_writer import (
    FORMATS,
    LOSSLESS,
    SEGMENT,
    Encoding,
    join_segments,
    left_out,
    read_segments,
)

FRAMES_EACH = 50
"""The number of frames of a segment: what is lost at most where a run is killed."""

RECORD, GIF = "run.json", ".gif"


class Output(NamedTuple):
    """Where a film goes, and how it is written."""

    path: Path
    suffix: str  # of a video or a GIF; nothing for a folder of frames
    encoding: Encoding

    @property
    def unfinished(self) -> Path:
        """The folder of the segments."""
        return self.path.with_name(f"{self.path.name}.unfinished")

    def segment(self, index: int) -> Path:
        """Name the file of a segment."""
        return self.unfinished / f"{index:06d}{SEGMENT}"

    def segments(self) -> list[Path]:
        """List the segments that are whole, in their order."""
        found: list[Path] = []
        while self.segment(len(found)).exists():
            found.append(self.segment(len(found)))
        return found


def plan_output(film: Film, output: str, *, crf: int | None) -> Output:
    """Choose how a film is written; a ValueError says why that is impossible."""
    path, suffix = Path(output), ""
    if is_file(output):
        check_output_path(path, kind="video", suffixes=(*FORMATS, GIF))
        suffix = path.suffix.lower()
    check_kept([film.path], [path], what="video")
    if suffix not in FORMATS and crf is not None:
        raise ValueError("--crf is for videos; frames and GIFs have no such quality")
    if suffix in FORMATS and isinstance(film, VideoFile):
        lost = [name for kind, name in left_out(film, suffix) if kind == "audio"]
        if lost:
            raise ValueError(
                f"a {suffix} file cannot hold the sound of {film.path}, {lost[0]}; "
                "write a .mkv file, which can"
            )
    codec = FORMATS[suffix][1] if suffix in FORMATS else LOSSLESS
    how = (film.colors, film.time_base, film.rate, film.pixel_aspect, crf)
    return Output(path, suffix, Encoding(codec, *how))


def describe_left_out(film: Film, output: Output) -> Iterator[str]:
    """Tell of sound and subtitles that the film is written without."""
    if not isinstance(film, VideoFile):
        return
    kinds = {kind for kind, _ in film.copied if kind}
    if output.suffix in FORMATS:
        kinds = {kind for kind, _ in left_out(film, output.suffix)}
    for kind in sorted(kinds):
        what = {"audio": "sound", "subtitle": "subtitles"}[kind]
        yield f"{output.path} is without the {what} of {film.path}"


# --- segments -----------------------------------------------------------------------


def begin(output: Output, record: Mapping[str, Any]) -> list[Path]:
    """Make the folder of segments, or find those of a run that was killed.

    A ValueError says if they were made in another way; if there are none yet, that is
    all one.
    """
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path = output.unfinished / RECORD
    if path.exists():
        if load_object(path, {"run": str})["run"] == digest:
            return output.segments()
        if output.segments():
            raise ValueError(
                f"{output.unfinished} holds a part of this film that was made with "
                "other settings; delete it, or choose another output"
            )
    make_folder(output.unfinished)
    save_object({"run": digest}, path)
    return []


def save_picture(output: Output, index: int, picture: Picture) -> None:
    """Keep the last picture of a segment exactly: the next frame goes on from it."""
    with atomic_path(_picture(output, index)) as temporary:
        np.save(temporary, picture)
    _picture(output, index - 2).unlink(missing_ok=True)


def load_picture(output: Output, index: int) -> Picture:
    """Read the last picture of a segment."""
    path = _picture(output, index)
    with explained(f"cannot go on from {path}"):
        return np.load(path)


def _picture(output: Output, index: int) -> Path:
    return output.unfinished / f"{index:06d}.npy"


def finish(
    film: Film,
    output: Output,
    segments: Sequence[Path],
    *,
    end: Fraction,
    record: Mapping[str, Any],
) -> None:
    """Write the film, and delete its segments."""
    if output.suffix in FORMATS:
        source = film if isinstance(film, VideoFile) else None
        tags = source.tags if source else {}
        metadata = {**tags, "comment": json.dumps(record)}
        path = output.path
        join_segments(segments, path, end=end, source=source, metadata=metadata)
    else:
        frames = read_segments(segments, end=end)
        if output.suffix == GIF:
            save_gif(frames, output.path)
        else:
            for number, frame in enumerate(frames, 1):
                name = _frame_name(film, frame) or f"{number:06d}"
                path = output.path / f"{name}.png"
                make_folder(path.parent)
                write_pixels(frame.pixels, path, settings=dict(record))
    discard(output)


def discard(output: Output) -> None:
    """Delete the segments, and all that was kept with them."""
    shutil.rmtree(output.unfinished)


def _frame_name(film: Film, frame: Frame) -> str | None:
    """Find the name of the file that a frame was read from, if it has one."""
    if not isinstance(film, FrameFolder):
        return None
    name = film.names[round(frame.start * film.rate)]  # those before may be left out
    return os.path.splitext(name)[0]
