"""Sources of encoded images -> deterministic batches of crops, by grain."""

import os
import warnings
from collections import deque
from collections.abc import Generator
from contextlib import closing
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Sharding
from jaxtyping import UInt8

from jaxstyle.data.crops import CropReader, CropRequest, center_crop, draw_request
from jaxstyle.data.crops import Report as Report
from jaxstyle.data.sources import Source

SHORTER_SIDE = (256, 480)
"""The range of the shorter side, in pixels, to which images are resized."""

FOR_EVER = 2**40
"""How many records are drawn at the least; grain's own infinity overflows."""

BLOCK, BLOCK_BYTES = 64, 2**24
"""How many squares are read at a time, and how much memory they take, at the most."""

Batch: TypeAlias = UInt8[np.ndarray, "b size size 3"]

Batches: TypeAlias = Generator[Batch, None, None]
"""Batches and, for as long as they are asked for, threads; ``close`` ends both."""


MOST_THREADS = 16
"""How many threads decode unless more are asked for: each keeps a batch in memory."""


def make_batches(
    source: Source,
    *,
    size: int,
    batch: int,
    seed: int,
    start: int = 0,
    shorter_side: tuple[int, int] = SHORTER_SIDE,
    report: Report | None = None,
    workers: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Return random crops, uint8 ``[batch // process_count, size, size, 3]``, for ever.

    Each image is resized so that its shorter side has a random length, cropped to a
    random square, and mirrored or not. Every epoch has an order of its own.

    Batch ``k`` depends on the source, the size, the batch, the seed, the range and
    ``k`` alone: a run that stopped after ``k`` batches goes on exactly with
    ``start=k``, and the batches of all processes, one after the other, are those of a
    single one. A record that cannot be decoded is replaced by others that its own
    random numbers choose, so that holds for damaged data too.

    Worker threads, not processes: Pillow decodes and resizes without holding the
    interpreter, so threads keep all cores busy; they start at once, share the source
    and the report, and leave nothing behind. Pillow's warnings are silenced for the
    whole process, since that cannot be done for a thread.

    Args:
        source: what `jaxstyle.data.sources.open_source` returns.
        size: the crops' side in pixels.
        batch: how many crops all processes together take at a time.
        seed: from 0 to 2**32 - 1.
        start: how many batches have been taken already.
        shorter_side: the inclusive range of the shorter side; it starts at ``size`` if
            that is larger.
        report: where damaged records are counted.
        workers: decoding threads; as many as there are cores, up to 16, where it is
            ``None``.
        process_index: which of the processes this is.
        process_count: how many share each batch.

    Raises:
        ValueError: an argument is out of its range. The iterator raises one when no
            record of the source can be decoded.
    """
    import grain

    _check(source, size=size, batch=batch, start=start, shorter_side=shorter_side)
    if not 0 <= process_index < process_count or batch % process_count:
        raise ValueError(
            f"process {process_index} of {process_count} cannot take its share of a "
            f"batch of {batch}: the batch must be a multiple of the processes"
        )
    if not 0 <= seed < 2**32:
        raise ValueError(f"expected a seed from 0 to {2**32 - 1}, got {seed}")
    low, high = max(shorter_side[0], size), max(shorter_side[1], size)
    share = batch // process_count
    mine = slice(process_index * share, (process_index + 1) * share)
    requests = (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .repeat(-(-FOR_EVER // len(source)))
        .random_map(draw_request)  # before the share is taken: any count draws alike
        .batch(batch, batch_fn=list)
        .map(lambda drawn: drawn[mine])
    )
    reader = CropReader(source, size, (low, high), report or Report())
    return _iterate(requests[start:].map(reader.read_batch), workers, ahead=2)


def validation_batches(
    source: Source,
    *,
    size: int,
    batch: int,
    report: Report | None = None,
    workers: int | None = None,
) -> Batches:
    """Yield the center square of every image once, uint8 ``[b, size, size, 3]``.

    Records come in order; those that cannot be decoded are left out. All batches are
    full: images left over at the end are dropped, unless there are fewer than one
    batch in all, which then come as one smaller batch.

    Raises:
        ValueError: an argument is out of its range, or no record can be decoded.
    """
    import grain

    _check(source, size=size, batch=batch, start=0, shorter_side=(size, size))
    reader = CropReader(source, size, (size, size), report or Report())
    crop = center_crop(size)
    decoded = grain.MapDataset.range(len(source)).map(
        lambda index: reader.try_crop(index, crop)
    )
    held: list[np.ndarray] = []
    full = False
    with closing(_iterate(decoded, workers, ahead=2 * batch)) as images:
        for image in images:
            if image is None:
                continue
            held.append(image)
            if len(held) == batch:
                yield np.stack(held)
                held, full = [], True
    if not held and not full:
        raise ValueError(
            f"no image of {source.name} can be decoded: {reader.report.summary()}"
        )
    if not full:
        yield np.stack(held)


def read_squares(
    source: Source,
    *,
    side: int,
    report: Report | None = None,
    workers: int | None = None,
) -> Batches:
    """Yield a square of every image once, in order, uint8 ``[b, side, side, 3]``.

    It takes the whole of the shorter side, and its place along the longer one is
    random, as is whether it is mirrored; both depend on the record's number alone. A
    record that cannot be decoded is replaced by another, so there are as many squares
    as records. They come in blocks of up to `BLOCK`.

    Raises:
        ValueError: an argument is out of its range, or no record can be decoded.
    """
    import grain

    _check(source, size=side, batch=1, start=0, shorter_side=(side, side))
    block = max(1, min(BLOCK, BLOCK_BYTES // (3 * side * side)))
    reader = CropReader(source, side, (side, side), report or Report())
    requests = (
        grain.MapDataset.range(len(source))
        .map(lambda index: CropRequest(index, seed=index))
        .batch(block, batch_fn=list)
        .map(reader.read_batch)
    )
    return _iterate(requests, workers, ahead=2)


def prefetch_to_device(
    batches: Batches, *, ahead: int = 2, sharding: Sharding | None = None
) -> Generator[jax.Array, None, None]:
    """Yield batches as arrays on the device, whose copies start ``ahead`` of use.

    How many were yielded is the position from which `make_batches` goes on. Closing
    this closes ``batches``.

    Args:
        batches: what `make_batches` returns.
        ahead: how many batches wait on the device.
        sharding: of the batch of all processes; the default device's where it is
            ``None``.
    """
    waiting: deque[jax.Array] = deque()
    with closing(batches):
        for batch in batches:
            waiting.append(_put(batch, sharding))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting


def _put(batch: Batch, sharding: Sharding | None) -> jax.Array:
    if sharding is None:
        return jax.device_put(batch)
    return jax.make_array_from_process_local_data(sharding, batch)


def _check(
    source: Source, *, size: int, batch: int, start: int, shorter_side: tuple[int, int]
) -> None:
    low, high = shorter_side
    if not 1 <= low <= high:
        raise ValueError(f"expected a range of the shorter side, got {low} to {high}")
    if min(size, batch) < 1 or start < 0:
        raise ValueError(
            "expected a size and a batch of at least 1 and a start of at least 0, got "
            f"{size}, {batch} and {start}"
        )
    if len(source) == 0:
        raise ValueError(f"{source.name} holds no images")


# --- threads ------------------------------------------------------------------------


def _iterate(
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
