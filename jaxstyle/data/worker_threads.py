"""Elements of a grain data set, made by threads."""

import os
import warnings
from collections.abc import Generator
from contextlib import closing
from typing import Any

MOST_THREADS = 16
"""How many threads there are unless more are asked for: each keeps a batch."""


def iterate(
    dataset: Any, workers: int | None, *, ahead: int
) -> Generator[Any, None, None]:
    """Yield the elements, which threads make; raise those that are exceptions.

    So many are kept ready, beside one per worker. What workers raise would come with
    lines about grain; so they return it.
    """
    import grain

    # Not `catch_warnings`, which is not safe between threads.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    count = workers or min(_cores(), MOST_THREADS)
    options = grain.ReadOptions(num_threads=count, prefetch_buffer_size=count + ahead)
    elements = iter(dataset.to_iter_dataset(options, allow_nones=True))
    with closing(elements):
        for element in elements:
            if isinstance(element, ValueError):
                raise element
            yield element


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
