"""What ``jaxstyle train`` reads: paintings, photos, a VGG, a net to start from."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import UInt8
from tqdm import tqdm

from jaxstyle.cli.options import describe_config, describe_options
from jaxstyle.cli.runtime import explain_lack_of_memory, make_say, versions
from jaxstyle.cli.settings import load_params, load_styles
from jaxstyle.cli.train.train_options import NO_CACHE, TrainOptions
from jaxstyle.cli.train.training_programs import CachedPhotos
from jaxstyle.cli.train.training_settings import describe_settings
from jaxstyle.data.batches import (
    Batches,
    Report,
    make_batches,
    prefetch_to_device,
    read_squares,
    validation_batches,
)
from jaxstyle.data.sources import Source, hold_out, open_source
from jaxstyle.files.param_files import digest_params
from jaxstyle.files.style_files import load_style
from jaxstyle.images.arrays import Image
from jaxstyle.nets import transform_net
from jaxstyle.scaling import memory
from jaxstyle.scaling.sharding import Placement, put_replicated
from jaxstyle.training.recipes import TrainConfig
from jaxstyle.vgg import layers, network


class Inputs(NamedTuple):
    """What was read from files.

    Attributes:
        styles: the paintings as the VGG sees them.
        params: the VGG's.
        start: the net to start from, unless it is a new one.
        photos: what to train on.
        held_out: what to measure the loss on, ``[n, size, size, 3]``.
        report: which photos were repaired or skipped so far.
        configuration: all that shapes the numbers, for checkpoints.
    """

    styles: list[Image]
    params: network.VGGParams
    start: transform_net.Params | None
    photos: Source
    held_out: UInt8[np.ndarray, "n h w 3"]
    report: Report
    configuration: Mapping[str, Any]


def load_inputs(arguments: TrainOptions, settings: TrainConfig) -> Inputs:
    """Read and check the VGG, the paintings and the data."""
    params = load_params(settings.loss)
    _check_crops(settings.size, params)
    styles = load_styles(arguments.styles, settings.style_size, params)
    start = load_style(arguments.init) if arguments.init else None
    source = open_source(arguments.data, data_dir=arguments.data_dir)
    _check_count(source, batch=settings.batch, held_out=arguments.validation)
    photos, validation = hold_out(source, arguments.validation)
    report = Report()
    held_out = np.concatenate(
        list(validation_batches(validation, size=settings.size, batch=1, report=report))
    )
    cache = arguments.data_cache
    configuration = {
        **describe_settings(settings),
        "vgg": digest_params(params),
        "styles": [_digest_file(path) for path in arguments.styles],
        "data": photos.fingerprint,
        "data_cache": None if cache == NO_CACHE else cache,
        "seed": arguments.seed,
        "init": start and digest_params(start),
    }
    return Inputs(styles, params, start, photos, held_out, report, configuration)


def make_record(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> dict[str, Any]:
    """Record how a net is trained, for its file."""
    photos = inputs.photos
    return {
        "arguments": describe_options(arguments),
        "settings": describe_config(settings),
        "data": {"name": photos.name, "fingerprint": photos.fingerprint},
        "start": inputs.configuration["init"],
        "versions": versions(),
    }


def _check_crops(size: int, params: network.VGGParams) -> None:
    deepest, smallest = layers.layer_names(params)[-1], layers.smallest_side(params)
    if size < smallest:
        raise ValueError(
            f"--size {size} is too small: {deepest} needs {smallest} pixels or more"
        )


def _check_count(source: Source, *, batch: int, held_out: int) -> None:
    if len(source) < batch + held_out:
        raise ValueError(
            f"{source.name} holds {len(source)} images, too few for a batch of {batch} "
            f"beside {held_out} held out; use a smaller --batch or --validation"
        )


def _digest_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


# --- photos for the steps -----------------------------------------------------------


@contextmanager
def open_batches(
    inputs: Inputs, settings: TrainConfig, placement: Placement, *, seed: int, step: int
) -> Iterator[Iterator[jax.Array]]:
    """Open the batches after some step, which come to the devices ahead of use."""
    batches = make_batches(
        inputs.photos,
        size=settings.size,
        batch=settings.batch,
        seed=seed,
        start=step,
        report=inputs.report,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with closing(prefetch_to_device(batches, sharding=placement.batches)) as arrays:
        yield arrays


def cache_photos(
    inputs: Inputs,
    shapes: CachedPhotos,
    program: Any,
    placement: Placement,
    *,
    seed: int,
    quiet: bool,
) -> CachedPhotos:
    """Read all photos into the memory of each device.

    Args:
        inputs: the photos, and the report of the damaged ones.
        shapes: of the cached photos.
        program: what is to take them, compiled.
        placement: where photos are to lie.
        seed: of the order and of the crops.
        quiet: whether to show no progress.

    Raises:
        ValueError: memory does not suffice, or no photo can be decoded.
    """
    count, side, *_ = shapes.photos.shape
    photos = f"{count} photos of {side}x{side} pixels"
    gigabytes = memory.size_in_bytes(shapes.photos) / 1e9
    make_say(quiet=quiet)(f"{photos} take {gigabytes:.2f} GB on each device")
    what = f"{photos} beside the training"
    advice = "use fewer photos, a smaller --size, or no --data-cache"
    with explain_lack_of_memory(what=what, advice=advice):
        check_cache_fits(shapes, program, placement)
        blocks = read_squares(inputs.photos, side=side, report=inputs.report)
        images = _fill_memory(blocks, shapes.photos.shape, placement, quiet=quiet)
    return CachedPhotos(images, put_replicated(np.uint32(seed), placement))


def check_cache_fits(cached: CachedPhotos, program: Any, placement: Placement) -> None:
    """Raise a TooLargeError unless cached photos fit in memory beside a program.

    Args:
        cached: the photos, or their shapes.
        program: what is to take them, compiled.
        placement: where they are to lie; CPU devices share one memory.
    """
    on_cpu = jax.default_backend() == "cpu"
    copies = len(placement.batches.mesh.local_devices) if on_cpu else 1
    needed = copies * memory.size_in_bytes(cached.photos)
    free = memory.free_memory()
    if free is not None:
        memory.check_free(needed, max(0, free - memory.needed_memory(program)))


def _fill_memory(
    blocks: Batches, shape: tuple[int, ...], placement: Placement, *, quiet: bool
) -> jax.Array:
    """Join all blocks to one array on each device; the host holds only a few."""
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
