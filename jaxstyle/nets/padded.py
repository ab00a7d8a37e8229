"""Transform nets on images in larger arrays, as if each image filled its own.

To run images of many sizes through few programs, they lie in the upper left of larger
arrays (see `jaxstyle.kernels.borders`). And to shard the rows of an image evenly over
devices, rows are appended to it. A net would see what lies beyond the image: instance
norm everywhere, convolutions at its edge. Here both see the image only, continued at
its borders, and the picture is the same.
"""

import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels.borders import Sizes, inside, reflect, repeat
from jaxstyle.kernels.convolutions import Geometry, convolve, directly
from jaxstyle.nets.net_layers import STRIDE, Activations, Moments, Params, running_or
from jaxstyle.nets.transform_net import SMALLEST_SIDE, transform
from jaxstyle.scaling.sharding import pad_and_shard_rows, shard_rows


def stylize_padded(
    params: Params, images: Float[Array, "n h w 3"], sizes: Sizes
) -> Float[Array, "n h w 3"]:
    """Stylize images that fill the upper left of their arrays.

    The sides of arrays are multiples of four; ``sizes`` are the true heights and
    widths. What lies beyond does not matter, and means nothing in the result.
    """
    rounded = sizes + -sizes % STRIDE

    def sizes_of(x: Activations) -> Sizes:
        return rounded * x.shape[1] // images.shape[1]

    def convolve_inside(x: Activations, kernel: Array, geometry: Geometry) -> Array:
        extend = reflect if geometry.upsampling == 1 else repeat
        return convolve(extend(x, sizes_of(x)), kernel, geometry)

    def measure(x: Activations) -> Moments:
        inner = sizes_of(x)
        count = inner.prod(-1)[:, None, None, None]
        return _measure_where(x, inside(x, inner)[..., None], count)

    return transform(
        params,
        reflect(images, sizes),
        convolve=convolve_inside,
        measure=running_or(measure),
    )[0]


def _measure_where(x: Activations, inside: Array, count: ArrayLike) -> Moments:
    """Compute the moments of ``count`` positions in each image."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.sum(x, (1, 2), keepdims=True, where=inside) / count
    squares = jnp.square(x - mean)
    variance = jnp.sum(squares, (1, 2), keepdims=True, where=inside) / count
    return Moments(mean, variance)


# --- several devices ----------------------------------------------------------------


def stylize_sharded(params: Params, images: Images, mesh: Mesh) -> Images:
    """Stylize as `jaxstyle.stylize` does, except for rounding, on several devices.

    The rows of images and activations are sharded, and no activations are gathered. It
    is to be called under `jax.jit`.

    Args:
        params: a net's parameters.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more.
        mesh: from `jaxstyle.scaling.make_row_mesh`.

    Returns:
        Images of the same shape and precision, not clipped.

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
    padded = pad_and_shard_rows(reflected, mesh, stride=STRIDE)

    def rows_of(x: Activations) -> int:
        return reflected.shape[1] * x.shape[1] // padded.shape[1]

    def convolve_rows(x: Activations, kernel: Array, geometry: Geometry) -> Array:
        # Never by blocks, as on CPUs, which the compiler cannot shard as well.
        return directly(
            _reflect_rows(x, rows_of(x), geometry), kernel, geometry=geometry
        )

    def measure(x: Activations) -> Moments:
        inside = jnp.arange(x.shape[1])[:, None, None] < rows_of(x)
        return _measure_where(x, inside, rows_of(x) * x.shape[2])

    result, _ = transform(
        params, padded, convolve=convolve_rows, measure=running_or(measure)
    )
    return shard_rows(result[:, :height, :width], mesh).reshape(images.shape)


def _reflect_rows(x: Activations, rows: int, geometry: Geometry) -> Activations:
    """Replace the next rows below the first ones by their reflection."""
    at = jnp.arange(x.shape[1])[:, None, None]
    last = rows - (2 if geometry.upsampling == 1 else 1)
    for below in range(min(geometry.size // 2, x.shape[1] - rows)):
        row = x[:, last - below][:, None]
        x = jnp.where(at == rows + below, row, x)
    return x
