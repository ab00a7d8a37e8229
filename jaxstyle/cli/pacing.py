"""The number of steps that a device makes in one call."""

from collections.abc import Iterable

SECONDS_PER_CALL = 0.5
"""About how long a call of the device takes, once its speed is known."""


def until_halt(step: int, end: int, intervals: Iterable[int]) -> int:
    """Count the steps to the end, or to the next multiple of an interval."""
    return min(end - step, *(every - step % every for every in intervals))
