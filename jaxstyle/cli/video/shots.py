"""The shots of a film, and some frames of each, spread over it, in little memory."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.video.cuts import is_cut

SAMPLES = 4
"""How many frames of a shot tell its statistics."""

THUMBNAIL = 32
"""The number of rows and of columns by which frames are compared."""

AROUND = 2
"""How many frames before and after a cut it must stand out from."""

Pixels = UInt8[np.ndarray, "h w 3"]


class Shot(NamedTuple):
    """How many frames a shot has, and `SAMPLES` of them, some more than once if few."""

    length: int
    samples: Sequence[Pixels]


def divide(frames: Iterable[Pixels]) -> Iterator[Shot]:
    """Divide a film into its shots.

    Of the frames of a shot, every one is kept at first, then every second one, every
    fourth one, and so on, so that no more than a few are kept at a time.
    """
    kept = _Kept()
    for pixels, begins in _find_cuts(frames):
        if begins and kept.count:
            yield kept.make_shot()
            kept = _Kept()
        kept.add(pixels)
    if kept.count:
        yield kept.make_shot()


def _find_cuts(frames: Iterable[Pixels]) -> Iterator[tuple[Pixels, bool]]:
    """Yield frames, and whether a shot begins with each."""
    waiting: deque[Pixels] = deque()
    differences: deque[float] = deque()  # of those waiting, and of some before them
    before: np.ndarray | None = None

    def decide() -> tuple[Pixels, bool]:
        index = len(differences) - len(waiting)
        around = [x for i, x in enumerate(differences) if 0 < abs(i - index) <= AROUND]
        cut = is_cut(differences[index], around)
        if index == AROUND:
            differences.popleft()
        return waiting.popleft(), cut

    for pixels in frames:
        small = _shrink(pixels)
        differences.append(0.0 if before is None else float(abs(small - before).mean()))
        waiting.append(pixels)
        before = small
        if len(waiting) > AROUND:
            yield decide()
    while waiting:
        yield decide()


def _shrink(pixels: Pixels) -> np.ndarray:
    """Average the pixels of blocks."""
    sums = pixels.astype(np.float32) / 255
    for axis, side in enumerate(pixels.shape[:2]):
        starts = np.linspace(0, side, min(side, THUMBNAIL), endpoint=False, dtype=int)
        counts = np.diff(starts, append=side)
        shape = [-1 if a == axis else 1 for a in range(3)]
        sums = np.add.reduceat(sums, starts, axis=axis) / counts.reshape(shape)
    return sums


class _Kept:
    """Frames of a shot under way, equally far from each other."""

    def __init__(self) -> None:
        self.count, self._step = 0, 1
        self._frames: list[Pixels] = []

    def add(self, pixels: Pixels) -> None:
        if self.count % self._step == 0:
            self._frames.append(pixels)
            if len(self._frames) == 2 * SAMPLES:
                self._frames, self._step = self._frames[::2], 2 * self._step
        self.count += 1

    def make_shot(self) -> Shot:
        places = np.rint(np.linspace(0, len(self._frames) - 1, SAMPLES)).astype(int)
        return Shot(self.count, [self._frames[place] for place in places])
