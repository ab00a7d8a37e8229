"""``--data-cache device``: all photos in the memory of each device, read once.

Each device holds all of them. So which crops make a batch depends on nothing but the
seed and the step, each device cuts its share of them, and no photo moves.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from tqdm import tqdm

from jaxstyle import memory, training
from jaxstyle.data import Report, read_squares
from jaxstyle.devices import Placement, put_everywhere
from jaxstyle.perceptual import Metrics
from jaxstyle.photo_cache import cached_side, take_batch
from jaxstyle.sources import Source
from jaxstyle.training import Problem, State
from jaxstyle.training_presets import TrainingPreset

CAPACITY = 1000
"""The most steps that are made without a word from the device."""


class Album(NamedTuple):
    """All photos to train on.

    Attributes:
        photos: uint8 ``[n, side, side, 3]``.
        seed: of the order and of the crops, uint32.
    """

    photos: Any
    seed: Any


def album_shapes(settings: TrainingPreset, source: Source) -> Album:
    """Return the shapes of the photos of a source for a training."""
    side = cached_side(settings.size)
    photos = jax.ShapeDtypeStruct((len(source), side, side, 3), jnp.uint8)  # type: ignore[no-untyped-call]
    return Album(photos, jax.ShapeDtypeStruct((), jnp.uint32))  # type: ignore[no-untyped-call]


def describe_album(album: Album) -> str:
    """Return how many photos there are of what size."""
    count, side, *_ = album.photos.shape
    return f"{count} photos of {side}x{side} pixels"


def make_run_steps(
    step: training.Step, settings: TrainingPreset, placement: Placement
) -> Callable[[State, Album, Problem, ArrayLike], tuple[State, Metrics]]:
    """Return what makes many steps on photos in memory, `CAPACITY` at the most."""
    constrain: Any = lax.with_sharding_constraint
    take = partial(take_batch, batch=settings.batch, size=settings.size)

    def step_on(state: State, album: Album, problem: Problem) -> tuple[State, Metrics]:
        crops = take(album.photos, jax.random.key(album.seed), state.step)
        return step(state, constrain(crops, placement.batches), problem)

    return partial(training.run_steps, step_on, capacity=CAPACITY)


def check_room(album: Album, program: Any, placement: Placement) -> None:
    """Raise a ValueError unless there is memory for photos beside a program.

    Args:
        album: their shapes.
        program: which takes them, compiled.
        placement: where they are to lie; CPU devices have one memory together.
    """
    on_cpu = jax.default_backend() == "cpu"
    copies = len(placement.batches.mesh.local_devices) if on_cpu else 1
    needed, free = copies * album_bytes(album), memory.free_memory()
    if free is None:
        return
    left = max(0, free - memory.needed_memory(program))
    if needed <= left:
        return
    raise ValueError(
        f"not enough memory for {describe_album(album)} beside the training: they take "
        f"{needed / 1e6:,.0f} MB, and {left / 1e6:,.0f} are free; use fewer photos, a "
        "smaller --size, or no --data-cache"
    )


def album_bytes(album: Album) -> int:
    """Return what photos take of the memory of a device."""
    return int(np.prod(album.photos.shape))


def read_album(
    source: Source,
    shapes: Album,
    *,
    seed: int,
    placement: Placement,
    report: Report,
    quiet: bool,
) -> Album:
    """Read all photos of a source into the memory of each device.

    No more than some blocks of them are in the memory of the host at a time.

    Raises:
        ValueError: none of them can be decoded.
    """
    whole = placement.everywhere
    fill = jax.jit(_fill, donate_argnums=0, out_shardings=whole)
    photos: Any = jnp.zeros(shapes.photos.shape, jnp.uint8, device=whole)
    count, side, *_ = photos.shape
    blocks, read = read_squares(source, side=side, report=report), 0
    with (
        closing(blocks),
        tqdm(total=count, desc="reading", unit="photo", disable=quiet) as bar,
    ):
        for block in blocks:
            photos = fill(photos, put_everywhere(block, placement), read)
            read += len(block)
            megabytes = photos.nbytes / 1e6 * read / count
            bar.set_postfix_str(f"{megabytes:,.0f} MB", refresh=False)
            bar.update(len(block))
    return Album(photos, put_everywhere(np.uint32(seed), placement))


def _fill(photos: jax.Array, block: jax.Array, start: ArrayLike) -> jax.Array:
    return lax.dynamic_update_slice(photos, block, (start, 0, 0, 0))
