"""Scenes: the images and masks that a picture is made from, at any scale."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxstyle.images.arrays import Image, check_image, fit_size
from jaxstyle.losses.objective import (
    DEFAULT_EXECUTION,
    DEFAULT_OBJECTIVE,
    Execution,
    Objective,
    StyleWeights,
    Weights,
)
from jaxstyle.losses.targets import Mask, Targets, check_masks, make_targets
from jaxstyle.vgg import network


class Scene(NamedTuple):
    """The images behind a picture, as `jaxstyle.losses.make_targets` takes them."""

    content: Image
    styles: Sequence[Image]
    masks: Sequence[Mask] | None = None
    style_masks: Sequence[Mask | None] | None = None


def check_scene(scene: Scene) -> None:
    """Raise unless a scene has single images, with masks of their sizes if any.

    It is for before `resize_scene`, which would hide what is wrong.
    """
    check_image(scene.content, name="the content")
    for style in scene.styles:
        check_image(style, name="a style")
    if scene.masks is not None:
        check_masks(scene.masks, [scene.content] * len(scene.styles), what="masks")
    if scene.style_masks is not None:
        check_masks(scene.style_masks, scene.styles, what="style masks")


def make_scene_targets(
    params: network.Params,
    scene: Scene,
    weights: Weights,
    *,
    style_weights: StyleWeights | None = None,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
) -> Targets:
    """Return what a picture of a scene is to be compared with; see `make_targets`."""
    return make_targets(
        params,
        scene.content,
        scene.styles,
        weights,
        style_weights=style_weights,
        masks=scene.masks,
        style_masks=scene.style_masks,
        objective=objective,
        execution=execution,
    )


def resize_scene(scene: Scene, longest: int, *, style_scale: float = 1.0) -> Scene:
    """Return a scene for a picture of another longer side, in pixels.

    Styles come to ``style_scale`` times as much on their longer side, or stay as they
    are where that is more than they have: enlarged, they would show no finer strokes.
    """
    height, width, _ = scene.content.shape
    size = fit_size(height, width, longest)
    styles = [_shrink(style, round(style_scale * longest)) for style in scene.styles]
    masks, style_masks = scene.masks, scene.style_masks
    if masks is not None:
        masks = [_resize_mask(mask, size) for mask in masks]
    if style_masks is not None:
        style_masks = [
            mask if mask is None else _resize_mask(mask, style.shape[:2])
            for mask, style in zip(style_masks, styles, strict=True)
        ]
    return Scene(resize_image(scene.content, size), styles, masks, style_masks)


def resize_image(image: Image, size: tuple[int, int]) -> Image:
    """Return an image of another (height, width), in [0, 1].

    By Keys' cubic with a = -0.5, averaging over more pixels where it shrinks; Crowson's
    enlarges with a = -0.75, which overshoots more at edges.
    """
    if image.shape[:2] == size:
        return image
    resized: Image = jax.image.resize(image, (*size, 3), "cubic")
    return jnp.clip(resized, 0, 1)


def _shrink(style: Image, longest: int) -> Image:
    height, width, _ = style.shape
    return resize_image(
        style, fit_size(height, width, min(longest, max(height, width)))
    )


def _resize_mask(mask: Mask, size: tuple[int, ...]) -> Mask:
    resized: Mask = jax.image.resize(mask, size, "linear")
    return resized
