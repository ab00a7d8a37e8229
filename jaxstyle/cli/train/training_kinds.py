"""The two kinds of training: a net of one style, or of a blend, and a net of many."""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from jaxstyle.data.batches import Batches
from jaxstyle.files.style_files import save_style
from jaxstyle.files.trunk_files import save_trunk
from jaxstyle.images.arrays import Images
from jaxstyle.losses.config import LossConfig
from jaxstyle.nets.transform_net import stylize
from jaxstyle.training import loop, many_styles
from jaxstyle.training.many_styles import Pairs
from jaxstyle.vgg.layers import VGGParams

Squares: TypeAlias = UInt8[np.ndarray, "n size size 3"]


class Examples(NamedTuple):
    """Squares of paintings that are styles, and the VGG that describes them."""

    params: VGGParams
    squares: Squares


class Kind(NamedTuple):
    """What differs between them, as functions; a batch is of photos or of `Pairs`.

    Attributes:
        result: the name of the file with what was trained.
        make_step: as `jaxstyle.training.make_step`.
        evaluate: as `jaxstyle.training.evaluate`.
        paint: ``paint(params, vgg, batch)``, what pictures show of held-out photos.
        save: ``save(params, path, metadata=metadata)`` writes what was trained.
        shapes: ``shapes(shape)`` of a batch, for photos of this shape.
    """

    result: str
    make_step: Callable[..., loop.Step]
    evaluate: Callable[..., Any]
    paint: Callable[[Any, Any, Any], Images]
    save: Callable[..., None]
    shapes: Callable[[tuple[int, ...]], Any]


def _shape_one(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.uint8)


def _shape_pairs(shape: tuple[int, ...]) -> Pairs:
    return Pairs(_shape_one(shape), _shape_one(shape))


def _paint_one(params: Any, _: Any, photos: Squares) -> Images:
    return stylize(params, photos / jnp.float32(255))


def _paint_pairs(params: Any, vgg: Any, pairs: Pairs) -> Images:
    photos, paintings = (x / jnp.float32(255) for x in pairs)
    return many_styles.stylize_pairs(params, vgg, photos, paintings)


ONE = Kind(
    "style.safetensors",
    loop.make_step,
    loop.evaluate,
    jax.jit(_paint_one),
    save_style,
    _shape_one,
)

MANY = Kind(
    "trunk.safetensors",
    many_styles.make_many_step,
    many_styles.evaluate_many,
    jax.jit(_paint_pairs),
    save_trunk,
    _shape_pairs,
)

KINDS = (ONE, MANY)


def choose_kind(loss: LossConfig, paintings: int) -> Kind:
    """Choose the kind: several paintings without a blend are styles of their own."""
    return MANY if paintings > 1 and loss.blend is None else ONE


def pair_batches(photos: Batches, paintings: Batches) -> Generator[Pairs, None, None]:
    """Yield batches of photos and of paintings together; ``close`` closes both."""
    with closing(photos), closing(paintings):
        for pair in zip(photos, paintings, strict=True):
            yield Pairs(*pair)
