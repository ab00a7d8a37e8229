"""Ctrl-C as a request that a loop honors between its steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Whether an interrupt has come."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Note the first SIGINT or SIGTERM instead of raising; a second one raises."""
    interrupts = Interrupts()
    previous: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.received = True
        for number, handler in previous.items():
            signal.signal(number, handler)

    for wanted in (signal.SIGINT, signal.SIGTERM):
        previous[wanted] = signal.signal(wanted, note)
    try:
        yield interrupts
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
