"""Paintings as styles of ``jaxstyle stylize``: images, and files that describe them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.cli.loading import Shares, Style, mixture_name
from jaxstyle.cli.loss_inputs import load_masks
from jaxstyle.files.image_decoding import SUFFIXES
from jaxstyle.files.image_files import load_image
from jaxstyle.files.transport_files import load_painting, load_transport
from jaxstyle.images.arrays import Image, Images, check_proportions
from jaxstyle.kernels.borders import Sizes
from jaxstyle.nets.networks import Network
from jaxstyle.optimize.scenes import Scene, resize_mask
from jaxstyle.transport.encoder import SMALLEST_SIDE
from jaxstyle.transport.paintings import Painting, describe, mix
from jaxstyle.transport.stylization import (
    Region,
    Target,
    hold,
    stylize,
    stylize_padded,
    stylize_sharded,
    stylize_tiled,
)

SMALLEST_PAINTING = 32
"""The least height and width of an image of a painting, in pixels."""


def load_painted(shares: Shares, *, size: int, strength: float) -> Style:
    """Make a style of a painting, or of the mixture of several.

    Images are shrunk to a longer side of ``size`` pixels; the strength is from 0 to 1.
    A ValueError says if a file is damaged, or an image is too small.
    """
    paintings = [
        describe_image(path, size=size)
        if path.suffix.lower() in SUFFIXES
        else load_painting(path)
        for path in shares
    ]
    target = jax.jit(mix)(paintings, list(shares.values()))
    return make_style(mixture_name(shares), tuple(shares), target, strength=strength)


def join_regions(
    styles: Sequence[Style], masks: Sequence[str], *, strength: float
) -> Style:
    """Make one style of several paintings, each in a region of the photo.

    A ValueError says if there are not as many masks, one is black all over, or a style
    is a net.
    """
    if nets := [style.name for style in styles if style.network is not TRANSPORT]:
        raise ValueError(
            f"--masks needs paintings, and {nets[0]} is a net; give an image of the "
            "painting instead"
        )
    targets = [style.params["target"] for style in styles]
    loaded = load_masks(masks, [None] * len(styles), option="--masks")
    regions = list(map(Region, targets, loaded))
    paths = [path for style in styles for path in style.paths]
    name = "+".join(style.name for style in styles)
    return make_style(name, (*paths, *map(Path, masks)), regions, strength=strength)


def make_style(
    name: str, paths: tuple[Path, ...], target: Target, *, strength: float
) -> Style:
    """Make a style of what photos are painted like."""
    params = {"transport": _transport(), "target": target, "strength": strength}
    network = TRANSPORT if isinstance(target, Mapping) else REGIONS
    return Style(name, paths, jax.device_put(params), network)


_transport = cache(load_transport)


def paint_scene(scene: Scene) -> Image:
    """Paint the content like the styles, mixed equally, or each in its region.

    A ValueError says if an image is too small.
    """
    sides = [min(x.shape[:2]) for x in (scene.content, *scene.styles)]
    if min(sides) < SMALLEST_SIDE:
        raise ValueError(
            f"--init transport needs images of {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels "
            "or more at the coarsest scale; use a larger --coarsest"
        )
    masks = scene.style_masks or [None] * len(scene.styles)
    describe_all = jax.jit(describe)
    paintings = [
        describe_all(_transport(), style, mask)
        for style, mask in zip(scene.styles, masks, strict=True)
    ]
    target: Target = jax.jit(mix)(paintings, [1.0] * len(paintings))
    if scene.masks is not None:
        target = list(map(Region, paintings, scene.masks))
    painted = jax.jit(stylize)(_transport(), scene.content, target)
    return jnp.clip(painted, 0, 1)


# --- reading ------------------------------------------------------------------------


def describe_image(path: Path, *, size: int) -> Painting:
    """Describe an image of a painting; a ValueError if it is damaged, or too small."""
    image = load_image(path, shrink_to=size)
    height, width, _ = image.shape
    if min(height, width) < SMALLEST_PAINTING:
        raise ValueError(
            f"the painting {path} at {width}x{height} pixels is too small: at least "
            f"{SMALLEST_PAINTING}x{SMALLEST_PAINTING} are needed"
        )
    if np.ptp(image, axis=(0, 1)).max() == 0:
        print(
            f"{path} is of a single color: photos get this color, and nothing else",
            file=sys.stderr,
        )
    return jax.jit(describe)(_transport(), jnp.asarray(image))


# --- the network --------------------------------------------------------------------


def fit_target(target: Any, images: Images) -> Target:
    """Resize the masks of regions to images of nearly the same proportions."""
    if isinstance(target, Mapping):
        return target
    size = images.shape[-3:-1]
    for _, mask in target:
        check_proportions(mask.shape, size)
    return [Region(painting, resize_mask(mask, size)) for painting, mask in target]


def _paint(
    paint: Callable[..., Images], params: Mapping[str, Any], images: Images, **how: Any
) -> Images:
    target, strength = fit_target(params["target"], images), params["strength"]
    return paint(params["transport"], images, target, strength=strength, **how)


def _paint_padded(params: Mapping[str, Any], images: Images, sizes: Sizes) -> Images:
    transport, target = params["transport"], params["target"]
    strength = params["strength"]
    return stylize_padded(transport, images, target, sizes, strength=strength)


def _hold(params: Mapping[str, Any], images: Images) -> Mapping[str, Any]:
    target, strength = fit_target(params["target"], images), params["strength"]
    held = hold(params["transport"], images, target, strength=strength)
    return {**params, "target": held}


TRANSPORT = Network(
    apply=partial(_paint, stylize),
    smallest_side=SMALLEST_SIDE,
    padded=_paint_padded,
    sharded=partial(_paint, stylize_sharded),
    tiled=partial(_paint, stylize_tiled),
    hold=_hold,
)
"""What paints like any painting; its parameters hold the painting, too."""

REGIONS = replace(TRANSPORT, padded=None)
"""What paints in regions, whose masks belong to photos of one size."""
