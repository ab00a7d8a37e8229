"""Scenes: the images and masks that a picture is made from, at any scale."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxstyle.images.arrays import Image, check_image, fit_size
from jaxstyle.losses.targets import Mask, check_masks, check_styles


class Scene(NamedTuple):
    """The images behind a picture, as `jaxstyle.losses.make_targets` takes them."""

    content: Image
    styles: Sequence[Image]
    masks: Sequence[Mask] | None = None
    style_masks: Sequence[Mask | None] | None = None


def check_scene(scene: Scene) -> None:
    """Check the shapes of a scene, before `resize_scene` hides what is wrong."""
    check_image(scene.content, name="the content")
    check_styles(scene.styles)
    for style in scene.styles:
        check_image(style, name="a style")
    if scene.masks is not None:
        check_masks(scene.masks, [scene.content] * len(scene.styles), what="masks")
    if scene.style_masks is not None:
        check_masks(scene.style_masks, scene.styles, what="style masks")


def resize_scene(scene: Scene, longest: int, *, style_scale: float = 1.0) -> Scene:
    """Resize a scene for a picture of another longer side, in pixels.

    The longer side of styles becomes ``style_scale`` times that of the picture, but
    styles are never enlarged, which would show no finer strokes.
    """
    size = fit_size(scene.content.shape[:2], longest)
    most = round(style_scale * longest)
    styles = [
        resize_image(x, fit_size(x.shape[:2], min(most, max(x.shape[:2]))))
        for x in scene.styles
    ]
    masks, style_masks = scene.masks, scene.style_masks
    if masks is not None:
        masks = [resize_mask(mask, size) for mask in masks]
    if style_masks is not None:
        style_masks = [
            mask if mask is None else resize_mask(mask, style.shape[:2])
            for mask, style in zip(style_masks, styles, strict=True)
        ]
    return Scene(resize_image(scene.content, size), styles, masks, style_masks)


def resize_image(image: Image, size: tuple[int, ...]) -> Image:
    """Resize an image to another (height, width), in [0, 1].

    This is Keys' cubic with a = -0.5, antialiased when shrinking; Crowson enlarges with
    a = -0.75, which overshoots more at edges.
    """
    if image.shape[:2] == size:
        return image
    return jnp.clip(jax.image.resize(image, (*size, 3), "cubic"), 0, 1)


def resize_mask(mask: Mask, size: tuple[int, ...]) -> Mask:
    """Resize a mask; those that add up to 1 still do, as they are interpolated."""
    return jnp.asarray(jax.image.resize(mask, size, "linear"))


def in_masks(picture: Image, scene: Scene) -> Image:
    """Put the content of a scene where no mask covers it.

    The losses alone would leave these parts as they come from the coarser scales.
    """
    if scene.masks is None:
        return picture
    size = picture.shape[:2]
    cover = jnp.clip(jnp.stack(list(scene.masks)).sum(0), 0, 1)
    cover = jax.image.resize(cover, size, "linear")[..., None]
    content = resize_image(scene.content, size)
    return (1 - cover) * content + cover * picture


# --- images to start from -----------------------------------------------------------

Init: TypeAlias = Callable[[Image, Sequence[Image], Array], Image]


def _noise(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from uniform noise."""
    return jax.random.uniform(key, content.shape, content.dtype)


def _gray(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from mid gray, with too little noise to see, for flat areas."""
    return 0.5 + _noise(content, styles, key) / 255


def _style_stats(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from noise with the mean and the variance of the styles' pixels.

    They are those of each channel over all styles; the noise is normal and truncated to
    [0, 1], which shifts its mean and variance a little towards those of gray.
    """
    means = jnp.stack([style.mean((0, 1)) for style in styles])
    squares = jnp.stack([jnp.square(style).mean((0, 1)) for style in styles])
    mean = means.mean(0)
    deviation = jnp.sqrt(jnp.maximum(squares.mean(0) - jnp.square(mean), 1e-6))
    lower, upper = -mean / deviation, (1 - mean) / deviation
    normal = jax.random.truncated_normal(key, lower, upper, content.shape)
    return jnp.clip(mean + deviation * normal, 0, 1).astype(content.dtype)


INITS: Mapping[str, Init] = {
    "content": lambda content, styles, key: content,
    "noise": _noise,
    "gray": _gray,
    "style-stats": _style_stats,
}
"""The inits by name: ``init(content, styles, key) -> image``, of the content's size."""
