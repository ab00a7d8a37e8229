"""The images that ``jaxstyle optimize`` reads, as a scene at several scales."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle.cli.loss_inputs import check_size, load_masks, smallest_side
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.options import describe_config
from jaxstyle.cli.painted_styles import paint_scene
from jaxstyle.cli.runtime import versions
from jaxstyle.files.image_files import load_image, load_opacity
from jaxstyle.files.param_files import leaves
from jaxstyle.images import color
from jaxstyle.images.arrays import Image
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.optimize.pyramid import pyramid_sizes
from jaxstyle.optimize.scenes import INITS, Scene, resize_image, resize_scene
from jaxstyle.vgg import network

if TYPE_CHECKING:
    import PIL.Image

MATCH: Mapping[str, Callable[[Image, Image], Image]] = {
    "covariance": color.match_colors,
    "histogram": color.match_histograms,
}
"""Functions that give a painting the photo's colors."""


TRANSPORT = "transport"
"""The init that is painted like the paintings in one pass."""


class Inputs(NamedTuple):
    """The images of one picture, and a digest of them and of the network.

    Attributes:
        photo: the content in its own colors.
        scene: content, paintings and masks, at full size.
        sizes: the picture's longer side at every scale, from coarse to fine.
        style_scale: the paintings' longer side relative to the picture's.
        init: the image to start from, at the coarsest scale.
        opacity: that of the photo; ``None`` if it is opaque.
    """

    photo: Image
    scene: Scene
    sizes: tuple[int, ...]
    style_scale: float
    init: Image
    digest: str
    opacity: "PIL.Image.Image | None"


def load_all_inputs(
    variants: Sequence[OptimizeOptions], params: network.VGGParams
) -> list[Inputs]:
    """Read the images of each picture; nothing is read twice."""
    read = cache(lambda path, **sizes: jnp.asarray(load_image(path, **sizes)))
    loaded: dict[Hashable, Inputs] = {}
    keys = [(each.content, *each.styles, each.seed) for each in variants]
    for key, variant in zip(keys, variants, strict=True):
        if key not in loaded:
            loaded[key] = load_inputs(variant, params, read=read)
    return [loaded[key] for key in keys]


def load_inputs(
    arguments: OptimizeOptions, params: network.VGGParams, *, read: Callable[..., Image]
) -> Inputs:
    """Read the photo and the paintings with ``read``; check all for the network."""
    config = arguments.config
    size, style_scale = config.size, config.relative_style_size
    photo = read(arguments.content, longest_side=size)
    styles = [
        read(path, shrink_to=round(style_scale * size)) for path in arguments.styles
    ]
    check_size(arguments.content, photo, config.loss, params, option="--size")
    for path, style in zip(arguments.styles, styles, strict=True):
        check_size(path, style, config.loss, params, option="--style-size")
    scene = load_scene(arguments, photo, styles)
    sizes = choose_sizes(config, scene, params, style_scale=style_scale)
    coarsest = resize_scene(scene, sizes[0], style_scale=style_scale)
    init = load_init(config.init, coarsest, seed=arguments.seed)
    if config.preserve_color:
        init = color.luminance(init)
    digest = compute_digest((scene, init, sizes), params)
    opacity = load_opacity(arguments.content, photo.shape[:2])
    return Inputs(photo, scene, sizes, style_scale, init, digest, opacity)


def resize(inputs: Inputs, scale: int) -> Scene:
    """Resize the scene to a scale."""
    longest, style_scale = inputs.sizes[scale], inputs.style_scale
    return _resize(inputs.scene, longest, style_scale=style_scale)


_resize = jax.jit(resize_scene, static_argnames=("longest", "style_scale"))


def find_shapes(inputs: Inputs) -> Hashable:
    """Make a key that is equal for pictures that share their programs."""
    leaves, structure = jax.tree.flatten((inputs.scene, inputs.init))
    return structure, tuple(leaf.shape for leaf in leaves), inputs.sizes


def load_scene(arguments: OptimizeOptions, photo: Image, styles: list[Image]) -> Scene:
    """Match the colors of photo and paintings as requested; read their masks."""
    config, content = arguments.config, photo
    if config.match_color is not None:
        match = jax.jit(MATCH[config.match_color])
        styles = [match(style, photo) for style in styles]
    if config.preserve_color:
        content = color.luminance(photo)
        match = jax.jit(color.match_luminance)
        styles = [match(style, photo) for style in styles]
    masks = style_masks = None
    if arguments.masks is not None:
        masks = load_masks(arguments.masks, [content] * len(styles), option="--masks")
    if arguments.style_masks is not None:
        style_masks = load_masks(arguments.style_masks, styles, option="--style-masks")
    return Scene(content, styles, masks, style_masks)


def load_init(init: str, scene: Scene, *, seed: int) -> Image:
    """Make the image to start from: by name, or from a file resized to the content."""
    if init == TRANSPORT:
        return paint_scene(scene)
    if init in INITS:
        start = INITS[init](scene.content, scene.styles, jax.random.key(seed))
        return jnp.asarray(start)
    size = scene.content.shape[:2]
    image = jnp.asarray(load_image(init, longest_side=max(size)))
    return resize_image(image, size)


def choose_sizes(
    config: OptimizeConfig,
    scene: Scene,
    params: network.VGGParams,
    *,
    style_scale: float,
) -> tuple[int, ...]:
    """Choose the scales at which no image is too small for the network."""
    longest = max(scene.content.shape)
    if config.coarsest is None:
        return (longest,)
    sizes = pyramid_sizes(longest, smallest=config.coarsest, ratio=config.ratio)
    least = smallest_side(config.loss, params)

    def is_large_enough(size: int) -> bool:
        resize = jax.eval_shape(
            lambda scene: resize_scene(scene, size, style_scale=style_scale), scene
        )
        sides = (min(x.shape[:2]) for x in (resize.content, *resize.styles))
        return int(min(sides)) >= least

    return tuple(size for size in sizes if size == longest or is_large_enough(size))


def compute_digest(images: Any, params: network.VGGParams) -> str:
    """Compute a digest of a tree of images and of a network."""
    total = hashlib.sha256()
    total.update(str(jax.tree.structure(images)).encode())
    for name, array in [*enumerate(jax.tree.leaves(images)), *leaves(params)]:
        values = np.asarray(array)
        total.update(f"{name} {values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()[:16]


def describe(arguments: OptimizeOptions) -> dict[str, Any]:
    """Record the settings and versions that shape the numbers."""
    return {"settings": describe_config(arguments.config), **versions()}
