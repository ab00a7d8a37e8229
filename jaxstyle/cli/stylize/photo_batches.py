"""Photos of many sizes as batches of few shapes, and work done ahead in threads."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float, Int

from jaxstyle.cli.stylize.photo_inputs import Photo, Picture
from jaxstyle.nets.transform_net import STRIDE

Size: TypeAlias = tuple[int, int]

STEP = 64
"""Where photos differ in size, they are laid into arrays of multiples of this."""

BATCH_PIXELS = 2**20
"""About as many pixels go through a net at a time, or a single photo that has more."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Task(NamedTuple):
    """A photo, the size that it will be read with, and what to write in each style."""

    photo: Photo
    size: Size | None
    outputs: Sequence[Path]


class Batch(NamedTuple):
    """Photos in the upper left of arrays of one size.

    Attributes:
        tasks: the photos; the last stands for those that fill the batch up.
        images: their pixels, and black beyond them.
        sizes: how large each of them is.
    """

    tasks: list[Task]
    images: Float[np.ndarray, "n h w 3"]
    sizes: Int[np.ndarray, "n 2"]


class Plan(NamedTuple):
    """How photos are brought together.

    Attributes:
        tasks: in the order in which they come.
        step: heights and widths of arrays are multiples of this.
        counts: how many photos go together, by the size of the array.
    """

    tasks: list[Task]
    step: int
    counts: Mapping[Size, int]


def make_plan(tasks: Iterable[Task], *, devices: int = 1) -> Plan:
    """Put photos together that go into arrays of one size.

    Larger arrays mean fewer programs to compile, and no difference in the pictures: see
    `jaxstyle.nets.padded`. Where all photos have one size, their arrays fit.

    Args:
        tasks: the photos.
        devices: how many have an equal share of each batch.
    """
    tasks = list(tasks)
    sizes = {task.size for task in tasks} - {None}
    step = STEP if len(sizes) > 1 else STRIDE
    padded = [pad_size(task.size, step) for task in tasks if task.size]
    counts = {
        (height, width): _batch(number, BATCH_PIXELS // (height * width), devices)
        for (height, width), number in Counter(padded).items()
    }
    return Plan(
        sorted(tasks, key=lambda task: pad_size(task.size or (0, 0), step)),
        step,
        counts,
    )


def _batch(number: int, most: int, devices: int) -> int:
    """Return how many of so many photos go together, at most so many on a device."""
    if number == 1 or most <= 1:
        return 1
    return devices * min(most, -(-number // devices))


def pad_size(size: Size, step: int) -> Size:
    """Return height and width rounded up to multiples of a step."""
    height, width = size
    return height + -height % step, width + -width % step


def make_batches(photos: Iterable[tuple[Task, Picture]], plan: Plan) -> Iterator[Batch]:
    """Stack photos that follow each other and go into arrays of one size.

    A batch that is not full is filled up with its last photo, since another number of
    photos would be another program.
    """
    waiting: list[tuple[Task, Picture]] = []
    for task, image in photos:
        if waiting and _padded(image, plan) != _padded(waiting[0][1], plan):
            yield _stack(waiting, plan)
            waiting = []
        waiting.append((task, image))
        if len(waiting) == _count(image, plan):
            yield _stack(waiting, plan)
            waiting = []
    if waiting:
        yield _stack(waiting, plan)


def _padded(image: Picture, plan: Plan) -> Size:
    height, width, _ = image.shape
    return pad_size((height, width), plan.step)


def _count(image: Picture, plan: Plan) -> int:
    # A photo that is not as its first bytes say goes alone.
    return plan.counts.get(_padded(image, plan), 1)


def _stack(photos: Sequence[tuple[Task, Picture]], plan: Plan) -> Batch:
    count = _count(photos[0][1], plan)
    images = np.zeros((count, *_padded(photos[0][1], plan), 3), np.float32)
    filled = [image for _, image in photos]
    filled += filled[-1:] * (count - len(filled))
    for array, image in zip(images, filled, strict=True):
        array[: image.shape[0], : image.shape[1]] = image
    sizes = np.array([image.shape[:2] for image in filled], np.int32)
    return Batch([task for task, _ in photos], images, sizes)


def ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    executor: Executor,
    count: int,
) -> Iterator[Result]:
    """Yield a function's results in order, and compute ``count`` of them ahead."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) > count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
