"""Video files: what frames they hold, when these are shown, and what is refused."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from image_samples import smooth
from video_samples import (
    HEIGHT,
    MILLISECONDS,
    WIDTH,
    packets,
    read,
    shot,
    times,
    write_clip,
)

from jaxstyle.files.video_reader import Colors, Frame, open_video
from jaxstyle.files.video_writer import (
    LOSSLESS,
    Encoding,
    join_segments,
    left_out,
    read_segments,
    write_segment,
)

VARIABLE = [0, 70, 103, 136, 206, 239]

PLAIN = Encoding(LOSSLESS, Colors(), MILLISECONDS, Fraction(25))


@pytest.fixture
def ramp() -> np.ndarray:
    return np.rint(255 * smooth(HEIGHT, WIDTH)).astype(np.uint8)


# --- reading ------------------------------------------------------------------------


def test_frames_come_with_their_time_stamps(tmp_path: Path) -> None:
    frames = shot((10, 200, 30), 6)
    write_clip(tmp_path / "clip.mkv", frames, times=VARIABLE)
    video, found = read(tmp_path / "clip.mkv")
    assert video.size == (HEIGHT, WIDTH)
    assert times(found)[:-1] == VARIABLE
    np.testing.assert_array_equal([frame.pixels for frame in found], frames)
    assert not video.damage


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_frames_are_upright(tmp_path: Path, ramp: np.ndarray, degrees: int) -> None:
    lying = np.ascontiguousarray(np.rot90(ramp, -degrees // 90))
    write_clip(
        path := tmp_path / "clip.mov",
        [lying],
        rotation=degrees,
        codec="libx264rgb",
        layout="rgb24",
    )
    video, (frame,) = read(path)
    assert video.size == (HEIGHT, WIDTH)
    assert np.abs(frame.pixels.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p10le"])
def test_colors_are_those_of_the_matrix_the_range_and_the_depth(
    tmp_path: Path, ramp: np.ndarray, matrix: int, color_range: int, layout: str
) -> None:
    path, conversion = tmp_path / "clip.mkv", (matrix, color_range)
    write_clip(path, [ramp] * 2, layout=layout, conversion=conversion)
    video, frames = read(path)
    assert video.colors.matrix == {1: 1, 5: 6}[matrix]
    assert video.colors.range == color_range
    assert np.abs(frames[1].pixels.astype(int) - ramp).mean() < 3  # of halved chroma


def test_only_a_part_is_read(tmp_path: Path) -> None:
    frames = shot((10, 200, 30), 12)
    write_clip(path := tmp_path / "clip.mkv", frames)
    video, found = read(path, start=Fraction(12, 100), end=Fraction(28, 100))
    assert times(found) == [0, 40, 80, 120, 160]
    np.testing.assert_array_equal(found[0].pixels, frames[3])
    assert video.count == 4
    with pytest.raises(ValueError, match=r"it is 0\.48 s long, and --start is 2"):
        open_video(path, start=Fraction(2))


def test_a_truncated_video_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_clip(path := tmp_path / "clip.mkv", shot((10, 200, 30), 30))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    video, frames = read(path)
    assert 5 < len(frames) < 25
    assert video.damage


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"no video at all" * 99, "it is no video"),
        ("a.mp4", b"", "it is no video"),
        # A list that names other files.
        ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "it is no video"),
    ],
)
def test_what_is_no_video_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        open_video(tmp_path / name)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        tone = container.add_stream("aac", rate=44100, layout="mono")
        part = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        part.sample_rate = 44100
        container.mux(tone.encode(part))
        container.mux(tone.encode())
    with pytest.raises(ValueError, match="there is sound, but no picture in it"):
        open_video(tmp_path / "a.m4a")


# --- writing ------------------------------------------------------------------------


def write_segments(folder: Path, frames: list[Frame], how: Encoding) -> list[Path]:
    """Write segments of four frames each."""
    paths = []
    for first in range(0, len(frames), 4):
        paths.append(folder / f"{first}.nut")
        write_segment(frames[first : first + 4], paths[-1], how)
    return paths


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_segments_become_a_video_with_sound(tmp_path: Path, suffix: str) -> None:
    sound = "libopus" if suffix == ".webm" else "aac"
    variable = [40 * index + index % 3 * 7 for index in range(10)]
    source, tone = shot((10, 200, 30), 10), {".webm": None}.get(suffix, sound)
    write_clip(tmp_path / "clip.mkv", source, times=variable, sound=tone)
    video, frames = read(tmp_path / "clip.mkv")
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    how = Encoding(codec, video.colors, video.time_base, video.rate)
    segments = write_segments(tmp_path, frames, how)
    end, path = frames[-1].start + frames[-1].duration, tmp_path / f"out{suffix}"
    metadata = {"comment": "{}"}
    join_segments(segments, path, end=end, source=video, metadata=metadata)
    made, found = read(path)
    stamps = times(frames)[: -1 if suffix == ".webm" else None]  # its end is a guess
    assert np.abs(np.subtract(times(found)[: len(stamps)], stamps)).max() <= 1
    assert made.colors.conversion == video.colors.conversion
    for new, old in zip(found, frames, strict=True):
        assert np.abs(new.pixels.astype(int) - old.pixels).mean() < 6
    if tone:
        assert [x for x, _ in packets(path)] == [
            x for x, _ in packets(tmp_path / "clip.mkv")
        ]


def test_odd_sizes_become_even_by_their_edge(tmp_path: Path) -> None:
    pixels = np.rint(255 * smooth(21, 33)).astype(np.uint8)
    frame = Frame(pixels, Fraction(0), Fraction(1, 25))
    how = Encoding("libx264", Colors(), MILLISECONDS, Fraction(25), crf=1)
    write_segment([frame], tmp_path / "0.nut", how)
    path, end = tmp_path / "out.mp4", Fraction(1, 25)
    join_segments([tmp_path / "0.nut"], path, end=end, source=None, metadata={})
    video, (found,) = read(path)
    assert video.size == (22, 34)
    assert np.abs(found.pixels[:21, :33].astype(int) - pixels).mean() < 6


def test_lossless_segments_keep_every_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 21, 33, 3), np.uint8)
    spans = [(Fraction(i, 25), Fraction(1, 25)) for i in range(6)]
    frames = [Frame(x, *span) for x, span in zip(pixels, spans, strict=True)]
    segments = write_segments(tmp_path, frames, PLAIN)
    found = list(read_segments(segments, end=Fraction(6, 25)))
    np.testing.assert_array_equal([x.pixels for x in found], pixels)
    assert [(x.start, x.duration) for x in found] == spans


def test_what_a_format_cannot_hold_is_known(tmp_path: Path) -> None:
    write_clip(path := tmp_path / "clip.mkv", shot((0, 0, 0), 3), sound="aac")
    video = open_video(path)
    assert left_out(video, ".webm") == [("audio", "aac")]
    assert left_out(video, ".mp4") == []


def test_a_segment_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        pixels = np.zeros((20, 20, 3), np.uint8)
        yield Frame(pixels, Fraction(0), Fraction(1, 25))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_segment(frames(), tmp_path / "0.nut", PLAIN)
    assert list(tmp_path.iterdir()) == []
