"""Networks and paintings that ``optimize`` and ``train`` load for the loss."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from jaxstyle.files.image_files import load_image
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.images.arrays import Image
from jaxstyle.losses.config import LossConfig
from jaxstyle.losses.objective import StyleWeights
from jaxstyle.vgg import layers as vgg_layers, network, params as vgg_params


def check_blend(blend: StyleWeights | None, styles: Sequence[str]) -> None:
    """Raise a ValueError unless a blend has one share per painting."""
    by_layer = blend if isinstance(blend, Mapping) else {"": blend or styles}
    for shares in by_layer.values():
        if len(shares) != len(styles):
            raise ValueError(
                f"--blend needs one number per painting: {len(styles)}, "
                f"got {len(shares)}"
            )


def load_params(loss: LossConfig) -> network.VGGParams:
    """Load the network's parameters, normalized and as deep as the layers require."""
    layers = (*loss.content, *loss.style)
    params = vgg_params.truncate(load_vgg(loss.vgg), layers)
    if loss.activations == "raw":
        return params
    return vgg_params.normalize(params, per=loss.activations)


def load_styles(
    paths: Sequence[str], size: int, params: network.VGGParams
) -> list[Image]:
    """Read paintings at a longer side, each large enough for the network."""
    styles = [jnp.asarray(load_image(path, longest_side=size)) for path in paths]
    for path, style in zip(paths, styles, strict=True):
        check_size(path, style, params, option="--style-size")
    return styles


def check_size(
    path: str, image: Image, params: network.VGGParams, *, option: str
) -> None:
    """Raise a ValueError if an image is too small for the network's deepest layer."""
    deepest = vgg_layers.layer_names(params)[-1]
    smallest = vgg_layers.smallest_side(params)
    height, width, _ = image.shape
    if min(height, width) < smallest:
        raise ValueError(
            f"{path} at {width}x{height} pixels is too small for {deepest}, "
            f"which needs {smallest}x{smallest}; use a larger {option} or image"
        )
