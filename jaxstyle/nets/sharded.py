"""Transform nets on images whose rows several devices divide: the same picture.

Rows are appended so that every device has as many (see `jaxstyle.scaling.sharding`).
What the net sees below an image is what it sees of the image alone: its reflection. And
instance norm takes mean and variance over the image only.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels.convolutions import Geometry, directly
from jaxstyle.nets.padded import normalize_where
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    STRIDE,
    Convolution,
    Norm,
    Params,
    make_net,
)
from jaxstyle.scaling.sharding import pad_and_shard_rows, shard_rows


def stylize_sharded(params: Params, images: Images, mesh: Mesh) -> Images:
    """Return what `jaxstyle.stylize` does, but for rounding, on several devices.

    Each holds its share of the rows, of the images and of all that lies between. No
    activations are gathered. It is to be called under `jax.jit`.

    Args:
        params: a net's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more.
        mesh: from `jaxstyle.scaling.make_row_mesh`.

    Returns:
        Images of the same shape and precision, not clipped.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: the shape is wrong, or an image is too small.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh()
        >>> run = jax.jit(jaxstyle.nets.stylize_sharded, static_argnames="mesh")
        >>> jax.eval_shape(run, net, photo, mesh=mesh).shape
        (16, 16, 3)
    """
    check_images(images, smallest=SMALLEST_SIDE)
    *_, height, width, _ = images.shape
    flat = images.reshape(-1, height, width, 3)
    margins = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    reflected = shard_rows(jnp.pad(flat, margins, "reflect"), mesh)
    x = pad_and_shard_rows(reflected, mesh, stride=STRIDE)
    all_rows, rows = x.shape[1], reflected.shape[1]

    def replace(call: Any, arguments: Any, _: Any, context: Any) -> Any:
        module, x = context.module, arguments[0]
        if isinstance(module, Convolution):
            return _convolve(module, x, rows * x.shape[1] // all_rows)
        if isinstance(module, Norm) and module.kind != "batch":
            return _normalize(module, x, rows * x.shape[1] // all_rows)
        return call(*arguments)

    with nn.intercept_methods(replace):
        result: Any = make_net(params).apply({"params": params}, x)
    cropped = shard_rows(jnp.asarray(result)[:, :height, :width], mesh)
    return cropped.reshape(images.shape)


def _convolve(
    convolution: Convolution, x: Float[Array, "n h w c"], rows: int
) -> Float[Array, "n _h _w d"]:
    """Apply a convolution to the first rows as if there were no others.

    Never by blocks, as on CPUs, which the compiler cannot divide as well.
    """
    geometry = convolution.geometry
    kernel, bias = (
        jnp.asarray(convolution.get_variable("params", name), x.dtype)
        for name in ("kernel", "bias")
    )
    return directly(_reflect(x, rows, geometry), kernel, geometry=geometry) + bias


def _reflect(
    x: Float[Array, "n h w c"], rows: int, geometry: Geometry
) -> Float[Array, "n h w c"]:
    """Replace the next rows below the first ones by their reflection."""
    at = jnp.arange(x.shape[1])[:, None, None]
    # Upsampled pixels come in pairs: reflected, the second is the first again.
    last = rows - 1 if geometry.upsampling > 1 else rows - 2
    for below in range(min(geometry.size // 2, x.shape[1] - rows)):
        row = x[:, last - below][:, None]
        x = jnp.where(at == rows + below, row, x)
    return x


def _normalize(
    norm: Norm, x: Float[Array, "n h w c"], rows: int
) -> Float[Array, "n h w c"]:
    """Apply an instance norm with the mean and variance of the first rows."""
    inside = jnp.arange(x.shape[1])[:, None, None] < rows
    return normalize_where(norm, x, inside, rows * x.shape[2])
