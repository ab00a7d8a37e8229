"""The films that ``jaxstyle video`` reads: videos, GIFs, and folders of frames."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np

from jaxstyle.cli.video.video_options import VideoOptions
from jaxstyle.data.sources import list_images
from jaxstyle.files.image_files import load_upright
from jaxstyle.files.video_reader import (
    Colors,
    Frame,
    VideoFile,
    open_video,
)

RATE = 25.0
"""The frames per second of a folder, by default."""


@dataclass(frozen=True, kw_only=True)
class FrameFolder:
    """Images of one size as the frames of a film; with what a `VideoFile` has."""

    path: Path
    names: tuple[str, ...]
    size: tuple[int, int]
    rate: Fraction
    damage: dict[str, None] = field(default_factory=dict)

    @property
    def colors(self) -> Colors:
        """How colors are written."""
        return Colors()

    @property
    def pixel_aspect(self) -> Fraction:
        """The width of a pixel, in its heights."""
        return Fraction(1)

    @property
    def time_base(self) -> Fraction:
        """The unit of time stamps, in seconds."""
        return 1 / self.rate

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.names)

    def read(self) -> Iterator[Frame]:
        """Yield the frames; what cannot be read is left out, and noted as damage."""
        for index, name in enumerate(self.names):
            try:
                colors = load_upright(self.path / name).colors
            except ValueError as error:
                self.damage[str(error)] = None
                continue
            pixels = np.asarray(colors)
            if pixels.shape[:2] != self.size:
                height, width = self.size
                text = f"{self.path / name} is {colors.width}x{colors.height} pixels"
                self.damage[f"{text}, and other frames are {width}x{height}"] = None
                continue
            yield Frame(pixels, index / self.rate, 1 / self.rate)


Film: TypeAlias = VideoFile | FrameFolder


def open_film(options: VideoOptions) -> Film:
    """Open the film of a command; a ValueError says what is wrong with it."""
    import av  # noqa: F401  (whose lack is not the film's fault)

    path = Path(options.video)
    if options.end is not None and options.end <= options.start:
        raise ValueError(
            f"--end {options.end:g} is not after --start {options.start:g}"
        )
    if not path.is_dir():
        if options.fps is not None:
            raise ValueError("--fps is for folders of frames; videos know theirs")
        end = None if options.end is None else Fraction(options.end)
        return open_video(path, start=Fraction(options.start), end=end)
    rate = Fraction(options.fps or RATE).limit_denominator(1001)
    names = sorted(list_images(path), key=_natural)
    last = len(names) if options.end is None else round(options.end * rate)
    names = names[round(options.start * rate) : last]
    if not names:
        raise ValueError(f"no frame of {path} is between these times")
    first = load_upright(path / names[0]).colors
    return FrameFolder(
        path=path, names=tuple(names), size=(first.height, first.width), rate=rate
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Order ``2.png`` before ``10.png``."""
    return [(int(x), "") if x.isdigit() else (-1, x) for x in re.split(r"(\d+)", name)]
