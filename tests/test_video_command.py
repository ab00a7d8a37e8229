"""``jaxstyle video`` from end to end: what is made of a clip, and where."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from PIL import Image
from video_samples import (
    BALANCE,
    GRAY,
    HEIGHT,
    PLAIN,
    WIDTH,
    balance,
    film,
    make_folder,
    packets,
    read,
    refusal,
    shot,
    times,
    write_clip,
)

from jaxstyle import load_image
from jaxstyle.cli.loading import Style
from jaxstyle.cli.video import shots, video_command, video_options
from jaxstyle.cli.video.video_options import VideoOptions
from jaxstyle.nets import NETWORKS, Network
from jaxstyle.video import frames as video_frames

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with a style and a clip of three shots."""
    make_folder(tmp_path, monkeypatch)


def expected(frames: list[np.ndarray]) -> np.ndarray:
    """Return the pictures of a shot, whose mean color is held."""
    (only,) = shots.divide(frames)
    mean = np.mean(np.divide(only.samples, 255), (0, 1, 2))
    return np.clip(np.divide(frames, 255) - mean + 0.5, 0, 1)


def assert_film(path: str, frames: list[np.ndarray], *, within: float = 0.03) -> None:
    """Compare a film with the pictures of its shots, up to what the codec changes."""
    _, found = read(path)
    pictures = [expected(frames[i : i + 9]) for i in range(0, len(frames), 9)]
    made = np.divide([frame.pixels for frame in found], 255)
    assert np.abs(made - np.concatenate(pictures)).mean() < within


# --- films --------------------------------------------------------------------------


def test_a_clip_lies_on_its_side_with_sound_cuts_and_a_variable_rate(
    capsys: Captured,
) -> None:
    stamps = [40 * index + index % 3 * 9 for index in range(27)]
    lying = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in film()]
    how: dict[str, Any] = {"codec": "libx264", "layout": "yuv420p", "sound": "aac"}
    write_clip("phone.mp4", lying, times=stamps, rotation=90, **how)
    assert run(["video", "phone.mp4", "-o", "out.mp4", *PLAIN]) == 0
    assert capsys.readouterr() == ("out.mp4: 27 frames, 3 shots\n", "")
    source, old = read("phone.mp4")
    video, new = read("out.mp4")
    assert video.size == source.size == (HEIGHT, WIDTH)
    assert times(new) == times(old)
    assert video.length == source.length
    assert packets("out.mp4") == packets("phone.mp4")
    assert_film("out.mp4", film())
    assert not Path("out.mp4.unfinished").exists()


def test_what_stands_still_does_not_change() -> None:
    frames = shot((90, 140, 60), 8)
    for index, frame in enumerate(frames):  # which changes the mean of the frame
        frame[:12, : 8 * index] = 0
    write_clip("clip.mkv", frames)
    for blend in ("0", "0.6"):
        command = ["video", "clip.mkv", "-o", f"out{blend}/", *PLAIN]
        assert run([*command, "--blend", blend]) == 0
        made = [load_image(f"out{blend}/{i:06d}.png") for i in range(1, 9)]
        assert np.ptp(np.array(made)[:, 38:], axis=0).max() <= 1 / 255
    jumping = [frame / 255 - (frame / 255).mean((0, 1)) for frame in frames]
    assert np.ptp(np.array(jumping)[:, 38:], axis=0).max() > 3 / 255


def test_far_from_all_motion_pictures_are_kept_whatever_a_style_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here it sees the mean of the whole frame, which is not held."""
    monkeypatch.setitem(NETWORKS, "balance", Network(apply=balance))
    frames = shot((90, 140, 60), 8)
    for index, frame in enumerate(frames):
        frame[:12, : 8 * index] = 0
    write_clip("clip.mkv", np.pad(frames, [(0, 0), (0, 64), (0, 0), (0, 0)], "edge"))
    changes = {}
    for blend in ("0", "0.6"):
        command = ["video", "clip.mkv", "-o", f"out{blend}/", *PLAIN]
        assert run([*command, "--blend", blend]) == 0
        made = [load_image(f"out{blend}/{i:06d}.png") for i in range(1, 9)]
        changes[blend] = np.ptp(np.array(made)[:, -30:], axis=0).max()
    assert changes["0"] > 3 / 255
    assert changes["0.6"] == 0


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "mov_text"), ("clip.mkv", "subrip")]
)
def test_subtitles_are_copied(name: str, codec: str) -> None:
    how: dict[str, Any] = {"codec": "libx264", "layout": "yuv420p"}
    write_clip(name, film(), subtitles=codec, **how)
    assert run(["video", name, "-o", f"out-{name}", *PLAIN]) == 0
    for path in (name, f"out-{name}"):
        found = packets(path, "subtitles")
        told = [(text.lstrip(b"\0\5\b"), pts) for text, pts in found if len(text) > 2]
        assert told == [(b"Hello", 100), (b"Good bye", 600)]


@pytest.mark.parametrize(
    "name", ["out.gif", "out.mkv", "out.mov", "out.webm", "1:2.mp4"]
)
def test_the_suffix_chooses_the_format(name: str) -> None:
    assert run(["video", "clip.mkv", "-o", name, *PLAIN]) == 0
    _, found = read(name)
    assert times(found)[:-1] == list(range(0, 27 * 40, 40))
    assert_film(name, film())


def test_folders_and_gifs_go_in_and_out() -> None:
    frames = film()
    for index, frame in enumerate(frames):
        Path("frames").mkdir(exist_ok=True)
        Image.fromarray(frame).save(f"frames/{index}.bmp")
    command = ["video", "frames", "-o", "painted/", *PLAIN, "--fps", "12.5"]
    assert run(command) == 0
    made = [load_image(f"painted/{index}.png") for index in range(27)]
    pictures = [expected(frames[i : i + 9]) for i in (0, 9, 18)]
    np.testing.assert_allclose(made, np.concatenate(pictures), atol=0.6 / 255)
    assert run(["video", "frames", "-o", "a.gif", *PLAIN, "--fps", "12.5"]) == 0
    assert run(["video", "a.gif", "-o", "b.gif", *PLAIN]) == 0
    for name in ("a.gif", "b.gif"):
        assert times(read(name)[1]) == list(range(0, 28 * 80, 80))


def test_pictures_have_the_names_of_their_frames(capsys: Captured) -> None:
    Path("frames").mkdir()
    for index, frame in enumerate(film()[:5]):
        Image.fromarray(frame[: 40 if index == 1 else None]).save(f"frames/{index}.png")
    Path("frames/3.png").write_bytes(b"no picture")
    assert run(["video", "frames", "-o", "painted/", *PLAIN]) == 1
    assert "frames/1.png is 64x40 pixels, and other" in capsys.readouterr().err
    made = {path.name for path in Path("painted").iterdir()}
    assert made == {"0.png", "2.png", "4.png"}


def test_a_part_in_another_size_with_stills_first(capsys: Captured) -> None:
    options = ("--start", "0.36", "--end", "0:00.72", "--size", "32", "--preview")
    assert run(["video", "clip.mkv", "-o", "out.mkv", *PLAIN, *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [f"out-still-{number}.png" for number in (1, 2, 3)]
    assert printed[3:] == ["out.mkv: 9 frames, 1 shot"]
    video, found = read("out.mkv")
    assert video.size == load_image("out-still-1.png").shape[:2] == (24, 32)
    assert times(found)[0] == 0


def test_stills_are_painted_by_the_statistics_of_their_shots() -> None:
    assert run(["video", "clip.mkv", "-o", "out.mkv", *PLAIN, "--preview"]) == 0
    stills = [load_image(f"out-still-{number}.png") for number in (1, 2, 3)]
    pictures = [expected(film()[i : i + 9])[4] for i in (0, 9, 18)]
    np.testing.assert_allclose(stills, pictures, atol=0.6 / 255)


def test_an_odd_size_and_a_single_frame() -> None:
    write_clip("odd.mkv", [film()[0][:21, :33]])
    assert run(["video", "odd.mkv", "-o", "out.mp4", *PLAIN]) == 0
    video, found = read("out.mp4")
    assert (video.size, len(found)) == ((22, 34), 1)


def test_large_frames_are_painted_small(monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip("large.mkv", [np.kron(x, np.ones((2, 2, 1), np.uint8)) for x in film()])
    options = ("--stroke-size", "12")
    assert run(["video", "large.mkv", "-o", "out.mkv", *PLAIN, *options]) == 0
    assert read("out.mkv")[0].size == (2 * HEIGHT, 2 * WIDTH)


# --- damage and refusals ------------------------------------------------------------


def test_of_a_truncated_clip_what_can_be_read_is_made(capsys: Captured) -> None:
    whole = Path("clip.mkv").read_bytes()
    Path("cut.mkv").write_bytes(whole[: len(whole) // 2])
    assert run(["video", "cut.mkv", "-o", "out.mp4", *PLAIN]) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle video: error: cut.mkv: it ")
    assert printed.out.startswith("out.mp4: ")
    assert 5 < len(read("out.mp4")[1]) < 25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.mp4", "-o", "a.mp4"), "no such video: none.mp4"),
        (("balance.safetensors", "-o", "a.mp4"), "it is no video"),
        (("clip.mkv", "-o", "clip.mkv"), "clip.mkv is an input; writing the video"),
        (("clip.mkv", "-o", "a.avi"), "cannot write the video a.avi: unknown suffix"),
        (("clip.mkv", "-o", "a.gif", "--crf", "20"), "--crf is for videos"),
        (("clip.mkv", "-o", "a.mp4", "--blend", "1"), "--blend 1 would show the first"),
        (("clip.mkv", "-o", "a.mp4", "--fps", "9"), "--fps is for folders of frames"),
        (("clip.mkv", "-o", "a.mp4", "--start", "9"), "it is 1.08 s long"),
        (("clip.mkv", "-o", "a.mp4", "--start", "2", "--end", "1"), "is not after"),
        (
            ("clip.mkv", "-o", "a.mp4", "--start", "0.2", "--end", "0.201"),
            "no frame of",
        ),
        (("frames", "-o", "a.mp4", "--start", "9"), "no frame of frames is between"),
        (("clip.mkv", "-o", "a.mp4", "--start", "x"), "expected seconds or"),
        (("clip.mkv", "-o", "a.mp4", "--tile", "64"), "cannot run in tiles"),
        (("sound.mkv", "-o", "a.webm"), "cannot hold the sound of sound.mkv, aac"),
    ],
)
def test_what_cannot_be_made_is_refused(
    arguments: tuple[str, ...], message: str, capsys: Captured
) -> None:
    write_clip("sound.mkv", film()[:2], sound="aac")
    Path("frames").mkdir()
    Image.fromarray(film()[0]).save("frames/0.png")
    given = PLAIN[: 3 if "--blend" in arguments else None]
    if "--start" in arguments and "x" in arguments:
        assert run(["video", *arguments, *given]) == 2
        assert message in capsys.readouterr().err
    else:
        assert message in refusal(capsys, *arguments, *given)


@pytest.mark.parametrize("film", ["clip.mkv", "frames"])
def test_without_pyav_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, film: str
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    line = refusal(capsys, film, "-o", "a.mp4", *PLAIN)
    assert line == "av is not installed: pip install 'jaxstyle[video]'"


def test_what_a_gif_is_without_is_told(capsys: Captured) -> None:
    write_clip("sound.mkv", film()[:2], sound="aac")
    given = [x for x in PLAIN if x != "--quiet"]
    assert run(["video", "sound.mkv", "-o", "a.gif", *given]) == 0
    assert "a.gif is without the sound of sound.mkv\n" in capsys.readouterr().err


def test_high_dynamic_range_is_told_and_kept(capsys: Captured) -> None:
    write_clip("hdr.mkv", film()[:2], layout="yuv420p10le", curve=16)
    given = [x for x in PLAIN if x != "--quiet"]
    assert run(["video", "hdr.mkv", "-o", "a.mkv", *given]) == 0
    assert "hdr.mkv is HDR; its colors are taken as" in capsys.readouterr().err
    assert read("a.mkv")[0].colors.curve == 16


# --- options ------------------------------------------------------------------------


def test_nets_and_paintings_have_shares_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def blend_of(**params: float) -> float | None:
        style = Style("balance", (), {**GRAY, **params}, BALANCE)
        monkeypatch.setattr(video_command, "load_style", lambda _: [style])
        given = VideoOptions(video="clip.mkv", style="x", output="out.mp4")
        return video_command.make_job(given).options.blend

    assert blend_of() == video_frames.SHARE
    assert blend_of(strength=1.0) == video_options.PAINTING_SHARE


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30.5", 90.5), ("1:00:02", 3602)]
)
def test_times_are_parsed(text: str, seconds: float) -> None:
    assert video_options.time(text) == seconds


@pytest.mark.parametrize(
    ("text", "value"), [("25", 25), ("30000/1001", Fraction(30000, 1001))]
)
def test_rates_are_parsed(text: str, value: Fraction) -> None:
    assert Fraction(video_options.rate(text)).limit_denominator(1001) == value
