"""The shots of a film, and the frames that tell their statistics."""

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from video_samples import COLORS, shot

from jaxstyle.cli.video.shots import SAMPLES, divide


def test_a_film_is_divided_at_its_cuts() -> None:
    lengths = [9, 20, 5]
    parts = [shot(color, count) for color, count in zip(COLORS, lengths, strict=True)]
    found = list(divide(frame for part in parts for frame in part))
    assert [each.length for each in found] == lengths
    for each, part in zip(found, parts, strict=True):
        assert len(each.samples) == SAMPLES
        own = {frame.tobytes() for frame in part}
        assert {sample.tobytes() for sample in each.samples} <= own


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_samples_are_spread_over_a_shot(count: int) -> None:
    frames = [np.full((8, 8, 3), index, np.uint8) for index in range(count)]
    (only,) = divide(frames)
    indices = [int(sample[0, 0, 0]) for sample in only.samples]
    assert indices == sorted(indices)
    assert indices[0] == 0
    assert indices[-1] >= (count - 1) * 3 // 4
    assert len({*indices}) == min(count, SAMPLES)


def test_flashes_and_fast_motion_are_no_cuts() -> None:
    flash = shot((20, 20, 20), 20)
    flash[9] = flash[9] // 2 + 127
    assert [each.length for each in divide(flash)] == [20]
    noise = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    assert [each.length for each in divide(noise)] == [20]


def test_a_film_without_frames_has_no_shots() -> None:
    assert list(divide([])) == []


def test_few_frames_are_in_memory() -> None:
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    most = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for index in range(2000):
            frame = np.full((8, 8, 3), index % 7, np.uint8)
            alive[index] = frame
            most = max(most, len(alive))
            yield frame

    gc.collect()
    (only,) = divide(frames())
    assert only.length == 2000
    assert most < 20
