"""Films: what is read back from each format, and what is refused."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from full_disk import small_files
from image_samples import refusal, smooth
from PIL import Image

from jaxstyle.files.films import FASTEST, HOLD, check_film_path, save_film

SUFFIXES = (".gif", ".mp4", ".webp")

every_format = pytest.mark.parametrize("suffix", SUFFIXES)

COLOURS = np.array(
    [[200, 60, 40], [40, 180, 60], [50, 70, 220], [250, 250, 250], [10, 10, 10]]
)


def flat(color: np.ndarray, height: int = 24, width: int = 32) -> np.ndarray:
    return np.broadcast_to(np.float32(color / 255), (height, width, 3))


def frames() -> Iterator[np.ndarray]:
    """Yield one frame of each color."""
    yield from map(flat, COLOURS)


class Film(NamedTuple):
    pictures: list[np.ndarray]
    """Frames, in 0..255."""
    starts: list[float]
    """When each is shown, in seconds; at last, when the film ends."""
    loops_for_ever: bool


def read(path: Path) -> Film:
    return read_mp4(path) if path.suffix.lower() == ".mp4" else read_by_pillow(path)


def read_by_pillow(path: Path) -> Film:
    pictures, starts = [], [0.0]
    with Image.open(path) as film:
        for index in range(getattr(film, "n_frames", 1)):
            film.seek(index)
            film.load()
            pictures.append(np.asarray(film.convert("RGB"), np.float64))
            starts.append(starts[-1] + film.info["duration"] / 1000)
        return Film(pictures, starts, film.info["loop"] == 0)


def read_mp4(path: Path) -> Film:
    import av

    with av.open(str(path)) as container:
        found = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "h264"
        assert found[0].format.name == "yuv420p"
        pictures = [frame.to_ndarray(format="rgb24").astype(float) for frame in found]
        step = float(1 / container.streams.video[0].average_rate)
        starts = [float(frame.time) for frame in found]
    return Film(pictures, [*starts, starts[-1] + step], loops_for_ever=False)


def assert_all_close(pictures: list[np.ndarray], expected: Any, within: float) -> None:
    for picture, wanted in zip(pictures, expected, strict=True):
        np.testing.assert_allclose(
            picture, np.broadcast_to(wanted, picture.shape), atol=within
        )


# --- what is in the files -----------------------------------------------------------


@every_format
def test_frames_come_back_in_order_and_the_last_one_stays(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    save_film(frames(), path, size=(24, 32), frames_per_second=10)
    film = read(path)
    count, held = len(COLOURS), len(film.pictures) - len(COLOURS)
    assert_all_close(film.pictures, [*COLOURS, *[COLOURS[-1]] * held], within=4)
    assert film.starts[:count] == pytest.approx(np.arange(count) / 10, abs=1e-6)
    assert film.starts[-1] == pytest.approx((count - 1) / 10 + HOLD, abs=1e-6)
    assert film.loops_for_ever == (suffix != ".mp4")
    assert os.listdir(tmp_path) == [path.name]


@every_format
def test_pictures_keep_their_details(tmp_path: Path, suffix: str) -> None:
    image = smooth(64, 96)
    save_film([image, 1 - image], path := tmp_path / f"x{suffix}", size=(64, 96))
    first, second, *_ = read(path).pictures
    for found, expected in ((first, image), (second, 1 - image)):
        error = found - 255 * expected
        assert np.sqrt((error**2).mean()) < 5
        assert np.abs(error.mean((0, 1))).max() < 2.5


@every_format
def test_frames_of_all_sizes_are_resized_to_one(tmp_path: Path, suffix: str) -> None:
    sizes = [(8, 12), (16, 24), (32, 48), (64, 96)]
    images = [smooth(*size) ** power for power, size in enumerate(sizes, start=1)]
    save_film(images, path := tmp_path / f"x{suffix}", size=(32, 48))
    pictures = read(path).pictures[: len(sizes)]
    for power, found in enumerate(pictures, start=1):
        assert found.shape == (32, 48, 3)
        expected = 255 * smooth(32, 48) ** power
        assert np.abs(found - expected).mean() < 8
        assert np.abs(found[:, ::-1] - expected).mean() > 40


@every_format
def test_odd_sides_are_kept_or_grow_by_one(tmp_path: Path, suffix: str) -> None:
    image = smooth(17, 33)
    image[-1], image[:, -1] = 0, 0
    save_film([image, image], path := tmp_path / f"x{suffix}", size=(17, 33))
    found = read(path).pictures[-1]
    if suffix == ".mp4":
        assert found.shape == (18, 34, 3)
        assert found[-2:, :-4].mean() < 15
        assert found[:-4, -2:].mean() < 15
    else:
        assert found.shape == (17, 33, 3)
    assert found[8, 8:25].mean() > 60


@every_format
def test_a_single_pixel_is_a_film(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    save_film([flat(COLOURS[0], 1, 1)], path, size=(1, 1))
    with_even_sides = (2, 2, 3) if suffix == ".mp4" else (1, 1, 3)
    if suffix == ".webp":  # which has no durations, being a still picture
        with Image.open(path) as picture:
            assert picture.size == (1, 1)
        return
    film = read(path)
    assert film.pictures[0].shape == with_even_sides
    assert film.starts[-1] == pytest.approx(HOLD)


@every_format
def test_frames_are_taken_one_by_one(tmp_path: Path, suffix: str) -> None:
    alive = 0

    class Frame(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def make() -> Iterator[np.ndarray]:
        nonlocal alive
        for color in COLOURS:
            alive += 1
            assert alive <= 2, "earlier frames are still in memory"
            yield np.ascontiguousarray(flat(color)).view(Frame)

    save_film(make(), tmp_path / f"x{suffix}", size=(24, 32))
    assert alive <= 1


def test_an_mp4_has_its_index_first_and_says_what_its_colors_mean(
    tmp_path: Path,
) -> None:
    import av

    save_film(frames(), path := tmp_path / "x.mp4", size=(24, 32))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 1)


def test_each_frame_of_a_gif_has_colors_of_its_own(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 250, dtype=np.float32).reshape(10, 25)
    film = [np.stack([ramp * (c == k) for c in range(3)], -1) for k in range(3)]
    save_film(film, path := tmp_path / "x.gif", size=(10, 25))
    assert_all_close(read(path).pictures, [255 * frame for frame in film], within=4)


def test_an_old_film_is_replaced_and_the_case_of_a_suffix_is_all_one(
    tmp_path: Path,
) -> None:
    for suffix in (".GIF", ".Mp4", ".WEBP"):
        (path := tmp_path / f"x{suffix}").write_bytes(b"old")
        save_film(frames(), path, size=(24, 32))
        assert len(read(path).pictures) >= len(COLOURS)


@every_format
def test_a_name_may_hold_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    save_film(frames(), path := Path(f"a:b/c:d{suffix}"), size=(24, 32))
    assert len(read(tmp_path / path).pictures) >= len(COLOURS)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for suffix in SUFFIXES:
        save_film(frames(), tmp_path / f"x{suffix}", size=(24, 32))
    assert capfd.readouterr() == ("", "")


# --- what is refused ----------------------------------------------------------------

Check = Callable[[Path], None]


def save_frames(path: Path) -> None:
    save_film(frames(), path, size=(24, 32))


both_checks = pytest.mark.parametrize("function", [check_film_path, save_frames])


@every_format
def test_a_good_path_passes_and_nothing_is_created(tmp_path: Path, suffix: str) -> None:
    check_film_path(tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


@both_checks
@pytest.mark.parametrize("name", ["x", "x.png", "x.avi"])
def test_an_unknown_suffix_is_refused(
    tmp_path: Path, name: str, function: Check
) -> None:
    reason = refusal(tmp_path / name, function)
    assert reason.startswith("cannot write the film PATH: unknown suffix")
    assert reason.endswith("use one of .gif, .mp4, .webp")
    assert list(tmp_path.iterdir()) == []


@both_checks
def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, function: Check
) -> None:
    assert "there is no folder" in refusal(tmp_path / "no" / "x.gif", function)
    (path := tmp_path / "x.gif").mkdir()
    assert "it is a folder" in refusal(path, function)


@both_checks
def test_a_missing_encoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Check
) -> None:
    monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    assert "no libx264; use .gif" in refusal(tmp_path / "x.mp4", function)
    monkeypatch.setattr("PIL.features.check", lambda _: False)
    assert "no WebP; use .gif" in refusal(tmp_path / "x.webp", function)
    function(tmp_path / "x.gif")


def test_an_unknown_path_is_refused_before_a_frame_is_made(tmp_path: Path) -> None:
    film = frames()
    with pytest.raises(ValueError, match="unknown suffix"):
        save_film(film, tmp_path / "x.avi", size=(24, 32))
    assert len(list(film)) == len(COLOURS)


@every_format
def test_an_error_in_making_frames_comes_through_and_leaves_the_old_film(
    tmp_path: Path, suffix: str
) -> None:
    def fail(error: BaseException) -> Iterator[np.ndarray]:
        yield from frames()
        raise error from OSError("the cause")

    (path := tmp_path / f"x{suffix}").write_bytes(b"old")
    for error in (
        RuntimeError("the loss is NaN"),
        ValueError("x"),
        KeyboardInterrupt(),
    ):
        with pytest.raises(type(error)) as raised:
            save_film(fail(error), path, size=(24, 32))
        assert raised.value is error
        assert isinstance(error.__cause__, OSError)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == [path.name]


@every_format
def test_frames_that_are_no_images_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    bad: list[tuple[list[Any], type[Exception], str]] = [
        ([], ValueError, "at least one frame, got none"),
        ([flat(COLOURS[0]).astype(np.uint8)], TypeError, "floating-point"),
        ([flat(COLOURS[0]), np.zeros((3, 4))], ValueError, "must have the shape"),
        ([flat(COLOURS[0]), np.full((2, 2, 3), np.nan)], ValueError, "NaN"),
    ]
    for film, kind, reason in bad:
        with pytest.raises(kind, match=reason):
            save_film(film, path, size=(24, 32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, -1, FASTEST + 1])
def test_a_speed_that_films_do_not_have_is_refused(tmp_path: Path, rate: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 50 frames per second, got {rate}"):
        save_film(frames(), tmp_path / "x.gif", size=(4, 4), frames_per_second=rate)


def test_a_size_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 1, got \(0, 4\)"):
        save_film(frames(), tmp_path / "x.gif", size=(0, 4))


@every_format
def test_a_full_disk_leaves_the_old_film(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.uniform(size=(32, 48, 3)) for _ in range(3)]
    (path := tmp_path / f"x{suffix}").write_bytes(b"old")
    with small_files(500):
        reason = refusal(path, lambda path: save_film(noise, path, size=(32, 48)))
    assert reason.startswith("cannot write the film PATH: ")
    assert "File too large" in reason
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@every_format
def test_a_film_too_large_for_its_format_is_refused(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    film = [flat(color, 1, 1) for color in COLOURS]
    reason = refusal(path, lambda path: save_film(film, path, size=(1, 70000)))
    assert reason.startswith("cannot write the film PATH: ")
    assert list(tmp_path.iterdir()) == []
