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
from jaxstyle.padded_nets import Sizes, stylize_padded
from jaxstyle.transform_net import Params, make_net

Paint: TypeAlias = Callable[[Params, Any, Any], jax.Array]
"""From a net's parameters, photos and their sizes to pictures, perhaps not done yet."""

Finish: TypeAlias = Callable[[Images, Images], Images]


def leave_colors(content: Images, stylized: Images) -> Images:
    """Return stylized images as they are, but for the clipping to [0, 1]."""
    return jnp.clip(stylized, 0, 1)


FINISHES: dict[bool, Finish] = {False: leave_colors, True: keep_colors}
"""What becomes of stylized images, by whether the photo's colours are preserved."""


def paint(
    params: Params, images: Images, sizes: Sizes, strength: ArrayLike, *, finish: Finish
) -> Images:
    """Stylize padded images, finish them, and mix them with what they were."""
    stylized = finish(images, stylize_padded(params, images, sizes))
    mixed: jax.Array = images + strength * (stylized - images)
    return mixed


def make_paint(*, strength: float, finish: Finish, say: Callable[[str], None]) -> Paint:
    """Return `paint`, compiled for each shape when that comes first."""
    program = jax.jit(partial(paint, finish=finish))
    compiled: dict[Any, Callable[..., jax.Array]] = {}

    def run(params: Params, images: Any, sizes: Any) -> jax.Array:
        shape = make_net(params), images.shape
        if shape not in compiled:
            number, height, width, _ = images.shape
            device = jax.devices()[0].device_kind
            several = f", {number} photos at a time," if number > 1 else ""
            say(f"compiling for {width}x{height} pixels{several} on {device} ...")
            started = time.perf_counter()
            lowered = program.lower(params, images, sizes, strength)
            compiled[shape] = lowered.compile()
            say(f"compiled in {time.perf_counter() - started:.1f} s")
        return compiled[shape](params, images, sizes, strength)

    return run
