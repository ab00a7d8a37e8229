"""The options of ``jaxstyle video``."""

from dataclasses import dataclass
from fractions import Fraction

from jaxstyle.cli.options import Options
from jaxstyle.losses.config import (
    REQUIRED,
    fraction,
    nonnegative_float,
    nonnegative_int,
    option,
    setting,
)

NET_SHARE, PAINTING_SHARE = 0.5, 0.7
"""The default of ``--blend``: the small strokes of nets fade with a larger share, those
of paintings hardly do."""


def time(text: str) -> float:
    """Parse seconds, or minutes and seconds, or hours too: ``1:02:03.5``."""
    parts = text.split(":")
    try:
        if len(parts) > 3 or not all(part[:1].isdigit() for part in parts):
            raise ValueError
        seconds = sum(Fraction(x) * 60**i for i, x in enumerate(reversed(parts)))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"expected seconds or [HOURS:]MINUTES:SECONDS, got {text!r}"
        ) from None
    return float(seconds)


def rate(text: str) -> float:
    """Parse a frame rate of more than 0: ``25``, ``29.97`` or ``30000/1001``."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value <= 1000:
        raise ValueError(f"expected a number of frames per second, got {text!r}")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class VideoOptions(Options):
    """The options of ``jaxstyle video``."""

    video: str = option(
        REQUIRED,
        "a video, an animated GIF, or a folder of frames, in the order of their names",
        positional=True,
        metavar="VIDEO",
    )
    style: str = option(
        REQUIRED,
        "a painting or a net, or a mixture, as jaxstyle stylize takes it",
        metavar="STYLE",
    )
    output: str = option(
        REQUIRED,
        "a video (.mp4, .mkv, .mov or .m4v with H.264, .webm with VP9), a .gif, or a "
        "folder of frames, as PNG",
        short="-o",
        metavar="OUT",
    )
    preview: bool = option(
        False,
        "first paint three frames, as pictures beside OUT, by the statistics of their "
        "shots",
    )
    start: float = option(
        0.0,
        "where to begin, in seconds or [HOURS:]MINUTES:SECONDS",
        metavar="TIME",
        parse=time,
        group="video",
    )
    end: float | None = option(
        None, "where to end, likewise", metavar="TIME", parse=time
    )
    size: int | None = option(
        None, "shrink frames whose longer side is longer than this", metavar="PIXELS"
    )
    fps: float | None = option(
        None,
        "frames per second of a folder of frames (default: 25)",
        metavar="N",
        parse=rate,
    )
    crf: int | None = option(
        None,
        "constant quality of the codec: less is better and larger (default: 18 for "
        "H.264, 28 for VP9)",
        parse=nonnegative_int,
    )
    strength: float = option(
        1.0,
        "0 is the video, 1 the full style, as in jaxstyle stylize",
        metavar="S",
        parse=fraction,
        group="picture",
    )
    stroke_size: float = option(
        1.0,
        "how large strokes are: 2 is twice as large, 0.5 half as large. At 1, frames "
        "of more than 1024 pixels are painted at 1024 and brought back to their size "
        "with their fine detail; 0 paints them at full size",
        metavar="S",
        parse=nonnegative_float,
    )
    style_size: int = option(
        512,
        "shrink images of paintings whose longer side is longer than this",
        metavar="PIXELS",
    )
    preserve_color: bool = option(
        False, "keep the video's colors: only its brightness is stylized"
    )
    blend: float | None = option(
        None,
        "the share of the frame before, moved along by optical flow, in a frame: more "
        "is steadier and softer, 0 needs no flow and no OpenCV (default: 0.5 for nets, "
        "0.7 for paintings)",
        metavar="S",
        parse=fraction,
    )
    passes: int = setting(1, "how often a frame is painted")
    devices: int | None = option(
        None, "use N devices, which share the frames (default: one)", group="run"
    )
    tile: int | None = option(
        None, "compute larger frames in tiles of that side", metavar="PIXELS"
    )
    quiet: bool = option(False, "show no progress")
