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
from jaxstyle.training.many_styles import Aims, Pairs
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
        paint: ``paint(params, batch)``, what pictures show of held-out photos.
        save: ``save(params, path, metadata=metadata)`` writes what was trained.
        advice: what to do with the result, for `str.format`.
    """

    result: str
    make_step: Callable[..., loop.Step]
    evaluate: Callable[..., Any]
    paint: Callable[[Any, Any], Images]
    save: Callable[..., None]
    advice: str


def _paint_one(params: Any, photos: Squares) -> Images:
    return stylize(params, photos / jnp.float32(255))


def _paint_pairs(params: Any, pairs: Pairs) -> Images:
    photos = pairs.photos / jnp.float32(255)
    return many_styles.stylize_pairs(params, pairs._replace(photos=photos))


ONE = Kind(
    "style.safetensors",
    loop.make_step,
    loop.evaluate,
    jax.jit(_paint_one),
    save_style,
    "jaxstyle stylize PHOTO --style {} -o picture.png",
)

MANY = Kind(
    "trunk.safetensors",
    many_styles.make_many_step,
    many_styles.evaluate_many,
    jax.jit(_paint_pairs),
    save_trunk,
    "jaxstyle train --style PAINTING --init {} -o FOLDER",
)

KINDS = (ONE, MANY)


def choose_kind(loss: LossConfig, paintings: int) -> Kind:
    """Choose the kind: several paintings without a blend are styles of their own."""
    return MANY if paintings > 1 and loss.blend is None else ONE


def pair_batches(
    photos: Batches,
    paintings: Batches,
    aim: Callable[[Squares], Aims],
    *,
    start: int,
    hold: int,
) -> Generator[Pairs, None, None]:
    """Yield batches of photos with what paintings give; ``close`` closes both.

    Args:
        photos: the batches from step ``start`` on.
        paintings: those from the ``start // hold``-th on.
        aim: measures paintings.
        start: the number of steps made.
        hold: the number of steps that a batch of paintings stays.
    """
    aims = None
    with closing(photos), closing(paintings):
        for step, batch in enumerate(photos, start):
            if aims is None or step % hold == 0:
                aims = aim(next(paintings))
            yield Pairs(batch, aims)
