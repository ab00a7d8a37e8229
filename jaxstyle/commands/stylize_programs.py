"""The program that ``jaxstyle stylize`` runs on the device, compiled for each shape."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxstyle.color import keep_colors
from jaxstyle.images import Images
from jaxstyle.memory import TooLargeError, check_memory
from jaxstyle.padded_nets import Sizes, stylize_padded
from jaxstyle.tiled_nets import stylize_tiled
from jaxstyle.transform_net import Params, make_net

Paint: TypeAlias = Callable[[Params, Any, Any], jax.Array]
"""From a net's parameters, photos and their sizes to pictures, perhaps not done yet."""

Finish: TypeAlias = Callable[[Images, Images], Images]


def leave_colors(content: Images, stylized: Images) -> Images:
    """Return stylized images as they are, but for the clipping to [0, 1]."""
    return jnp.clip(stylized, 0, 1)


TILE = 512
"""The side of tiles where it is not given."""

FINISHES: dict[bool, Finish] = {False: leave_colors, True: keep_colors}
"""What becomes of stylized images, by whether the photo's colours are preserved."""


def paint(
    params: Params, images: Images, sizes: Sizes, strength: ArrayLike, *, finish: Finish
) -> Images:
    """Stylize padded images, finish them, and mix them with what they were."""
    stylized = finish(images, stylize_padded(params, images, sizes))
    mixed: jax.Array = images + strength * (stylized - images)
    return mixed


def paint_tiled(
    params: Params, images: Images, strength: ArrayLike, *, finish: Finish, tile: int
) -> Images:
    """Do what `paint` does for one image that fills its array, tile by tile."""
    stylized = finish(images, stylize_tiled(params, images[0], tile=tile)[None])
    mixed: jax.Array = images + strength * (stylized - images)
    return mixed


def make_paint(
    *, strength: float, finish: Finish, tile: int | None, say: Callable[[str], None]
) -> Paint:
    """Return what paints; it compiles for each shape when that comes first.

    Args:
        strength: of the style.
        finish: a value of `FINISHES`.
        tile: the side of the tiles for single photos that are larger. Without it, only
            those are painted in tiles that memory does not suffice for.
        say: tells what is compiled.
    """
    whole = jax.jit(partial(paint, finish=finish))
    tiled = jax.jit(partial(paint_tiled, finish=finish, tile=tile or TILE))
    programs: dict[Any, Paint] = {}

    def run(params: Params, images: Any, sizes: Any) -> jax.Array:
        key = make_net(params), images.shape
        if key not in programs:
            programs[key] = choose(params, images, sizes)
        return programs[key](params, images, sizes)

    def choose(params: Params, images: Any, sizes: Any) -> Paint:
        number, height, width, _ = images.shape
        if number == 1 and tile and max(height, width) > tile:
            return run_tiled
        several = f", {number} photos at a time," if number > 1 else ""
        what = f"{width}x{height} pixels{several}"
        try:
            program = build(whole, what, params, images, sizes, strength)
        except TooLargeError as error:
            if number > 1:
                raise
            say(f"{error}: painting in tiles")
            return run_tiled
        return lambda *given: program(*given, strength)

    def run_tiled(params: Params, images: Any, sizes: Any) -> jax.Array:
        height, width = sizes[0]
        image = images[:, :height, :width]
        key = make_net(params), image.shape, "tiled"
        if key not in programs:
            what = f"{width}x{height} pixels in tiles"
            programs[key] = build(tiled, what, params, image, strength)
        return programs[key](params, image, strength)

    def build(function: Any, what: str, *given: Any) -> Any:
        say(f"compiling for {what} on {jax.devices()[0].device_kind} ...")
        started = time.perf_counter()
        program = function.lower(*given).compile()
        say(f"compiled in {time.perf_counter() - started:.1f} s")
        check_memory(program)
        return program

    return run
