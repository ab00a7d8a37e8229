"""Films on disk: animated GIF and WebP by Pillow, MP4 by PyAV."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.image_files import to_8_bit

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

HOLD = 2
"""The duration of the last frame, in seconds."""

FASTEST = 50
"""The most frames per second; browsers slow a GIF of more down to 10."""

# The numbers that H.264 has for BT.709, for sRGB's curve, and for 16..235.
_BT709, _SRGB, _LIMITED = 1, 13, 1


Add: TypeAlias = "Callable[[Image], None]"
"""Add a picture to a film that is being written."""


def save_film(
    frames: Iterable[ArrayLike],
    path: str | Path,
    *,
    size: tuple[int, int],
    frames_per_second: int = 20,
) -> None:
    """Write images as a film to a new or replaced file.

    Frames are taken one by one. MP4 keeps none of them in memory, GIF one byte per
    pixel of all frames, WebP three. GIF and WebP repeat forever, and the last frame
    stays for `HOLD` seconds.

    Args:
        frames: floating-point RGB, ``[h, w, 3]``, of any sizes; values are clipped to
            [0, 1] and rounded.
        path: its suffix chooses the format: ``.gif``, ``.webp`` or ``.mp4``.
        size: the height and width, in pixels, of all frames. MP4 repeats the last row
            or column of an odd size.
        frames_per_second: from 1 to `FASTEST`.
    """
    path = Path(path)
    if not 1 <= frames_per_second <= FASTEST:
        raise ValueError(
            f"a film has from 1 to {FASTEST} frames per second, got {frames_per_second}"
        )
    if min(size) < 1:
        raise ValueError(f"a film's height and width must be at least 1, got {size}")
    check_film_path(path)
    writing = partial(explained, f"cannot write the film {path}")
    with ExitStack() as stack:
        with writing():
            temporary = stack.enter_context(atomic_path(path))
            open_film = _WRITERS[path.suffix.lower()]
            add = stack.enter_context(open_film(temporary, size, frames_per_second))
        for picture in _pictures(frames, size):
            with writing():
                add(picture)
        with writing():
            stack.close()


def check_film_path(path: str | Path) -> None:
    """Raise, before any long work, unless a film can be written to ``path``."""
    path = Path(path)
    check_output_path(path, kind="film", suffixes=_WRITERS.keys())
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


def _pictures(frames: Iterable[ArrayLike], size: tuple[int, int]) -> "Iterator[Image]":
    """Convert frames to Pillow's images of one size."""
    from PIL import Image

    height, width = size
    picture = None
    for frame in frames:
        picture = Image.fromarray(to_8_bit(frame))
        yield picture.resize((width, height), Image.Resampling.LANCZOS)
    if picture is None:
        raise ValueError("a film needs at least one frame, got none")


# --- formats ------------------------------------------------------------------------


@contextmanager
def _open_gif(path: Path, size: tuple[int, int], rate: int) -> Iterator[Add]:
    pictures: list[Image] = []
    # Each frame has a palette of its own. Dithering would flicker, and grow the file.
    yield lambda picture: pictures.append(picture.quantize(256))
    _write_by_pillow(pictures, path, rate, "GIF")


@contextmanager
def _open_webp(path: Path, size: tuple[int, int], rate: int) -> Iterator[Add]:
    pictures: list[Image] = []
    yield pictures.append
    _write_by_pillow(pictures, path, rate, "WEBP", quality=90, method=4)


def _write_by_pillow(
    pictures: "list[Image]", path: Path, rate: int, format: str, **options: int
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


@contextmanager
def _open_mp4(path: Path, size: tuple[int, int], rate: int) -> Iterator[Add]:
    import av

    # The index goes first, so that browsers can start early.
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18"})
        stream.height, stream.width = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.colorspace = stream.color_primaries = _BT709
        stream.color_trc, stream.color_range = _SRGB, _LIMITED
        last: list[Image] = []

        def add(picture: "Image") -> None:
            last[:] = [picture]
            container.mux(stream.encode(_video_frame(picture)))

        yield add
        for _ in range(rate * HOLD - 1):
            add(*last)
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
_WRITERS: dict[
    str, Callable[[Path, tuple[int, int], int], AbstractContextManager[Add]]
] = {".gif": _open_gif, ".mp4": _open_mp4, ".webp": _open_webp}
