"""Tiny clips, and a style for them that compiles in no time."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from command_line import contents, run

from jaxstyle import save_style
from jaxstyle.files.video_reader import VideoFile, open_video
from jaxstyle.images.arrays import Images
from jaxstyle.nets import NETWORKS, Network

HEIGHT, WIDTH = 48, 64

COLORS = [(200, 60, 40), (30, 120, 60), (90, 70, 220)]

STYLES = b"""[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16
[Events]
Format: Layer, Start, End, Style, Text
"""
"""What FFmpeg wants to know of subtitles before it writes any."""

MILLISECONDS = Fraction(1, 1000)


def balance(params: Any, images: Images) -> Images:
    """Move the mean color to gray: that of the image, or one that is held."""
    mean = params.get("mean", images.mean((-3, -2), keepdims=True))
    return images - mean + params["gray"]


def hold_mean(params: Any, images: Images) -> Any:
    return {**params, "mean": jnp.mean(images, (0, 1, 2))}


BALANCE = Network(apply=balance, hold=hold_mean)

GRAY = {"gray": np.full(3, 0.5, np.float32)}


PLAIN = ("--style", "balance.safetensors", "--quiet", "--blend", "0")


def make_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder, with a style and a clip of three shots in it."""
    monkeypatch.chdir(folder)
    monkeypatch.setitem(NETWORKS, "balance", BALANCE)
    save_style(GRAY, "balance.safetensors", metadata={"net": "balance"})
    write_clip("clip.mkv", film())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of a run that must write nothing."""
    before = contents(Path())
    assert run(["video", *arguments]) == 2
    assert contents(Path()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle video: error: ")
    return line.removeprefix("jaxstyle video: error: ")


def film() -> list[np.ndarray]:
    """Return the frames of three shots."""
    return [frame for color in COLORS for frame in shot(color, 9)]


def shot(color: Sequence[int], count: int, *, size: int = 12) -> list[np.ndarray]:
    """Return frames of a color over which a white square moves to the right."""
    frames = []
    for index in range(count):
        frame = np.full((HEIGHT, WIDTH, 3), color, np.uint8)
        frame[20 : 20 + size, 4 + index : 4 + index + size] = 255
        frames.append(frame)
    return frames


def write_clip(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    codec: str = "ffv1",
    layout: str = "bgr0",
    sound: str | None = None,
    subtitles: str | None = None,
    rotation: int = 0,
    conversion: tuple[int, int] | None = None,
    curve: int | None = None,
) -> None:
    """Write a clip, with time stamps in milliseconds; every 40 by default.

    The conversion of colors is by a matrix and a range, in the scaler's numbers; the
    curve has H.273's.
    """
    import av

    matrix, color_range = conversion or (None, None)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.time_base = video.codec_context.time_base = MILLISECONDS
        tone = container.add_stream(sound, rate=44100) if sound else None
        text = container.add_stream(subtitles) if subtitles else None
        if text is not None:
            text.time_base = MILLISECONDS
            text.codec_context.subtitle_header = STYLES
        if rotation:
            video.set_display_rotation(rotation)
        shown = 0
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(
                format=layout,
                dst_colorspace=matrix,
                dst_color_range=color_range,
            )
            if index == 0:
                video.height, video.width = pixels.shape[:2]
                context, video.pix_fmt = video.codec_context, layout
                context.colorspace = frame.colorspace
                context.color_range = frame.color_range
                context.color_trc = curve or context.color_trc
            frame.pts, frame.time_base = times[index] if times else shown, MILLISECONDS
            shown = frame.pts + 40
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if tone is not None:
            for first in range(0, 44100 * shown // 1000, 1024):
                wave = np.sin(np.arange(first, first + 1024, dtype=np.float32) / 20)
                part = av.AudioFrame.from_ndarray(
                    wave[None], format="fltp", layout="mono"
                )
                part.sample_rate, part.pts = 44100, first
                container.mux(tone.encode(part))
            container.mux(tone.encode())
        if text is not None:
            for start, line in ((100, b"Hello"), (600, b"Good bye")):
                length = (
                    len(line).to_bytes(2, "big") if subtitles == "mov_text" else b""
                )
                packet = av.Packet(length + line)
                packet.pts = packet.dts = start
                packet.duration, packet.time_base = 300, MILLISECONDS
                packet.stream = text
                container.mux(packet)


def packets(path: str | Path, kind: str = "audio") -> list[tuple[bytes, int | None]]:
    """Return the packets of the sound or the subtitles, with their time stamps."""
    import av

    with av.open(str(path)) as container:
        return [
            (bytes(packet), packet.pts)
            for packet in container.demux(**{kind: 0})
            if packet.dts is not None
        ]


def read(path: str | Path, **options: Any) -> tuple[VideoFile, list[Any]]:
    """Return a video and its frames."""
    video = open_video(Path(path), **options)
    return video, list(video.read())


def times(frames: Iterable[Any]) -> list[float]:
    """Return when frames are shown, in milliseconds, and when the last one ends."""
    stamps = [(frame.start, frame.start + frame.duration) for frame in frames]
    return [round(1000 * float(x)) for x in (*(s for s, _ in stamps), stamps[-1][1])]
