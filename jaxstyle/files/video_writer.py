"""Frames to video files: segments, and the video that they are joined to.

Each segment is encoded by itself, without frames that refer to later ones, so that
packets come in the order of frames and segments can follow each other. A video appears
whole or not at all, with the sound and the subtitles of another one.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from heapq import merge
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxstyle.files.atomic import atomic_path, explained
from jaxstyle.files.video_reader import (
    Colors,
    Frame,
    VideoFile,
    open_container,
    to_rgb,
)

if TYPE_CHECKING:
    from av import Packet, VideoFrame

FORMATS: Mapping[str, tuple[str, str]] = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
"""The suffixes of videos, each with its format and codec."""

LOSSLESS = "ffv1"
"""The codec of segments that become single frames or a GIF."""

CRF: Mapping[str, int] = {"libx264": 18, "libvpx-vp9": 28}
"""The constant quality of codecs by default; less is better, and larger."""

SEGMENT = ".nut"
"""The suffix of segments; the format keeps any time stamps."""

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"bf": "0", "preset": "medium"},
    "libvpx-vp9": {"b": "0", "row-mt": "1", "cpu-used": "4", "auto-alt-ref": "0"},
    "ffv1": {"level": "3"},
}
"""The options of codecs, besides the quality."""


class Encoding(NamedTuple):
    """How the frames of a video are encoded.

    Attributes:
        codec: one of `FORMATS`, or `LOSSLESS`.
        colors: how they are written.
        time_base: the unit of time stamps, in seconds.
        rate: frames per second, on average.
        pixel_aspect: the width of a pixel, in its heights.
        crf: the constant quality; the codec's by default.
    """

    codec: str
    colors: Colors
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction = Fraction(1)
    crf: int | None = None


def write_segment(frames: Iterable[Frame], path: Path, how: Encoding) -> None:
    """Encode frames of one size to a new file; what frames raise comes through."""
    with (
        atomic_path(path) as temporary,
        create_container(temporary, "nut") as container,
    ):
        stream: Any = None
        for frame in frames:
            encoded = _encode(frame, how)
            if stream is None:
                stream = _add_stream(container, encoded, how)
            container.mux(stream.encode(encoded))
        container.mux(stream.encode())


def create_container(
    path: Path, format: str, options: Mapping[str, str] | None = None
) -> Any:
    """Open a new file of a format of FFmpeg's.

    Its path is absolute, since FFmpeg takes what is before a colon for a protocol.
    """
    import av

    name = str(path.absolute())
    return av.open(name, "w", format=format, options=dict(options or {}))


def _add_stream(container: Any, frame: "VideoFrame", how: Encoding) -> Any:
    from av.codec.context import Flags

    options = dict(OPTIONS[how.codec])
    if how.codec in CRF:
        options["crf"] = str(CRF[how.codec] if how.crf is None else how.crf)
    stream = container.add_stream(how.codec, rate=how.rate, options=options)
    stream.height, stream.width = frame.height, frame.width
    stream.pix_fmt = frame.format.name
    context = stream.codec_context
    stream.time_base = context.time_base = how.time_base
    context.flags |= Flags.global_header
    context.sample_aspect_ratio = how.pixel_aspect
    if how.codec != LOSSLESS:
        context.colorspace, context.color_range = how.colors.matrix, how.colors.range
        context.color_primaries = how.colors.primaries
        context.color_trc = how.colors.curve
    return stream


def _encode(frame: Frame, how: Encoding) -> "VideoFrame":
    """Convert the colors of a frame, with an even size where the layout needs it."""
    import av

    height, width, _ = frame.pixels.shape
    odd = (0, 0) if how.codec == LOSSLESS else (height % 2, width % 2)
    pixels = np.pad(frame.pixels, (*((0, side) for side in odd), (0, 0)), "edge")
    encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    if how.codec == LOSSLESS:
        encoded = encoded.reformat(format="bgr0")
    else:
        matrix, color_range = how.colors.conversion
        encoded = encoded.reformat(
            format="yuv420p", dst_colorspace=matrix, dst_color_range=color_range
        )
        encoded.colorspace, encoded.color_range = how.colors.matrix, how.colors.range
    encoded.pts, encoded.time_base = round(frame.start / how.time_base), how.time_base
    return encoded


def read_segments(segments: Sequence[Path], *, end: Fraction) -> Iterator[Frame]:
    """Yield the frames of `LOSSLESS` segments, the last one until the end."""
    waiting: Frame | None = None
    frame: Any
    for path in segments:
        with open_container(path) as container:
            for frame in container.decode(video=0):
                start = frame.pts * frame.time_base
                if waiting is not None:
                    yield waiting._replace(duration=start - waiting.start)
                waiting = Frame(to_rgb(frame, Colors()), start, Fraction(0))
    if waiting is not None:
        yield waiting._replace(duration=end - waiting.start)


# --- the whole ----------------------------------------------------------------------


def left_out(source: VideoFile, suffix: str) -> list[tuple[str, str]]:
    """List the kinds and codecs of streams that videos of a suffix cannot hold."""
    import av

    with av.open(io.BytesIO(), "w", format=FORMATS[suffix][0]) as container:
        held = container.supported_codecs
    return [each for each in source.copied if each[0] and each[1] not in held]


def join_segments(
    segments: Sequence[Path],
    path: Path,
    *,
    end: Fraction,
    source: VideoFile | None,
    metadata: Mapping[str, str],
) -> None:
    """Join segments to a new or replaced video, without encoding anything again.

    The last frame is shown until the end. With a source, its sound and its subtitles
    are copied, as far as the format can hold them.
    """
    with explained(f"cannot write the video {path}"), atomic_path(path) as temporary:
        name, _ = FORMATS[path.suffix.lower()]
        # The index goes first, so that players can start early.
        options = {"movflags": "+faststart"} if name in ("mp4", "mov") else {}
        with ExitStack() as opened:
            container = opened.enter_context(create_container(temporary, name, options))
            container.metadata.update(metadata)
            first = opened.enter_context(open_container(segments[0]))
            streams = [(_copy(container, first.streams.video[0]), _join(segments, end))]
            if source is not None:
                inside = opened.enter_context(open_container(source.path))
                lost = left_out(source, path.suffix.lower())
                for stream, each in zip(inside.streams, source.copied, strict=True):
                    if each[0] and each not in lost:
                        packets = source.packets(stream.index)
                        streams.append((_copy(container, stream), packets))
            for _, _, stream, packet in merge(*starmap(_timed, streams)):
                packet.stream = stream
                container.mux(packet)


def _copy(container: Any, template: Any) -> Any:
    """Add a stream to a container like that of another one."""
    stream = container.add_stream_from_template(template)
    stream.time_base = template.time_base
    stream.metadata.update(template.metadata)
    return stream


def _join(segments: Sequence[Path], end: Fraction) -> "Iterator[Packet]":
    """Yield the packets of segments, each with the duration until the next one."""
    waiting: Any = None
    for path in segments:
        with open_container(path) as container:
            for packet in container.demux(video=0):
                if packet.dts is None:
                    continue
                if waiting is not None:
                    waiting.duration = packet.pts - waiting.pts
                    yield waiting
                waiting = packet
    if waiting is not None:
        waiting.duration = round(end / waiting.time_base) - waiting.pts
        yield waiting


def _timed(
    stream: Any, packets: "Iterable[Packet]"
) -> "Iterator[tuple[Fraction, int, Any, Packet]]":
    """Yield packets with their time stamps and their streams."""
    for packet in packets:
        yield packet.dts * packet.time_base, stream.index, stream, packet
