"""Sources of encoded images -> deterministic batches of crops, by grain."""

from collections import deque
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import UInt8

from jaxstyle.data.crops import Crop, center_crop, decode, draw_crop
from jaxstyle.data.crops import Report as Report
from jaxstyle.data.sources import Source
from jaxstyle.data.worker_threads import iterate

SHORTER_SIDE = (256, 480)
"""The range of the shorter side, in pixels, to which images are resized."""

FOR_EVER = 2**40
"""How many records are drawn at the least; grain's own infinity overflows."""

ATTEMPTS = 100
"""How many records in a row may be unusable before the source is given up."""

BLOCK, BLOCK_BYTES = 64, 2**24
"""How many squares are read at a time, and how much memory they take, at the most."""

Batch: TypeAlias = UInt8[np.ndarray, "b size size 3"]

Batches: TypeAlias = Generator[Batch, None, None]
"""Batches and, for as long as they are asked for, threads; ``close`` ends both."""


class Ticket(NamedTuple):
    """A record to decode, and the seed of its crop and of its replacements."""

    record: int
    seed: int


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
    tickets = (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .repeat(-(-FOR_EVER // len(source)))
        .random_map(_draw_ticket)  # before the share is taken: any count draws alike
        .batch(batch, batch_fn=list)
        .map(lambda drawn: drawn[mine])
    )
    fill = partial(
        _decode_batch,
        source=source,
        size=size,
        shorter_side=(low, high),
        report=Report() if report is None else report,
    )
    return iterate(tickets[start:].map(fill), workers, ahead=2)


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
    report = Report() if report is None else report
    crop = center_crop(size)
    decoded = grain.MapDataset.range(len(source)).map(
        lambda index: _try_decode(source, index, crop, size=size, report=report)
    )
    held: list[np.ndarray] = []
    full = False
    with closing(iterate(decoded, workers, ahead=2 * batch)) as images:
        for image in images:
            if image is None:
                continue
            held.append(image)
            if len(held) == batch:
                yield np.stack(held)
                held, full = [], True
    if not held and not full:
        raise ValueError(
            f"no image of {source.name} can be decoded: {report.summary()}"
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
    tickets = (
        grain.MapDataset.range(len(source))
        .map(lambda index: Ticket(index, seed=index))
        .batch(block, batch_fn=list)
    )
    fill = partial(
        _decode_batch,
        source=source,
        size=side,
        shorter_side=(side, side),
        report=Report() if report is None else report,
    )
    return iterate(tickets.map(fill), workers, ahead=2)


def prefetch_to_device(
    batches: Batches, *, ahead: int = 2, sharding: Any = None
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


def _put(batch: Batch, sharding: Any) -> jax.Array:
    if sharding is None:
        array: jax.Array = jax.device_put(batch)
        return array
    make: Any = jax.make_array_from_process_local_data
    array = make(sharding, batch)
    return array


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


def _draw_ticket(index: int, rng: np.random.Generator) -> Ticket:
    return Ticket(index, int(rng.integers(2**63)))


def _decode_batch(
    tickets: list[Ticket], *, size: int, **options: Any
) -> Batch | ValueError:
    """Return a batch, or why there can be none."""
    crops = np.empty((len(tickets), size, size, 3), np.uint8)
    try:
        for crop, ticket in zip(crops, tickets, strict=True):
            crop[:] = _decode_ticket(ticket, size=size, **options)
    except ValueError as error:
        return error
    return crops


def _decode_ticket(
    ticket: Ticket,
    *,
    source: Source,
    size: int,
    shorter_side: tuple[int, int],
    report: Report,
) -> np.ndarray:
    """Decode a record, or the first usable one of those drawn in its place."""
    rng = np.random.default_rng(ticket.seed)
    index, crop = ticket.record, draw_crop(rng, shorter_side)
    for _ in range(ATTEMPTS):
        image = _try_decode(source, index, crop, size=size, report=report)
        if image is not None:
            return image
        index = int(rng.integers(len(source)))
    raise ValueError(
        f"{ATTEMPTS} records of {source.name} in a row cannot be decoded: "
        f"{report.summary()}"
    )


def _try_decode(
    source: Source, index: int, crop: Crop, *, size: int, report: Report
) -> np.ndarray | None:
    try:
        record = source[index]
    except (OSError, ValueError) as error:
        report.skipped(f"{source.name} record {index}", " ".join(str(error).split()))
        return None
    try:
        return decode(record, crop, size=size, report=report)
    except ValueError as error:
        report.skipped(record.name, str(error))
        return None
