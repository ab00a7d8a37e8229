"""The transform net: an image goes in, the stylized image comes out, in one pass.

Johnson et al. (2016), with the instance norm of Ulyanov et al. (2016). The parameters
are one tree, from which everything about a net is read off: its width, its norm and its
convention for pixels (see `init_net`), so that nets of any origin run through
`stylize`. Its main line is

    9x9 -> 3x3, stride 2 -> 3x3, stride 2 -> residual blocks, five as a rule
        -> upsampling, 3x3 -> upsampling, 3x3 -> 9x9

with a norm and a ReLU after all but the last. Differences from Johnson et al.:
upsampling by repetition instead of transposed convolutions, against checkerboards
(Odena et al., 2016); reflection padding at every convolution; no tanh at the end.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.kernels.convolutions import Geometry, convolve

Params: TypeAlias = Mapping[str, Any]

SMALLEST_SIDE = 16
"""The least height and width of an image, in pixels."""

STRIDE = 4
"""Height and width inside a net are multiples of this: images are padded to it."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

NORMS: Mapping[str, tuple[str, ...]] = {
    "affine": ("bias", "scale"),
    "instance": (),
    "batch": ("bias", "mean", "scale", "variance"),
}
"""The norms by name, and the parameters that tell one from the other."""

EPSILON = 1e-5
"""What is added to variances."""

MOMENTUM = 0.9
"""The share of the old mean and variance that batch norm keeps at each step."""

RUNNING = "running"
"""The collection in which batch norm notes its running statistics."""

_INITIAL: Mapping[str, nn.initializers.Initializer] = {
    "bias": nn.initializers.zeros,
    "mean": nn.initializers.zeros,
    "scale": nn.initializers.ones,
    "variance": nn.initializers.ones,
}


class Convolution(nn.Module):
    """A convolution with bias; kernels are drawn as PyTorch draws them."""

    width: int
    geometry: Geometry

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n _h _w d"]:
        """Apply the convolution in the precision of its input."""
        size, channels = self.geometry.size, x.shape[-1]
        uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        kernel = self.param("kernel", uniform, (size, size, channels, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return convolve(x, kernel.astype(x.dtype), self.geometry) + bias.astype(x.dtype)


class Norm(nn.Module):
    """Instance norm with or without affine parameters, or batch norm.

    Instance norm takes mean and variance over each image, batch norm its running ones
    or, in training, those of the whole batch. Statistics are in float32 or better.
    """

    kind: str
    training: bool

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Normalize each channel."""
        own = {
            name: self.param(name, _INITIAL[name], x.shape[-1:])
            for name in NORMS[self.kind]
        }
        if self.kind != "batch":
            mean, variance = _moments(x, (1, 2))
        elif self.training:
            mean, variance = _moments(x, (0, 1, 2))
            self._note("mean", own["mean"], mean)
            self._note("variance", own["variance"], variance)
        else:
            mean, variance = own["mean"], own["variance"]
        return normalize(x, mean, variance, own)

    def _note(self, name: str, old: Array, new: Array) -> None:
        """Hand the next running value of a statistic to `stylize_in_training`."""
        value = MOMENTUM * old + (1 - MOMENTUM) * new.ravel()
        self.sow(
            RUNNING, name, lax.stop_gradient(value), reduce_fn=_last, init_fn=_nothing
        )


def normalize(
    x: Float[Array, "n h w c"], mean: Array, variance: Array, own: Mapping[str, Array]
) -> Float[Array, "n h w c"]:
    """Shift and scale channels to mean 0 and variance 1, then by a norm's parameters.

    The precision stays that of ``x``.
    """
    scale = own.get("scale", 1.0) * lax.rsqrt(variance + EPSILON)
    shift = own.get("bias", 0.0) - mean * scale
    return x * scale.astype(x.dtype) + shift.astype(x.dtype)


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return mean and variance, in float32 or better."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = x.mean(axes, keepdims=True)
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)


def _last(_: Any, new: Array) -> Array:
    return new


def _nothing() -> None:
    return None


class Pixels(nn.Module):
    """The mean and standard deviation of pixels: constants, which no gradient moves."""

    @nn.compact
    def __call__(self, dtype: jnp.dtype[Any]) -> tuple[Array, Array]:
        """Return them in a precision."""
        mean = self.param("mean", lambda _: jnp.array(IMAGENET_MEAN))
        std = self.param("std", lambda _: jnp.array(IMAGENET_STD))
        return _constant(mean, dtype), _constant(std, dtype)


def _constant(x: Array, dtype: jnp.dtype[Any]) -> Array:
    return lax.stop_gradient(x).astype(dtype)


class TransformNet(nn.Module):
    """The network, for batches whose height and width are multiples of `STRIDE`."""

    width: int = 32
    norm: str = "affine"
    blocks: int = 5
    training: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
        """Return the stylized images."""
        width, dtype = self.width, images.dtype
        mean, std = Pixels(name="input")(dtype)
        x = (images - mean) / std
        x = nn.relu(self._layer(x, 1, width, Geometry(9)))
        x = nn.relu(self._layer(x, 2, 2 * width, Geometry(3, stride=2)))
        x = nn.relu(self._layer(x, 3, 4 * width, Geometry(3, stride=2)))
        slope = self.param("negative_slope", nn.initializers.ones, ())
        for index in range(1, self.blocks + 1):
            block = Residual(self.norm, self.training, name=f"residual{index}")
            x = x + nn.leaky_relu(block(x), _constant(slope, dtype))
        x = nn.relu(self._layer(x, 4, 2 * width, Geometry(3, upsampling=2)))
        x = nn.relu(self._layer(x, 5, width, Geometry(3, upsampling=2)))
        x = Convolution(3, Geometry(9), name="conv6")(x)
        mean, std = Pixels(name="output")(dtype)
        return x * std + mean

    def _layer(self, x: Array, index: int, width: int, geometry: Geometry) -> Array:
        x = Convolution(width, geometry, name=f"conv{index}")(x)
        return Norm(self.norm, self.training, name=f"norm{index}")(x)


class Residual(nn.Module):
    """What a residual block adds to its input, before a ReLU if there is one."""

    norm: str
    training: bool

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Apply two convolutions with their norms."""
        width = x.shape[-1]
        y = Convolution(width, Geometry(3), name="conv1")(x)
        y = nn.relu(Norm(self.norm, self.training, name="norm1")(y))
        y = Convolution(width, Geometry(3), name="conv2")(y)
        return Norm(self.norm, self.training, name="norm2")(y)


# --- parameters ---------------------------------------------------------------------


def init_net(
    key: Array,
    *,
    width: int = 32,
    norm: str = "affine",
    blocks: int = 5,
    negative_slope: float = 1.0,
) -> dict[str, Any]:
    """Return the parameters of a new net.

    Its tree holds, beside ``conv1`` to ``conv6``, ``norm1`` to ``norm5`` and
    ``residual1`` and following, three constants that training leaves alone: ``input``
    and ``output``, the ``mean`` and ``std`` that tie pixels in [0, 1] to those that the
    net works with; and ``negative_slope``, of the leaky ReLU that ends each residual
    branch.

    Args:
        key: from `jax.random.key`.
        width: channels of the first convolution; the widest has four times as many.
        norm: ``"affine"``, instance norm with a trained scale and bias; ``"instance"``,
            the same without; or ``"batch"``.
        blocks: how many residual blocks there are.
        negative_slope: 1 for no ReLU there, as Johnson et al. have it; 0 for a ReLU.

    Returns:
        The tree of parameters, in float32.

    Raises:
        ValueError: there is no such norm, or the width is not positive.

    Examples:
        >>> shapes = jax.eval_shape(jaxstyle.nets.init_net, jax.random.key(0))
        >>> shapes["residual5"]["conv2"]["kernel"].shape
        (3, 3, 128, 128)
    """
    if width < 1:
        raise ValueError(f"the width must be at least 1, got {width}")
    if norm not in NORMS:
        raise ValueError(f"no norm {norm!r}; known are {', '.join(NORMS)}")
    images = jax.ShapeDtypeStruct((1, SMALLEST_SIDE, SMALLEST_SIDE, 3), jnp.float32)  # type: ignore[no-untyped-call]
    params = TransformNet(width, norm, blocks).lazy_init(key, images)["params"]
    return {**params, "negative_slope": jnp.array(negative_slope, jnp.float32)}


def net_shapes(*, width: int, norm: str, blocks: int = 5) -> dict[str, Any]:
    """Return the shapes of a net's parameters, as a tree of tuples."""
    init = partial(init_net, width=width, norm=norm, blocks=blocks)
    arrays = jax.eval_shape(init, jax.random.key(0))
    shapes: dict[str, Any] = jax.tree.map(lambda array: array.shape, arrays)
    return shapes


def net_width(params: Params) -> int:
    """Return the number of channels of a net's first convolution."""
    return int(params["conv1"]["kernel"].shape[-1])


def net_norm(params: Params) -> str:
    """Return the name of a net's norm, a key of `NORMS`."""
    found = tuple(sorted(params.get("norm1", ())))
    return next(name for name, own in NORMS.items() if own == found)


def net_blocks(params: Params) -> int:
    """Return the number of a net's residual blocks."""
    return sum(name.startswith("residual") for name in params)


def make_net(params: Params, *, training: bool = False) -> TransformNet:
    """Return the module that parameters belong to: hashable, and without arrays."""
    return TransformNet(
        net_width(params), net_norm(params), net_blocks(params), training
    )


# --- use ----------------------------------------------------------------------------


def stylize(params: Params, images: Images) -> Images:
    """Return images in the style that a net was trained for.

    Pure: it works under `jax.jit`, `jax.vmap` over images and over stacked parameters,
    and `jax.grad` to both. Sides that are no multiples of four are padded by
    reflection, and the result is cropped.

    Source: the net of Johnson et al. (2016), with the instance norm of Ulyanov et al.
    (2016). Differences: upsampling by repetition instead of transposed convolutions,
    against checkerboards (Odena et al., 2016); padding by reflection at every
    convolution; no tanh at the end.

    Args:
        params: a net's parameters, as `jaxstyle.load_style` or `init_net` returns them.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more. The net
            computes in their precision, with statistics in float32: pass bfloat16
            images for bfloat16.

    Returns:
        Images of the same shape and precision. Values are not clipped, so that
        gradients do not vanish: some lie outside [0, 1]; `jaxstyle.save_image` clips.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: the shape is wrong, or an image is too small.

    Examples:
        >>> jax.jit(jaxstyle.stylize)(net, photo).shape
        (16, 16, 3)
    """
    return _apply(params, images, training=False)[0]


def stylize_in_training(params: Params, images: Images) -> tuple[Images, Params]:
    """Stylize a batch as `stylize` does, but with batch norm over the batch itself.

    Returns:
        The images, and the parameters with the next running statistics of batch norm;
        those of a net with instance norm are returned as they are.
    """
    return _apply(params, images, training=True)


def _apply(params: Params, images: Images, *, training: bool) -> tuple[Images, Params]:
    check_images(images, smallest=SMALLEST_SIDE)
    *axes, height, width, channels = images.shape
    flat = images.reshape(math.prod(axes), height, width, channels)
    margins = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    result, changed = make_net(params, training=training).apply(
        {"params": params}, jnp.pad(flat, margins, "reflect"), mutable=[RUNNING]
    )
    cropped = result[:, :height, :width].reshape(images.shape)
    return cropped, _merge(params, changed.get(RUNNING, {}))


def _merge(params: Params, changed: Mapping[str, Any]) -> Params:
    """Replace leaves of a tree by those of another that has fewer."""
    merged = {
        name: _merge(params[name], new) if isinstance(new, Mapping) else new
        for name, new in changed.items()
    }
    return {**params, **merged}
