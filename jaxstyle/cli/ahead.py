"""What takes long to make is made by threads, perhaps before it is asked for."""

import os
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")

THREADS = os.cpu_count() or 1
"""How many things are made at a time."""


class Ahead(Generic[Key, Made]):
    """What a function makes of keys, each once, as ``made[key]``.

    One thread asks; others make.
    """

    def __init__(self, make: Callable[[Key], Made]) -> None:
        self._make = make
        self._made: dict[Key, Future[Made]] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    def __getitem__(self, key: Key) -> Made:
        """Return what is made of a key, once it is."""
        self.begin([key])
        return self._made[key].result()

    def begin(self, keys: Iterable[Key]) -> None:
        """Begin with what will be asked for, in this order."""
        for key in keys:
            if key not in self._made:
                self._made[key] = self._threads.submit(self._make, key)

    def drop(self) -> None:
        """Leave out what has not been begun; it may still be asked for."""
        begun = {key: made for key, made in self._made.items() if not made.cancel()}
        self._made = begun
