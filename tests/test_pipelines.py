"""Work ahead of its turn in threads is bounded by its size."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from jaxstyle.cli.runtime import run_ahead


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([1] * 6, 2, 2),
        ([1, 1, 5, 1, 1], 3, 3),  # a large one is alone
        ([9] * 4, 3, 1),
    ],
)
def test_what_is_ahead_fits(sizes: list[int], most: int, expected: int) -> None:
    begun: list[int] = []
    lock, ahead = threading.Lock(), []

    def work(index: int) -> int:
        with lock:
            begun.append(index)
        return index

    calls = ((size, partial(work, index)) for index, size in enumerate(sizes))
    with ThreadPoolExecutor(1) as executor:
        results = []
        for future in run_ahead(calls, executor, most):
            results.append(future.result())
            executor.submit(lambda: None).result()  # after all that was submitted
            ahead.append(sum(sizes[index] for index in begun[len(results) :]))
            assert len(begun) - len(results) <= expected
    assert results == list(range(len(sizes)))
    assert all(size <= most or size in sizes for size in ahead)
