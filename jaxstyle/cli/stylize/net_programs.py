"""The program that ``jaxstyle stylize`` runs on the device, compiled for each shape."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxstyle.cli.strategies import (
    WHOLE,
    Strategy,
    list_strategies,
    make_mesh,
    make_that_fits,
)
from jaxstyle.images.arrays import Images
from jaxstyle.images.color import keep_colors
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.padded import Sizes, stylize_padded, stylize_sharded
from jaxstyle.nets.tiled import stylize_tiled
from jaxstyle.nets.transform_net import stylize
from jaxstyle.scaling.memory import check_memory
from jaxstyle.scaling.sharding import replicated, sharded_first_axis

Paint: TypeAlias = Callable[[Params, Any, Any], jax.Array]
"""From a net's parameters, photos and their sizes to pictures, perhaps not done yet."""

Finish: TypeAlias = Callable[[Images, Images], Images]


def leave_colors(content: Images, stylized: Images) -> Images:
    """Return stylized images as they are, but for the clipping to [0, 1]."""
    return jnp.clip(stylized, 0, 1)


FINISHES: dict[bool, Finish] = {False: leave_colors, True: keep_colors}
"""What becomes of stylized images, by whether the photo's colors are preserved."""


def paint(
    params: Params, images: Images, sizes: Sizes, strength: ArrayLike, *, finish: Finish
) -> Images:
    """Stylize padded images, finish them, and mix them with what they were."""
    stylized = finish(images, stylize_padded(params, images, sizes))
    mixed: jax.Array = images + strength * (stylized - images)
    return mixed


def paint_alone(
    params: Params,
    images: Images,
    strength: ArrayLike,
    *,
    finish: Finish,
    stylize: Callable[[Params, Images], Images],
) -> Images:
    """Do what `paint` does for one image that fills its array.

    Args:
        params: a net's parameters.
        images: the image.
        strength: of the style.
        finish: a value of `FINISHES`.
        stylize: does what `jaxstyle.stylize` does.
    """
    stylized = finish(images, stylize(params, images[0])[None])
    mixed: jax.Array = images + strength * (stylized - images)
    return mixed


class Painter:
    """What paints; it compiles for each shape when that comes first."""

    def __init__(
        self,
        *,
        strength: float,
        finish: Finish,
        devices: int | None,
        tile: int | None,
        say: Callable[[str], object],
    ) -> None:
        """Get ready.

        Args:
            strength: of the style.
            finish: a value of `FINISHES`.
            devices: how many share batches, and divide the rows of a single photo. By
                default one paints, and all those photos that its memory does not
                suffice for.
            tile: the side of the tiles for single photos that are larger. By default
                those are painted in tiles that memory does not suffice for otherwise.
            say: tells what is compiled.
        """
        self._strength, self._finish = strength, finish
        self._devices, self._tile, self._say = devices, tile, say
        self._programs: dict[Any, Paint] = {}

    def __call__(self, params: Params, images: Any, sizes: Any) -> jax.Array:
        """Return photos in the style of a net."""
        key = _signature(params), images.shape
        if key not in self._programs:
            self._programs[key] = self._choose(params, images, sizes)
        return self._programs[key](params, images, sizes)

    def _choose(self, params: Params, images: Any, sizes: Any) -> Paint:
        """Return what paints photos of a shape."""
        number, height, width, _ = images.shape
        if number > 1:
            return self._share(params, images, sizes)
        strategies = list_strategies(
            self._devices, self._tile, longest=max(height, width)
        )

        def make(strategy: Strategy) -> Paint:
            if strategy == WHOLE:
                return self._share(params, images, sizes)
            self._program_alone(strategy, params, _cut(images, sizes))
            return partial(self._paint_alone, strategy)

        return make_that_fits(strategies, make, self._say)

    def _share(self, params: Params, images: Any, sizes: Any) -> Paint:
        """Compile for a batch of photos of which devices have equal shares."""
        number, height, width, _ = images.shape
        several = f", {number} photos at a time," if number > 1 else ""
        where = find_places(make_mesh(self._devices or 1) if number > 1 else None)
        program = self._build(
            jax.jit(partial(paint, finish=self._finish), in_shardings=where),
            f"{width}x{height} pixels{several}",
            *(params, images, sizes, self._strength),
        )
        return lambda *given: program(*given, self._strength)

    def _paint_alone(
        self, strategy: Strategy, params: Params, images: Any, sizes: Any
    ) -> jax.Array:
        """Paint a photo, without what is beyond it in its array."""
        image = _cut(images, sizes)
        program = self._program_alone(strategy, params, image)
        painted: jax.Array = program(params, image, self._strength)
        return painted

    def _program_alone(self, strategy: Strategy, params: Params, image: Any) -> Any:
        """Return the program for a photo that fills its array."""
        key = _signature(params), image.shape, strategy
        if key not in self._programs:
            _, height, width, _ = image.shape
            function = partial(
                paint_alone, finish=self._finish, stylize=make_stylize(strategy)
            )
            self._programs[key] = self._build(
                jax.jit(function),
                f"{width}x{height} pixels {strategy}",
                *(params, image, self._strength),
                devices=strategy.devices,
            )
        return self._programs[key]

    def _build(self, function: Any, what: str, *given: Any, devices: int = 1) -> Any:
        self._say(f"compiling for {what} on {jax.devices()[0].device_kind} ...")
        started = time.perf_counter()
        program = function.lower(*given).compile()
        self._say(f"compiled in {time.perf_counter() - started:.1f} s")
        check_memory(program, devices=devices)
        return program


def _signature(params: Params) -> Any:
    """Compute what differs for parameters that need different programs."""
    leaves, structure = jax.tree.flatten(params)
    return structure, tuple(leaf.shape for leaf in leaves)


def _cut(images: Any, sizes: Any) -> Any:
    """Return a single photo without what is beyond it."""
    height, width = sizes[0]
    return images[:, :height, :width]


def make_stylize(strategy: Strategy) -> Callable[[Params, Images], Images]:
    """Return what does for one image what `jaxstyle.stylize` does, in a strategy."""
    if strategy.mesh is not None:
        return partial(stylize_sharded, mesh=strategy.mesh)
    return (
        stylize if strategy.tile is None else partial(stylize_tiled, tile=strategy.tile)
    )


def find_places(mesh: Mesh | None) -> Any:
    """Return where the arguments of `paint` lie for devices that share a batch."""
    if mesh is None:
        return None
    whole, shared = replicated(mesh), sharded_first_axis(mesh)
    return whole, shared, shared, whole
