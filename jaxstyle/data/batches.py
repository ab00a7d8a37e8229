"""Sources of encoded images -> deterministic batches of crops, by grain."""

import os
from collections import deque
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Sharding
from jaxtyping import UInt8

from jaxstyle.data.crops import (
    Crop,
    CropReader,
    CropRequest,
    Report as Report,
    draw_request,
)
from jaxstyle.data.sources import Source

SHORTER_SIDE = (256, 480)
"""The range of the shorter side, in pixels, to which images are resized."""

FOREVER = 2**40
"""The least number of records that are drawn; grain's own infinity overflows."""

BLOCK, BLOCK_BYTES = 64, 2**24
"""The most squares that are read at a time, and their most bytes."""

Batch: TypeAlias = UInt8[np.ndarray, "b size size 3"]

Batches: TypeAlias = Generator[Batch, None, None]
"""Batches from threads; ``close`` ends both."""

MOST_THREADS = 16
"""The default limit of decoding threads, each of which keeps a batch in memory."""


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
    """Yield random crops, uint8 ``[batch // process_count, size, size, 3]``, forever.

    Each image is resized to a random length of its shorter side, cropped to a random
    square, and mirrored or not. Every epoch has its own order.

    Batch ``k`` depends only on the source, the size, the batch, the seed, the range
    and ``k``: a run that stopped after ``k`` batches resumes exactly with ``start=k``,
    and the concatenated batches of all processes are those of a single one. Records
    that cannot be decoded are replaced by others that their own seeds choose.

    Threads suffice, because Pillow decodes and resizes without holding the interpreter.
    Pillow's warnings are silenced for the whole process.

    Args:
        source: of `jaxstyle.data.open_source`.
        size: the side of the crops in pixels.
        batch: the number of crops in a batch of all processes.
        seed: from 0 to 2**32 - 1.
        start: the number of batches to skip.
        shorter_side: the inclusive range of the shorter side, in pixels; both ends are
            raised to ``size``.
        report: counts damaged records.
        workers: the number of decoding threads; by default that of the cores, at most
            16.
        process_index: the number of this process.
        process_count: the number of processes that share each batch.

    Returns:
        An endless iterator; its ``close`` ends the threads.

    Raises:
        ValueError: an argument is out of its range. The iterator raises one when no
            record of the source can be decoded.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.png")
        >>> source = jaxstyle.data.open_source(".")
        >>> batches = jaxstyle.data.make_batches(source, size=8, batch=4, seed=0)
        >>> next(batches).shape
        (4, 8, 8, 3)
        >>> batches.close()
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
        .repeat(-(-FOREVER // len(source)))
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

    Args:
        source: of `jaxstyle.data.open_source`.
        size: the side of the squares in pixels.
        batch: the number of squares in a batch.
        report: counts damaged records.
        workers: the number of decoding threads, as in `make_batches`.

    Returns:
        An iterator; its ``close`` ends the threads early.

    Examples:
        >>> jaxstyle.save_image(photo, "photo.png")
        >>> source = jaxstyle.data.open_source(".")
        >>> batches = jaxstyle.data.validation_batches(source, size=8, batch=1)
        >>> [batch.shape for batch in batches]
        [(1, 8, 8, 3)]
    """
    import grain

    _check(source, size=size, batch=batch, start=0, shorter_side=(size, size))
    reader = CropReader(source, size, (size, size), report or Report())
    center = Crop(size, 0.5, 0.5, mirrored=False)
    decoded = grain.MapDataset.range(len(source)).map(
        lambda index: reader.try_crop(index, center)
    )
    first = True
    with closing(_iterate(decoded, workers, ahead=2 * batch)) as images:
        usable = (image for image in images if image is not None)
        while held := list(islice(usable, batch)):
            if first or len(held) == batch:
                yield np.stack(held)
            first = False
    if first:
        raise ValueError(
            f"no image of {source.name} can be decoded: {reader.report.summary()}"
        )


def read_squares(
    source: Source,
    *,
    side: int,
    report: Report | None = None,
    workers: int | None = None,
) -> Batches:
    """Yield a square of every image once, in order, uint8 ``[b, side, side, 3]``.

    Each spans the shorter side; its position along the longer one, and its mirroring,
    are random and depend only on the record's number. Records that cannot be decoded
    are replaced by others. Squares come in blocks of up to `BLOCK`.
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
    batches: Generator[Any, None, None],
    *,
    ahead: int = 2,
    sharding: Sharding | None = None,
) -> Generator[Any, None, None]:
    """Yield batches as arrays on the device, copying up to ``ahead`` more in advance.

    A batch may be a tree of arrays. The number yielded is the ``start`` from which
    `make_batches` resumes. ``sharding`` is that of the batch of all processes, by
    default of the default device. Closing this closes ``batches``.
    """

    def put(x: np.ndarray) -> jax.Array:
        if sharding is None:
            return jax.device_put(x)
        return jax.make_array_from_process_local_data(sharding, x)

    waiting: deque[Any] = deque()
    with closing(batches):
        for batch in batches:
            waiting.append(jax.tree.map(put, batch))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting


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
    """Yield elements from threads; raise those that are exceptions.

    Workers return exceptions, because grain adds lines to those that they raise.
    """
    import grain

    has_affinity = hasattr(os, "sched_getaffinity")  # on Linux
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    count = workers or min(cores, MOST_THREADS)
    options = grain.ReadOptions(num_threads=count, prefetch_buffer_size=count + ahead)
    elements = iter(dataset.to_iter_dataset(options, allow_nones=True))
    with closing(elements):
        for element in elements:
            if isinstance(element, ValueError):
                raise element
            yield element
