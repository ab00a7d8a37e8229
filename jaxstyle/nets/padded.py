"""Transform nets on images in larger arrays, as if each image were alone in its own.

Programs are compiled for one size of arrays. To run images of many sizes through few
programs, they are laid into the upper left of larger arrays. What the net would make of
that is another picture, since instance norm sees what lies beyond the image, and
convolutions do at its edge. Here both see the image only, and the picture is the same.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxstyle.nets.transform_net import (
    NORMS,
    STRIDE,
    Convolution,
    Norm,
    Params,
    make_net,
    normalize,
)

Sizes = Int[Array, "n 2"]


def stylize_padded(
    params: Params, images: Float[Array, "n h w 3"], sizes: Sizes
) -> Float[Array, "n h w 3"]:
    """Return what `jaxstyle.stylize` makes of each image without its padding.

    Args:
        params: a net's parameters.
        images: heights and widths are multiples of four.
        sizes: the true height and width of each image, which fills the upper left of
            its array. What lies beyond does not matter.

    Returns:
        Images of the same shape; what lies beyond the true sizes means nothing.
    """
    height = images.shape[1]
    rounded = sizes + -sizes % STRIDE

    def replace(call: Any, arguments: Any, _: Any, context: Any) -> Any:
        module, x = context.module, arguments[0]
        if isinstance(module, Convolution):
            # Upsampled pixels come in pairs: reflected, the second is the first again.
            first = 2 if module.geometry.upsampling == 1 else 1
            return call(_reflect(x, rounded * x.shape[1] // height, first=first))
        if isinstance(module, Norm) and module.kind != "batch":
            return _normalize(module, x, rounded * x.shape[1] // height)
        return call(*arguments)

    x = _reflect(images, sizes, first=2)
    with nn.intercept_methods(replace):
        result: Any = make_net(params).apply({"params": params}, x)
    return jnp.asarray(result)


def _reflect(
    x: Float[Array, "n h w c"], sizes: Sizes, *, first: int
) -> Float[Array, "n h w c"]:
    """Replace what lies below and to the right of images by their reflection.

    The first row below an image is its last or its last but one: ``first`` is 1 or 2.
    """

    def reflect_one(x: Array, size: Array) -> Array:
        rows, columns = (jnp.arange(side) for side in x.shape[:2])
        x = x[jnp.where(rows < size[0], rows, 2 * size[0] - first - rows)]
        return x[
            :, jnp.where(columns < size[1], columns, 2 * size[1] - first - columns)
        ]

    return jax.vmap(reflect_one)(x, sizes)


def _normalize(
    norm: Norm, x: Float[Array, "n h w c"], sizes: Sizes
) -> Float[Array, "n h w c"]:
    """Apply an instance norm with the mean and variance of the images alone."""
    _, height, width, _ = x.shape
    rows = jnp.arange(height) < sizes[:, :1]
    columns = jnp.arange(width) < sizes[:, 1:]
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    count = sizes.prod(-1)[:, None, None, None]
    return normalize_where(norm, x, inside, count)


def normalize_where(
    norm: Norm, x: Float[Array, "n h w c"], inside: Array, count: ArrayLike
) -> Float[Array, "n h w c"]:
    """Apply an instance norm with the mean and variance of some positions.

    Args:
        norm: the module.
        x: what it is applied to.
        inside: which positions count, of a shape that broadcasts against ``x``.
        count: how many they are in each image.
    """
    x_ = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.sum(x_, (1, 2), keepdims=True, where=inside) / count
    squares = jnp.square(x_ - mean)
    variance = jnp.sum(squares, (1, 2), keepdims=True, where=inside) / count
    own: dict[str, Array] = {
        name: norm.get_variable("params", name) for name in NORMS[norm.kind]
    }
    return normalize(x, mean, variance, own)
