"""Films on disk: animated GIF and WebP by Pillow, MP4 by PyAV."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.image_files import check_output_path, explained, to_8_bit

if TYPE_CHECKING:
    from PIL.Image import Image

HOLD = 2
"""How long the last frame stays before a film begins again or ends, in seconds."""

FASTEST = 50
"""The most frames per second; browsers slow a GIF of more down to 10."""

# The numbers that H.264 has for BT.709, for sRGB's curve, and for 16..235.
_BT709, _SRGB, _LIMITED = 1, 13, 1


class _FrameError(BaseException):
    """An error in making a frame, which is none in writing the film.

    Not an `Exception`, so that nothing on the way out takes it for one of its own.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error


def save_film(
    frames: Iterable[ArrayLike],
    path: str | Path,
    *,
    size: tuple[int, int],
    frames_per_second: int = 20,
) -> None:
    """Write images as a film, wholly or not at all.

    Frames are taken one by one, as they are made. An MP4 keeps none of them in memory,
    a GIF one byte for each pixel of all, and a WebP three. Films repeat for ever, where
    the format can say so, and the last frame stays for `HOLD` seconds.

    Args:
        frames: floating-point RGB, ``[h, w, 3]``, of any sizes; values are clipped to
            [0, 1] and rounded.
        path: the suffix chooses the format.
        size: height and width, in pixels, to which all frames are resized. MP4 needs
            even numbers: an odd one grows by one, and the last row or column is there
            twice.
        frames_per_second: from 1 to `FASTEST`.

    Raises:
        TypeError: pixels are not floating-point.
        ValueError: there is no frame, a shape is wrong, a pixel is NaN or infinite, the
            speed or the size is out of range, or writing failed.
    """
    path = Path(path)
    _check_numbers(size, frames_per_second)
    check_film_path(path)
    pictures = _pictures(frames, size)
    write = partial(_WRITERS[path.suffix.lower()], rate=frames_per_second)
    try:
        with explained("write", path, kind="film"), atomic_path(path) as temporary:
            write(pictures, temporary)
        return
    except _FrameError as stopped:
        error = stopped.error
    raise error  # here, so that it keeps its own cause and context


def check_film_path(path: str | Path) -> None:
    """Raise, before any long work, unless a film can be written to ``path``.

    Raises:
        ValueError: the suffix is unknown or its encoder missing, the folder is missing
            or write-protected, or ``path`` is a folder or a write-protected file.
    """
    path = Path(path)
    check_output_path(path, kind="film", suffixes=_WRITERS.keys())
    with explained("write", path, kind="film"):
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


def _check_numbers(size: tuple[int, int], frames_per_second: int) -> None:
    if not 1 <= frames_per_second <= FASTEST:
        raise ValueError(
            f"a film has from 1 to {FASTEST} frames per second, got {frames_per_second}"
        )
    if min(size) < 1:
        raise ValueError(f"a film's height and width must be at least 1, got {size}")


def _pictures(frames: Iterable[ArrayLike], size: tuple[int, int]) -> "Iterator[Image]":
    """Yield frames as Pillow's images of one size, and at least one."""
    from PIL import Image

    height, width = size
    count = 0
    try:
        for frame in frames:
            picture = Image.fromarray(to_8_bit(frame))
            yield picture.resize((width, height), Image.Resampling.LANCZOS)
            count += 1
        if count == 0:
            raise ValueError("a film needs at least one frame, got none")
    except Exception as error:
        raise _FrameError(error) from error


def _write_gif(pictures: "Iterator[Image]", path: Path, *, rate: int) -> None:
    # Each frame has a palette of its own. Dithering would flicker, and grow the file.
    _write_by_pillow([picture.quantize(256) for picture in pictures], path, rate, "GIF")


def _write_webp(pictures: "Iterator[Image]", path: Path, *, rate: int) -> None:
    _write_by_pillow(list(pictures), path, rate, "WEBP", quality=90, method=4)


def _write_by_pillow(
    pictures: "list[Image]", path: Path, rate: int, format: str, **options: Any
) -> None:
    first, *others = pictures
    # In milliseconds. Pillow joins equal frames, and adds these up.
    durations = [round(1000 / rate)] * len(others) + [1000 * HOLD]
    first.save(
        path,
        format=format,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        **options,
    )


def _write_mp4(pictures: "Iterator[Image]", path: Path, *, rate: int) -> None:
    import av

    first = next(pictures)
    # The index goes first, so that browsers start before all is there.
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.width, stream.height = (side + side % 2 for side in first.size)
        stream.pix_fmt = "yuv420p"
        stream.colorspace = stream.color_primaries = _BT709
        stream.color_trc, stream.color_range = _SRGB, _LIMITED
        for picture in _held(chain([first], pictures), rate * HOLD):
            container.mux(stream.encode(_frame(picture)))
        container.mux(stream.encode())


def _held(pictures: "Iterable[Image]", count: int) -> "Iterator[Image]":
    """Yield pictures, the last of them ``count`` times."""
    for picture in pictures:
        yield picture
    for _ in range(count - 1):
        yield picture


def _frame(picture: "Image") -> Any:
    """Return a frame of even sides; odd ones get their last row or column twice."""
    import av

    sides = ((0, picture.height % 2), (0, picture.width % 2), (0, 0))
    pixels = np.pad(np.asarray(picture), sides, mode="edge")
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
    )


# Suffix -> what writes the format: the one table of films.
_WRITERS: dict[str, Callable[..., None]] = {
    ".gif": _write_gif,
    ".mp4": _write_mp4,
    ".webp": _write_webp,
}
