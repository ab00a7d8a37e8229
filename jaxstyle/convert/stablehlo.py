"""Transform nets as programs of StableHLO, which run wherever JAX does."""

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Float

from jaxstyle.nets.net_layers import STRIDE, Params
from jaxstyle.nets.transform_net import SMALLEST_SIDE, transform

PLATFORMS = ("cpu", "cuda", "tpu")
"""Where an exported net runs."""


def export_net(params: Params) -> export.Exported:
    """Export `jaxstyle.stylize` with a net's parameters inside, for images of any size.

    Write ``exported.serialize()`` to a file; `jax.export.deserialize` reads it in a
    process that has only JAX and flatbuffers. Call it within `jax.jit`, which compiles
    each new shape once; outside, every call compiles anew.

    The file holds no gradient. With ``exported.serialize(vjp_order=1)`` it holds the
    gradient to the images too, and is twice as large.

    Args:
        params: a net's parameters, as `jaxstyle.load_style` returns them.

    Returns:
        What ``exported.call(images)`` runs on CPU, CUDA or TPU. It takes float32 RGB in
        [0, 1], ``[n, h, w, 3]``, of 16x16 pixels or more, and returns the same shape.
        As with `jaxstyle.stylize`, values are not clipped: some lie outside [0, 1].
        Any other shape or type is a ``ValueError``.

    Examples:
        >>> from jax import export
        >>> file = jaxstyle.convert.export_net(net).serialize()
        >>> stylize = jax.jit(export.deserialize(file).call)
        >>> jax.eval_shape(stylize, jnp.zeros((5, 40, 30, 3))).shape
        (5, 40, 30, 3)
    """

    def stylize(images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        _, height, width, _ = images.shape
        result, _ = transform(params, _pad(images))
        return result[:, :height, :width]

    least = [f"{side} >= {SMALLEST_SIDE}" for side in ("h", "w")]
    shape = export.symbolic_shape("n, h, w, 3", constraints=least)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    return export.export(jax.jit(stylize), platforms=PLATFORMS)(images)


def _pad(images: Float[Array, "n h w 3"]) -> Float[Array, "n _h _w 3"]:
    """Extend sides by reflection to multiples of `STRIDE`.

    Of open sizes JAX knows less than `jaxstyle.stylize` asks for. So this pads by the
    most that may be needed and cuts, to a size that is visibly a multiple.
    """
    _, height, width, _ = images.shape
    margin = (0, STRIDE - 1)
    x = jnp.pad(images, ((0, 0), margin, margin, (0, 0)), "reflect")
    return x[:, : STRIDE * -(-height // STRIDE), : STRIDE * -(-width // STRIDE)]
