"""How ``jaxstyle stylize`` computes: photos in batches, by programs that fit in memory.

The network of a style says how one image is computed (see `jaxstyle.nets.Network`); it
is compiled for each shape of a batch.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.stages import Compiled
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from jaxstyle.cli import runtime
from jaxstyle.cli.loading import Style
from jaxstyle.cli.stylize.full_size import Finish, Picture
from jaxstyle.cli.stylize.photos import LoadedPhoto, Photo, Size
from jaxstyle.images.arrays import Images
from jaxstyle.images.color import keep_colors
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.networks import Network
from jaxstyle.scaling.memory import (
    WHOLE,
    Strategy,
    check_memory,
    list_strategies,
    make_that_fits,
    return_freed_memory,
)
from jaxstyle.scaling.sharding import replicated, sharded_first_axis

STEP = 64
"""The sides of arrays are multiples of this if photos differ in size."""

BATCH_PIXELS = 2**20
"""The most pixels of a batch on one device, unless a single photo has more."""

# --- batches ------------------------------------------------------------------------


class Batch(NamedTuple):
    """Photos in the upper left of black arrays, with their sizes unless they fill them.

    The last photo also fills up the batch.
    """

    photos: Sequence[LoadedPhoto]
    images: Float[np.ndarray, "n h w 3"]
    sizes: Int[np.ndarray, "n 2"] | None

    def crop(self, images: Float[np.ndarray, "n h w 3"]) -> list[Picture]:
        """Crop each image of such a batch to its size."""
        if self.sizes is None:
            return list(images)
        return [
            image[:height, :width]
            for image, (height, width) in zip(images, self.sizes, strict=True)
        ]


class Batching(NamedTuple):
    """Photos in the order of batches, and how many of an array's size are in a batch.

    The sides of arrays are multiples of ``step``.
    """

    photos: Sequence[Photo]
    step: int
    counts: Mapping[Size, int]


def plan_batches(
    sizes: Mapping[Photo, Size | None], networks: Sequence[Network], devices: int
) -> Batching:
    """Put photos of known heights and widths into batches, shared by devices.

    Each shape is another program, so photos of several sizes are padded to few shapes,
    if all networks can run on padded images. Pictures do not depend on that: see
    `jaxstyle.nets.padded`.
    """
    several = len({*sizes.values()} - {None}) > 1
    padded = all(network.padded is not None for network in networks)
    step = STEP if several and padded else 1
    shapes = {photo: _pad(size or (0, 0), step) for photo, size in sizes.items()}
    known = [shapes[photo] for photo, size in sizes.items() if size]
    counts = dict.fromkeys(known, 1)
    for (height, width), number in Counter(known).items():
        most = BATCH_PIXELS // (height * width)  # on each device
        if number > 1 and most > 1:
            counts[height, width] = devices * min(most, -(-number // devices))
    return Batching(sorted(sizes, key=shapes.__getitem__), step, counts)


def _pad(size: Size, step: int) -> Size:
    height, width = size
    return height + -height % step, width + -width % step


def make_batches(photos: Iterable[LoadedPhoto], batching: Batching) -> Iterator[Batch]:
    """Stack consecutive photos whose arrays have one size.

    The last photo fills up a batch that is too small, since another number of photos
    would be another program. A photo whose size the header of its file does not tell is
    a batch of its own.
    """

    def padded(photo: LoadedPhoto) -> Size:
        height, width, _ = photo.image.shape
        return _pad((height, width), batching.step)

    for shape, group in groupby(photos, padded):
        count = batching.counts.get(shape, 1)
        while batch := list(islice(group, count)):
            images = np.zeros((count, *shape, 3), np.float32)
            filled = [photo.image for photo in batch]
            filled += filled[-1:] * (count - len(filled))
            for array, image in zip(images, filled, strict=True):
                array[: image.shape[0], : image.shape[1]] = image
            sizes = np.array([image.shape[:2] for image in filled], np.int32)
            yield Batch(batch, images, None if batching.step == 1 else sizes)


# --- programs -----------------------------------------------------------------------


class PaintOptions(Protocol):
    """The options that say how pictures are painted, as in `StylizeOptions`."""

    @property
    def strength(self) -> float: ...  # noqa: D102
    @property
    def passes(self) -> int: ...  # noqa: D102
    @property
    def preserve_color(self) -> bool: ...  # noqa: D102
    @property
    def devices(self) -> int | None: ...  # noqa: D102
    @property
    def tile(self) -> int | None: ...  # noqa: D102


def clip_colors(content: Images, stylized: Images) -> Images:
    """Clip stylized images to [0, 1]."""
    return jnp.clip(stylized, 0, 1)


def choose_finish(options: PaintOptions) -> Finish:
    """Choose how pictures come to [0, 1]: clipped, or with the photo's colors."""
    return keep_colors if options.preserve_color else clip_colors


def paint(
    network: Network,
    strategy: Strategy,
    finish: Finish,
    passes: int,
    params: Params,
    images: Images,
    sizes: Any,
    strength: ArrayLike,
) -> Images:
    """Stylize images, finish them in [0, 1], and mix them with the originals.

    What comes before the parameters is static: equal ones are traced once.
    """

    def stylize(x: Images) -> Images:
        return network.run(params, jnp.clip(x, 0, 1), sizes, strategy)

    if passes == 1:
        stylized = stylize(images)
    else:  # a loop, which is compiled once
        stylized = lax.fori_loop(0, passes, lambda _, x: stylize(x), images)
    stylized = finish(images, stylized)
    return images + strength * (stylized - images)


@dataclass
class Painter:
    """Stylizes batches; it compiles a program when a shape comes first, and says so.

    It keeps only the programs of the last shape.

    Devices share batches, or the rows of a single photo. By default one device is used,
    and photos that are too large for its memory use all devices, or tiles.
    """

    options: PaintOptions
    say: Callable[[str], object]
    _strategies: dict[Any, Strategy] = field(default_factory=dict, init=False)
    _programs: dict[Any, Compiled] = field(default_factory=dict, init=False)
    _shape: tuple[int, ...] = field(default=(), init=False)

    def __call__(self, style: Style, batch: Batch) -> jax.Array:
        """Begin to stylize a batch; a TooLargeError if no strategy fits in memory."""
        key = _structure(style), batch.images.shape
        if batch.images.shape != self._shape:
            self._forget_programs()
            self._shape = batch.images.shape
        if key not in self._strategies:
            self._strategies[key] = self._choose(style, batch)
        program, arguments = self._prepare(self._strategies[key], style, batch)
        return program(*arguments)

    def _forget_programs(self) -> None:
        """Free the memory of programs: photos come in the order of their shapes."""
        if self._programs:
            self._programs.clear()
            jax.clear_caches()  # JAX keeps them, too
            return_freed_memory()

    def _choose(self, style: Style, batch: Batch) -> Strategy:
        """Choose the first strategy whose program fits in memory."""
        number, *sides, _ = batch.images.shape
        if number > 1:
            return WHOLE
        devices, tile = self.options.devices, self.options.tile
        strategies = list_strategies(devices, tile, longest=max(sides))
        known = list(filter(style.network.supports, strategies)) or [WHOLE]

        def make(strategy: Strategy) -> Strategy:
            self._prepare(strategy, style, batch)
            return strategy

        return make_that_fits(known, make, self.say)

    def _prepare(
        self, strategy: Strategy, style: Style, batch: Batch
    ) -> tuple[Compiled, tuple[Any, ...]]:
        """Compile the program for a batch once, and list its arguments."""
        images, sizes = batch.images, batch.sizes
        if strategy != WHOLE and sizes is not None:
            height, width = sizes[0]
            images, sizes = images[:, :height, :width], None
        # Paintings know their own strength.
        strength = 1.0 if "strength" in style.params else self.options.strength
        arguments = style.params, images, sizes, strength
        key = _structure(style), images.shape, strategy
        if key not in self._programs:
            self._programs[key] = self._compile(style.network, strategy, *arguments)
        return self._programs[key], arguments

    def _compile(
        self, network: Network, strategy: Strategy, *arguments: Any
    ) -> Compiled:
        _, images, *_ = arguments
        number, height, width, _ = images.shape
        what = f"{width}x{height} pixels"
        if number > 1:
            what += f", {number} photos at a time,"
        elif strategy != WHOLE:
            what += f" {strategy}"
        line = f"compiling for {what} on {jax.devices()[0].device_kind} ..."
        mesh = Strategy((self.options.devices or 1) if number > 1 else 1).mesh
        shardings = None
        if mesh is not None:
            whole, shared = replicated(mesh), sharded_first_axis(mesh)
            shardings = (whole, shared, shared, whole)
        jitted = jax.jit(paint, static_argnums=(0, 1, 2, 3), in_shardings=shardings)
        how = network, strategy, choose_finish(self.options), self.options.passes
        started = time.perf_counter()
        with runtime.if_slow(self.say, line):
            program = jitted.lower(*how, *arguments).compile()
        if (seconds := time.perf_counter() - started) > runtime.PATIENCE:
            self.say(f"compiled in {seconds:.1f} s")
        check_memory(program, devices=strategy.devices)
        return program


def _structure(style: Style) -> Any:
    """Make a key that is equal for styles that the same programs compute."""
    leaves, structure = jax.tree.flatten(style.params)
    return style.network, structure, tuple((x.shape, x.dtype) for x in leaves)
