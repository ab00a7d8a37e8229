"""Films on disk: animated GIF and WebP by Pillow, MP4 by PyAV."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jax.typing import ArrayLike

from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.image_files import to_8_bit
from jaxstyle.files.video_reader import Frame
from jaxstyle.files.video_writer import create_container

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

HOLD = 2
"""The duration of the last frame, in seconds."""

FASTEST = 50
"""The most frames per second; browsers slow a GIF of more down to 10."""

# The numbers that H.264 has for BT.709, for sRGB's curve, and for 16..235.
_BT709, _SRGB, _LIMITED = 1, 13, 1


def save_film(
    frames: Iterable[ArrayLike],
    path: str | Path,
    *,
    size: tuple[int, int],
    frames_per_second: int = 20,
) -> None:
    """Write images as a film to a new or replaced file.

    The suffix chooses the format: ``.gif``, ``.webp`` or ``.mp4``. Frames,
    ``[h, w, 3]``, are clipped to [0, 1] and resized to one height and width in pixels;
    MP4 repeats the last row or column of an odd size. They are taken one by one: MP4
    keeps none in memory, GIF one byte per pixel of all frames, WebP three. GIF and WebP
    repeat forever, and the last frame stays for `HOLD` seconds.
    """
    path = Path(path)
    if not 1 <= frames_per_second <= FASTEST:
        raise ValueError(
            f"a film has from 1 to {FASTEST} frames per second, got {frames_per_second}"
        )
    if min(size) < 1:
        raise ValueError(f"a film's height and width must be at least 1, got {size}")
    check_film_path(path)
    raised: list[Exception] = []
    write = _WRITERS[path.suffix.lower()]
    try:
        with explained(f"cannot write the film {path}"), atomic_path(path) as temporary:
            write(_pictures(frames, size, raised), temporary, size, frames_per_second)
    except ValueError:
        if raised:  # what frames raise comes through
            raise raised[0]  # noqa: B904
        raise


def save_gif(frames: "Iterable[Frame]", path: Path) -> None:
    """Write frames, each with its own duration, as a GIF that repeats forever.

    It keeps one byte per pixel of all frames in memory.
    """
    from PIL import Image

    reduced: list[Image.Image] = []
    ends = [0]  # in hundredths of a second, which is what a GIF can tell
    for frame in frames:
        reduced.append(Image.fromarray(frame.pixels).quantize(256))
        ends.append(max(round(100 * (frame.start + frame.duration)), ends[-1] + 2))
    durations = [10 * (after - before) for before, after in pairwise(ends)]
    with explained(f"cannot write the film {path}"), atomic_path(path) as temporary:
        _write_by_pillow(reduced, temporary, durations, "GIF")


def check_film_path(path: str | Path) -> None:
    """Raise, before any long work, unless a film can be written to ``path``."""
    path = Path(path)
    check_output_path(path, kind="film", suffixes=_WRITERS.keys())
    if path.suffix.lower() == ".mp4":
        import av  # noqa: F401  (whose lack is no lack of an encoder)
    with explained(f"cannot write the film {path}"):
        _check_encoder(path.suffix.lower())


def _check_encoder(suffix: str) -> None:
    if suffix == ".mp4":
        import av

        if "libx264" not in av.codecs_available:
            raise ValueError("this PyAV has no libx264; use .gif, or PyAV from PyPI")
    if suffix == ".webp":
        from PIL import features

        if not features.check("webp"):
            raise ValueError("this Pillow has no WebP; use .gif, or Pillow from PyPI")


def _pictures(
    frames: Iterable[ArrayLike], size: tuple[int, int], raised: list[Exception]
) -> "Iterator[Image]":
    """Convert frames to Pillow's images of one size; note what is raised meanwhile."""
    from PIL import Image

    height, width = size
    picture = None
    try:
        for frame in frames:
            picture = Image.fromarray(to_8_bit(frame))
            yield picture.resize((width, height), Image.Resampling.LANCZOS)
        if picture is None:
            raise ValueError("a film needs at least one frame, got none")
    except Exception as error:
        raised.append(error)
        raise


# --- formats ------------------------------------------------------------------------


def _write_gif(
    pictures: "Iterator[Image]", path: Path, size: tuple[int, int], rate: int
) -> None:
    # Each frame has a palette of its own. Dithering would flicker, and grow the file.
    reduced = [picture.quantize(256) for picture in pictures]
    _write_by_pillow(reduced, path, _durations(reduced, rate), "GIF")


def _write_webp(
    pictures: "Iterator[Image]", path: Path, size: tuple[int, int], rate: int
) -> None:
    frames = list(pictures)
    durations = _durations(frames, rate)
    _write_by_pillow(frames, path, durations, "WEBP", quality=90, method=4)


def _durations(pictures: "list[Image]", rate: int) -> list[int]:
    """List the durations of frames, in milliseconds."""
    return [round(1000 / rate)] * (len(pictures) - 1) + [1000 * HOLD]


def _write_by_pillow(
    pictures: "list[Image]",
    path: Path,
    durations: list[int],
    format: str,
    **options: int,
) -> None:
    first, *others = pictures
    first.save(  # Pillow joins equal frames, and adds up their durations.
        path,
        format=format,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        **options,
    )


def _write_mp4(
    pictures: "Iterator[Image]", path: Path, size: tuple[int, int], rate: int
) -> None:
    # The index goes first, so that browsers can start early.
    options = {"movflags": "+faststart"}
    with create_container(path, "mp4", options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.height, stream.width = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.colorspace = stream.color_primaries = _BT709
        stream.color_trc, stream.color_range = _SRGB, _LIMITED
        for picture in pictures:
            container.mux(stream.encode(_video_frame(picture)))
        for _ in range(rate * HOLD - 1):
            container.mux(stream.encode(_video_frame(picture)))
        container.mux(stream.encode())


def _video_frame(picture: "Image") -> "VideoFrame":
    """Make a frame of even sides, repeating the last row or column of odd ones."""
    import av

    sides = ((0, picture.height % 2), (0, picture.width % 2), (0, 0))
    pixels = np.pad(np.asarray(picture), sides, mode="edge")
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
    )


# Suffix -> a writer of the format.
_WRITERS = {".gif": _write_gif, ".mp4": _write_mp4, ".webp": _write_webp}
