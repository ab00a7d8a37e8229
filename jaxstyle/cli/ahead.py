"""Results that threads compute before they are needed."""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

THREADS = os.cpu_count() or 1
"""The number of results computed at a time by `Ahead`."""


class Ahead(Generic[Key, Result]):
    """Results of a function by key, each computed once: ``results[key]``.

    One thread asks; others compute.
    """

    def __init__(self, function: Callable[[Key], Result]) -> None:
        self._function = function
        self._futures: dict[Key, Future[Result]] = {}
        self._threads = ThreadPoolExecutor(THREADS)

    def __getitem__(self, key: Key) -> Result:
        """Wait for the result of a key."""
        self.begin([key])
        return self._futures[key].result()

    def begin(self, keys: Iterable[Key]) -> None:
        """Begin to compute the results of keys that will be asked for, in order."""
        for key in keys:
            if key not in self._futures:
                self._futures[key] = self._threads.submit(self._function, key)

    def drop(self) -> None:
        """Cancel all that has not begun; it may still be asked for."""
        self._futures = {
            key: future for key, future in self._futures.items() if not future.cancel()
        }


def run_ahead(
    calls: Iterable[Callable[[], Result]], *, executor: Executor, count: int
) -> Iterator[Future[Result]]:
    """Run calls in threads, ``count`` of them ahead, and yield futures in order."""
    pending: deque[Future[Result]] = deque()
    for call in calls:
        pending.append(executor.submit(call))
        if len(pending) > count:
            yield pending.popleft()
    yield from pending
