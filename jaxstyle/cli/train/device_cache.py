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

from jaxstyle.cli.runtime import explain_lack_of_memory, make_say
from jaxstyle.data.batches import Batches, Report, read_squares
from jaxstyle.data.sources import Source
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.scaling import memory
from jaxstyle.scaling.sharding import Placement, put_replicated
from jaxstyle.training import loop
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.photo_cache import cached_side, take_batch
from jaxstyle.training.recipes import TrainConfig

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


def album_shapes(settings: TrainConfig, source: Source) -> Album:
    """Return the shapes of the photos of a source for a training."""
    side = cached_side(settings.size)
    photos = jax.ShapeDtypeStruct((len(source), side, side, 3), jnp.uint8)
    return Album(photos, jax.ShapeDtypeStruct((), jnp.uint32))


def describe_album(album: Album) -> str:
    """Return how many photos there are of what size."""
    count, side, *_ = album.photos.shape
    return f"{count} photos of {side}x{side} pixels"


def make_run_steps(
    step: loop.Step, settings: TrainConfig, placement: Placement
) -> Callable[[State, Album, Problem, ArrayLike], tuple[State, Metrics]]:
    """Return what makes many steps on photos in memory, `CAPACITY` at the most."""
    constrain: Any = lax.with_sharding_constraint
    take = partial(take_batch, batch=settings.batch, size=settings.size)

    def step_on(state: State, album: Album, problem: Problem) -> tuple[State, Metrics]:
        crops = take(album.photos, jax.random.key(album.seed), state.step)
        return step(state, constrain(crops, placement.batches), problem)

    return partial(loop.run_steps, step_on, capacity=CAPACITY)


def cache_photos(
    source: Source,
    shapes: Album,
    program: Any,
    *,
    seed: int,
    placement: Placement,
    report: Report,
    quiet: bool,
) -> Album:
    """Read all photos of a source into the memory of each device.

    Args:
        source: of the photos.
        shapes: of the album.
        program: what is to take it, compiled.
        seed: of the order and of the crops.
        placement: where photos are to lie.
        report: where damaged photos are counted.
        quiet: whether to say nothing.

    Raises:
        ValueError: memory does not suffice, or no photo can be decoded.
    """
    photos = describe_album(shapes)
    gigabytes = album_bytes(shapes) / 1e9
    make_say(quiet=quiet)(f"{photos} take {gigabytes:.2f} GB on each device")
    what = f"{photos} beside the training"
    advice = "use fewer photos, a smaller --size, or no --data-cache"
    with explain_lack_of_memory(what=what, advice=advice):
        check_room(shapes, program, placement)
        blocks = read_squares(source, side=shapes.photos.shape[1], report=report)
        images = _fill_memory(blocks, shapes.photos.shape, placement, quiet=quiet)
    return Album(images, put_replicated(np.uint32(seed), placement))


def check_room(album: Album, program: Any, placement: Placement) -> None:
    """Raise a TooLargeError unless there is memory for photos beside a program.

    Args:
        album: their shapes.
        program: what is to take them, compiled.
        placement: where they are to lie; CPU devices have one memory together.
    """
    on_cpu = jax.default_backend() == "cpu"
    copies = len(placement.batches.mesh.local_devices) if on_cpu else 1
    needed, free = copies * album_bytes(album), memory.free_memory()
    if free is None:
        return
    memory.check_free(needed, max(0, free - memory.needed_memory(program)))


def album_bytes(album: Album) -> int:
    """Return what photos take of the memory of a device."""
    return int(np.prod(album.photos.shape))


def _fill_memory(
    blocks: Batches, shape: tuple[int, ...], placement: Placement, *, quiet: bool
) -> jax.Array:
    """Return all blocks as one array; the host holds no more than some of them."""
    fill = jax.jit(_fill, donate_argnums=0, out_shardings=placement.replicated)
    photos = jnp.zeros(shape, jnp.uint8, device=placement.replicated)
    read = 0
    with (
        closing(blocks),
        tqdm(total=len(photos), desc="reading", unit="photo", disable=quiet) as bar,
    ):
        for block in blocks:
            photos = fill(photos, put_replicated(block, placement), read)
            read += len(block)
            megabytes = photos.nbytes / 1e6 * read / len(photos)
            bar.set_postfix_str(f"{megabytes:,.0f} MB", refresh=False)
            bar.update(len(block))
    return photos


def _fill(photos: jax.Array, block: jax.Array, start: ArrayLike) -> jax.Array:
    return lax.dynamic_update_slice(photos, block, (start, 0, 0, 0))
