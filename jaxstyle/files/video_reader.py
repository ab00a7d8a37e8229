"""Video files to frames, one after the other, by PyAV.

Pixels are upright RGB in the curve of the video, by its own matrix and range. Frames
keep their time stamps, from the start of the file on, so that a variable frame rate
stays what it is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8

from jaxstyle.files.atomic import explained
from jaxstyle.files.regular_files import check_regular

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer

Pixels: TypeAlias = UInt8[np.ndarray, "h w 3"]

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts"),
    *("mpeg", "flv", "gif", "ogg", "nut", "asf"),
)
"""The formats that are read. Others of FFmpeg's are lists that name further files."""

COPIED = ("audio", "subtitle")
"""The kinds of streams that are copied as they are."""

TECHNICAL = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""The tags that are of the file, not of the film."""

HD = 720
"""From this height on, colors are those of BT.709 unless the video tells others."""

_BT709, _BT601, _LIMITED, _FULL = 1, 6, 1, 2
_PQ, _HLG = 16, 18

# H.273's numbers of matrices -> those of FFmpeg's scaler.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


class Frame(NamedTuple):
    """A frame, from when on it is shown, and for how long, in seconds."""

    pixels: Pixels
    start: Fraction
    duration: Fraction


class Colors(NamedTuple):
    """How colors are written, by the numbers of ITU-T H.273; the range by FFmpeg's."""

    matrix: int = _BT709
    primaries: int = _BT709
    curve: int = 13  # that of sRGB
    range: int = _LIMITED

    @property
    def conversion(self) -> tuple[int, int]:
        """The matrix and the range, by the numbers of FFmpeg's scaler."""
        return _MATRICES.get(self.matrix, 5), self.range

    @property
    def is_hdr(self) -> bool:
        """Whether the curve is one of high dynamic range."""
        return self.curve in (_PQ, _HLG)


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """A video, or what of it is shown from ``start`` until ``end``, in seconds.

    Attributes:
        path: the file.
        size: height and width of an upright frame.
        colors: how they are written.
        time_base: the unit of time stamps, in seconds.
        rate: frames per second, on average.
        pixel_aspect: the width of an upright pixel, in its heights.
        origin: the time stamp of the start, in seconds.
        length: the duration that the file tells, in seconds; ``None`` if unknown.
        copied: the kind and the codec of each stream of sound or subtitles, and empty
            names for others.
        tags: what the file tells about itself, such as a title.
        damage: what is found to be wrong while frames are read, by its description.
    """

    path: Path
    size: tuple[int, int]
    colors: Colors
    time_base: Fraction
    rate: Fraction
    pixel_aspect: Fraction
    origin: Fraction
    length: Fraction | None
    copied: tuple[tuple[str, str], ...]
    tags: Mapping[str, str]
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    damage: dict[str, None] = field(default_factory=dict)

    @property
    def count(self) -> int | None:
        """About how many frames there are; ``None`` if unknown."""
        ends = [end for end in (self.length, self.end) if end is not None]
        if not ends:
            return None
        return max(1, round((min(ends) - self.start) * self.rate))

    def read(self) -> Iterator[Frame]:
        """Yield the frames; what cannot be read is left out, and noted as damage."""
        start, end = None, Fraction(0)
        with open_container(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            seek(container, self.origin + self.start)
            for frame in self._decode(container.demux(stream)):
                unit = frame.time_base or self.time_base
                time = end if frame.pts is None else frame.pts * unit - self.origin
                if start is not None:  # stamps may go backwards
                    time = max(time, start + self.time_base)
                length = frame.duration * unit if frame.duration else 1 / self.rate
                if self.length is not None and time < self.length:
                    length = min(length, self.length - time)  # the last may be cut
                start, end = time, time + length
                if self.end is not None and start >= self.end:
                    return
                if start >= self.start:
                    yield Frame(self._convert(frame), start - self.start, length)
        if self.end is None and self.length is not None:
            self._check_end(end, self.length)

    def _check_end(self, end: Fraction, known: Fraction) -> None:
        """Note if frames end more than two frames, and a moment, before the video."""
        if end < known - 2 / self.rate - Fraction(1, 10):
            self._note(f"it ends after {float(end):.1f} of {float(known):.1f} s")

    def packets(self, index: int) -> "Iterator[Packet]":
        """Yield the packets of a stream that is copied, until the file cannot be read.

        Only those that begin between the start and the end; time stamps count from
        the start.
        """
        import av

        with open_container(self.path) as container:
            stream = container.streams[index]
            seek(container, self.origin + self.start)
            try:
                for packet in container.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue  # what flushes decoders
                    time = packet.pts * packet.time_base - self.origin
                    early = self.start and time < self.start
                    if early or (self.end is not None and time >= self.end):
                        continue
                    ticks = round((self.origin + self.start) / packet.time_base)
                    packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                    yield packet
            except av.FFmpegError:
                return

    def _decode(self, packets: "Iterator[Packet]") -> "Iterator[VideoFrame]":
        import av

        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._note(f"it cannot be read to its end: {error.strerror}")
                return
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                self._note(f"frames cannot be decoded: {error.strerror}")

    def _note(self, damage: str) -> None:
        self.damage[damage] = None

    def _convert(self, frame: "VideoFrame") -> Pixels:
        return turn(to_rgb(frame, self.colors), frame.rotation, self.size)


def open_video(
    path: Path, *, start: Fraction = Fraction(0), end: Fraction | None = None
) -> VideoFile:
    """Open a video, and look at its first frame.

    A ValueError says if there is none, or if the file is no video.
    """
    if not path.exists():
        raise ValueError(f"no such video: {path}")
    with explained(f"cannot read the video {path}", describe=_describe):
        check_regular(path)
        with open_container(path) as container:
            if not container.streams.video:
                raise ValueError("there is sound, but no picture in it")
            stream = container.streams.video[0]
            first = _first_frame(container)
            origin = Fraction(max(0, container.start_time or 0), 1_000_000)
            length = _length(container, origin)
            if length is not None and start >= length:
                raise ValueError(
                    f"it is {float(length):g} s long, and --start is {float(start):g}"
                )
            height, width = first.height, first.width
            aspect = stream.sample_aspect_ratio or Fraction(1)
            if first.rotation % 180:
                height, width, aspect = width, height, 1 / aspect
            return VideoFile(
                path=path,
                size=(height, width),
                colors=_colors(first),
                time_base=stream.time_base or Fraction(1, 90_000),
                rate=stream.average_rate or stream.guessed_rate or Fraction(25),
                pixel_aspect=aspect,
                origin=origin,
                length=length,
                copied=tuple(
                    (each.type, each.codec_context.name)
                    if each.type in COPIED and each.codec_context
                    else ("", "")
                    for each in container.streams
                ),
                tags={
                    name: text
                    for name, text in container.metadata.items()
                    if name.lower() not in TECHNICAL
                },
                start=start,
                end=end,
            )


@contextmanager
def open_container(path: Path) -> "Iterator[InputContainer]":
    """Open a file of one of the `FORMATS`, which reads no other file."""
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
    with av.open(str(path.absolute()), options=options) as container:
        yield container


def seek(container: "InputContainer", time: Fraction) -> None:
    """Go to a frame before a time, from which on all can be decoded."""
    if time > 0:
        container.seek(int(time * 1_000_000), backward=True)


def _describe(error: BaseException) -> str:
    """Describe an error; FFmpeg's repeat the path."""
    reason = getattr(error, "strerror", None) or str(error)
    if "Invalid data" in reason:
        return "it is no video, or its beginning is damaged"
    return " ".join(reason.split())


def _first_frame(container: "InputContainer") -> "VideoFrame":
    import av

    for packet in container.demux(container.streams.video[0]):
        try:
            frames: list[Any] = packet.decode()
        except av.FFmpegError:
            continue
        if frames:
            return frames[0]
    raise ValueError("no frame of it can be decoded")


def _length(container: "InputContainer", origin: Fraction) -> Fraction | None:
    """Look up when the last frame ends, from the start of the file on."""
    stream = container.streams.video[0]
    if stream.duration is not None and stream.time_base is not None:
        first = stream.start_time or 0
        return (first + stream.duration) * stream.time_base - origin
    if tag := stream.metadata.get("DURATION"):  # Matroska's
        hours, minutes, seconds = tag.split(":")
        return Fraction(seconds) + 60 * (Fraction(minutes) + 60 * Fraction(hours))
    return None


# --- pixels -------------------------------------------------------------------------


def _colors(frame: "VideoFrame") -> Colors:
    """Read off how the colors of a frame are written, or what is usual."""
    if frame.format.is_rgb or frame.format.name.startswith("pal"):
        return Colors()
    usual = _BT709 if frame.height >= HD else _BT601
    matrix = frame.colorspace if frame.colorspace in _MATRICES else usual
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    return Colors(
        matrix, frame.color_primaries, frame.color_trc, _FULL if full else _LIMITED
    )


def to_rgb(frame: "VideoFrame", colors: Colors) -> Pixels:
    """Convert the pixels of a frame to 8-bit RGB, as it lies in the file."""
    matrix, color_range = colors.conversion
    converted = frame.reformat(
        format="rgb24", src_colorspace=matrix, src_color_range=color_range
    )
    return converted.to_ndarray()


def turn(pixels: Pixels, degrees: int, size: tuple[int, int]) -> Pixels:
    """Turn a frame upright, counterclockwise, and to the size of the first one."""
    turned = np.rot90(pixels, round(degrees / 90))
    if turned.shape[:2] != size:  # a video may change its size
        from PIL import Image

        height, width = size
        picture = Image.fromarray(np.ascontiguousarray(turned))
        turned = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(turned)
