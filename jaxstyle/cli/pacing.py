"""How many steps the device makes before the host hears of it."""

from collections.abc import Iterable

SECONDS_PER_CALL = 0.5
"""About how long the device is left alone, once it is known how fast it is."""


def until_halt(step: int, end: int, intervals: Iterable[int]) -> int:
    """Return how many steps there are to the end, or to a multiple of an interval."""
    return min(end - step, *(every - step % every for every in intervals))
