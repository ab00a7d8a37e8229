"""What the loss compares images with: networks, paintings and masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxstyle.files.image_files import load_image
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.images.arrays import Image, check_proportions
from jaxstyle.images.color import luminance
from jaxstyle.losses.config import LossConfig
from jaxstyle.losses.targets import Mask
from jaxstyle.optimize.scenes import resize_image
from jaxstyle.scaling.sharding import replicated
from jaxstyle.vgg import layers as vgg_layers, params as vgg_params
from jaxstyle.vgg.layers import VGGParams


def check_blend(loss: LossConfig, styles: Sequence[str]) -> None:
    """Raise a ValueError unless a blend has one share per painting."""
    by_layer = (
        loss.blend if isinstance(loss.blend, Mapping) else {"": loss.blend or styles}
    )
    for shares in by_layer.values():
        if len(shares) != len(styles):
            raise ValueError(
                f"--blend needs one number per painting: {len(styles)}, "
                f"got {len(shares)}"
            )


def load_params(loss: LossConfig) -> VGGParams:
    """Load the network's parameters, normalized and as deep as the layers require."""
    layers = (*loss.content, *loss.style)
    params = vgg_params.truncate(load_vgg(loss.vgg), layers)
    if loss.activations == "raw":
        return params
    return vgg_params.normalize(params, per=loss.activations)


def prepare(params: VGGParams, mesh: Mesh | None = None) -> VGGParams:
    """Put a network on the device, or on each of a mesh, in the form that suits it."""
    if mesh is None and jax.default_backend() == "cpu":
        params = jax.jit(vgg_params.prepare_for_cpu)(params)
    return jax.device_put(params, None if mesh is None else replicated(mesh))


def smallest_side(loss: LossConfig, params: VGGParams) -> int:
    """Find the smallest height and width of images for the loss at all its scales."""
    return int(vgg_layers.smallest_side(params) * 2 ** (loss.scales - 1))


def load_paintings(
    paths: Sequence[str], size: int, loss: LossConfig, params: VGGParams
) -> list[Image]:
    """Read paintings at a longer side, each large enough as it is for the network."""

    def load(path: str) -> Image:
        image = load_image(path, shrink_to=size)
        check_size(path, jnp.asarray(image), loss, params, option="--style-size")
        if max(image.shape[:2]) < size:
            image = load_image(path, longest_side=size)
        return jnp.asarray(image)

    return [load(path) for path in paths]


def check_size(
    path: str, image: Image, loss: LossConfig, params: VGGParams, *, option: str
) -> None:
    """Raise a ValueError if an image is too small for the network's deepest layer."""
    deepest, smallest = vgg_layers.layer_names(params)[-1], smallest_side(loss, params)
    height, width, _ = image.shape
    if min(height, width) < smallest:
        raise ValueError(
            f"{path} at {width}x{height} pixels is too small for {deepest}, "
            f"which needs {smallest}x{smallest}; use a larger {option} or image"
        )


NO_MASK = "all"
"""The style mask of a painting that counts as a whole."""


def load_masks(
    paths: Sequence[str], images: Sequence[Image | None], *, option: str
) -> list[Any]:
    """Read a mask for each painting, at the size of its image if there is one.

    ``--style-masks`` may be `NO_MASK`.
    """
    if len(paths) != len(images):
        raise ValueError(
            f"{option} needs one image per painting: {len(images)}, got {len(paths)}"
        )
    return [
        None
        if path == NO_MASK and option == "--style-masks"
        else load_mask(path, image)
        for path, image in zip(paths, images, strict=True)
    ]


def load_mask(path: str, image: Image | None) -> Mask:
    """Read a mask, resized to an image if one is given.

    A ValueError says if it is black all over, or of other proportions.
    """
    mask = luminance(jnp.asarray(load_image(path)))
    if image is not None:
        check_proportions(mask.shape[:2], image.shape[:2], name=f"the mask {path}")
        mask = resize_image(mask, image.shape[:2])
    if not mask.any():
        raise ValueError(f"the mask {path} is black all over: it would mask everything")
    return mask[..., 0]
