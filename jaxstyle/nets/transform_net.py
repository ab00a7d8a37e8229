"""The transform net: an image goes in, the stylized image comes out, in one pass.

Johnson et al. (2016), with the instance norm of Ulyanov et al. (2016). The parameters
are one tree, from which everything about a net is read off: its width, its norm, its
upsampling and its convention for pixels (see `init_net`), so that nets of any origin
run through `stylize`. Its main line is

    9x9 -> 3x3, stride 2 -> 3x3, stride 2 -> residual blocks, five as a rule
        -> upsampling, 3x3 -> upsampling, 3x3 -> 9x9

with a norm and a ReLU after all but the last; `stylize` says what differs.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images, check_params
from jaxstyle.kernels.convolutions import convolve
from jaxstyle.nets.net_layers import (
    NORMS as NORMS,
    STRIDE as STRIDE,
    Activations,
    Convolve,
    Layers,
    Measure,
    Moments,
    Own,
    Params as Params,
    apply_layers,
    constant,
    layer_shapes,
    make_layers,
    measure_axes,
    measure_image,
    running_or,
)

SMALLEST_SIDE = 16
"""The least height and width of an image, in pixels."""

NOISE_SIDE = 64
"""The side of the square of noise, in pixels."""

FILTERS = {"nearest": (), "bilinear": (0.25, 0.5, 0.25)}
"""What smooths pixels that were repeated, by the name of the upsampling."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MOMENTUM = 0.9
"""The share of the old mean and variance that batch norm keeps at each step."""


# --- parameters ---------------------------------------------------------------------


def init_net(
    key: Array,
    *,
    width: int = 32,
    norm: str = "affine",
    blocks: int = 5,
    negative_slope: float = 1.0,
    upsampling: str = "nearest",
    noise: int = 0,
) -> dict[str, Any]:
    """Draw the parameters of a new net.

    Its tree holds, beside ``conv1`` to ``conv6``, ``norm1`` to ``norm5`` and
    ``residual1`` and following, constants that training leaves alone: ``input`` and
    ``output``, the ``mean`` and ``std`` that tie pixels in [0, 1] to those that the net
    works with; ``negative_slope``, of the leaky ReLU that ends each residual branch;
    and, where there is one, ``filter``, which smooths what was upsampled by repetition,
    and ``noise``, a square that is repeated beside the image from its upper left.

    Args:
        key: from `jax.random.key`.
        width: channels of the first convolution; the widest has four times as many.
        norm: ``"affine"``, instance norm with a trained scale and bias; ``"instance"``,
            the same without; or ``"batch"``.
        blocks: the number of residual blocks.
        negative_slope: 1 for no ReLU there, as Johnson et al. have it; 0 for a ReLU.
        upsampling: ``"nearest"``, by repetition, or ``"bilinear"``. With the former,
            textures may lock to a grid of four pixels.
        noise: the number of channels of noise that are added to the image, so that
            strokes may differ where the photo does not. Source: Ulyanov et al. (2016),
            "Texture networks", who draw it anew for each picture, at several scales.

    Returns:
        The tree of parameters, in float32.

    Raises:
        ValueError: there is no such norm or upsampling, or a number is out of range.

    Examples:
        >>> shapes = jax.eval_shape(jaxstyle.nets.init_net, jax.random.key(0))
        >>> shapes["residual5"]["conv2"]["kernel"].shape
        (3, 3, 128, 128)
    """
    constants = init_constants(negative_slope, upsampling, noise)
    taps = count_taps(constants)
    layers = make_layers(width=width, norm=norm, blocks=blocks, taps=taps)
    return {**draw_layers(key, layer_shapes(layers, 3 + noise)), **constants}


def draw_layers(
    key: Array, shapes: Mapping[str, Any], path: Sequence[str] = ()
) -> dict[str, Any]:
    """Draw kernels as PyTorch draws them; all else starts with zeros or ones."""
    params: dict[str, Any] = {}
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            params[name] = draw_layers(key, shape, (*path, name))
        elif name == "kernel":
            uniform = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
            params[name] = uniform(_fold_in(key, path), shape, jnp.float32)
        else:
            value = 1.0 if name in ("scale", "variance") else 0.0
            params[name] = jnp.full(shape, value, jnp.float32)
    return params


def _fold_in(key: Array, path: Sequence[str]) -> Array:
    """Derive the key of a kernel from its path, as Flax Linen does.

    So it depends on no other layer, and seeds give the nets that they always gave.
    """
    digest = sha1("".join(path).encode() + b"\x01", usedforsecurity=False).digest()
    return jax.random.fold_in(key, jnp.uint32(int.from_bytes(digest[:4], "big")))


def init_constants(
    negative_slope: float, upsampling: str = "nearest", noise: int = 0
) -> dict[str, Any]:
    """Return the parameters of a new net that training leaves alone.

    A ValueError says if there is no such upsampling, or if the noise is negative.
    """
    if upsampling not in FILTERS:
        known = ", ".join(FILTERS)
        raise ValueError(f"no upsampling {upsampling!r}; known are {known}")
    if noise < 0:
        raise ValueError(f"expected 0 or more channels of noise, got {noise}")

    def pixels() -> dict[str, Array]:
        return {
            "mean": jnp.array(IMAGENET_MEAN, jnp.float32),
            "std": jnp.array(IMAGENET_STD, jnp.float32),
        }

    slope = jnp.array(negative_slope, jnp.float32)
    constants = {"input": pixels(), "output": pixels(), "negative_slope": slope}
    if taps := FILTERS[upsampling]:
        constants["filter"] = jnp.array(taps, jnp.float32)
    if noise:
        square = (NOISE_SIDE, NOISE_SIDE, noise)
        constants["noise"] = jax.random.normal(jax.random.key(0), square, jnp.float32)
    return constants


def net_shapes(
    *, width: int, norm: str, blocks: int = 5, taps: int = 1, noise: int = 0
) -> dict[str, Any]:
    """Compute the shapes of a net's parameters, as a tree of tuples."""
    layers = make_layers(width=width, norm=norm, blocks=blocks, taps=taps)
    pixels = {"mean": (3,), "std": (3,)}
    shapes = layer_shapes(layers, 3 + noise)
    shapes |= {"input": pixels, "output": pixels, "negative_slope": ()}
    if taps > 1:
        shapes["filter"] = (taps,)
    if noise:
        shapes["noise"] = (NOISE_SIDE, NOISE_SIDE, noise)
    return shapes


def net_width(params: Params) -> int:
    """Read off the number of channels of a net's first convolution."""
    return int(params["conv1"]["kernel"].shape[-1])


def net_norm(params: Params) -> str:
    """Read off the name of a net's norm; a ValueError if its parameters fit none."""
    found = tuple(sorted(params.get("norm1", ())))
    for name, own in NORMS.items():
        if own == found:
            return name
    known = "; ".join(f"{name}: {', '.join(own)}" for name, own in NORMS.items())
    raise ValueError(f"no norm has the parameters {', '.join(found)}; expected {known}")


def net_blocks(params: Params) -> int:
    """Count a net's residual blocks."""
    return sum(name.startswith("residual") for name in params)


def net_upsampling(params: Params) -> str:
    """Read off the name of a net's upsampling."""
    return "bilinear" if "filter" in params else "nearest"


def net_noise(params: Params) -> int:
    """Count the channels of noise that a net adds to images."""
    return int(params["noise"].shape[-1]) if "noise" in params else 0


def count_taps(params: Params) -> int:
    """Count the taps of the filter of what was upsampled; 1 without a filter."""
    return int(params["filter"].size) if "filter" in params else 1


def net_layers(params: Params) -> Layers:
    """Make the table of the net that parameters belong to.

    A TypeError or a ValueError says if they are no net's.
    """
    check_params(
        params,
        name="conv1",
        expected="a transform net",
        loader='jaxstyle.load_style("great-wave")',
    )
    return make_layers(
        width=net_width(params),
        norm=net_norm(params),
        blocks=net_blocks(params),
        taps=count_taps(params),
    )


# --- use ----------------------------------------------------------------------------


def stylize(params: Params, images: Images) -> Images:
    """Repaint images in the style that a net was trained for.

    Pure: it works under `jax.jit`, `jax.vmap` over images and over stacked parameters,
    and `jax.grad` to both. Not jitted: jit what calls it, or the first call takes up to
    three times as long. Sides that are no multiples of four are padded by reflection,
    and the result is cropped.

    Source: the net of Johnson et al. (2016), with the instance norm of Ulyanov et al.
    (2016). Differences: upsampling by repetition or bilinear instead of transposed
    convolutions, against checkerboards (Odena et al., 2016); padding by reflection at
    every convolution; no tanh at the end.

    Args:
        params: a net's parameters, as `jaxstyle.load_style` or
            `jaxstyle.nets.init_net` returns them.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more. The net
            computes in their precision, with statistics in float32: pass bfloat16
            images for bfloat16.

    Returns:
        Images of the same shape and precision. Values are not clipped, so that
        gradients do not vanish: some lie outside [0, 1]; `jaxstyle.save_image` clips.

    Examples:
        >>> jax.jit(jaxstyle.stylize)(net, photo).shape
        (16, 16, 3)
    """
    return _stylize(params, images, measure_image)[0]


def stylize_in_training(params: Params, images: Images) -> tuple[Images, Params]:
    """Stylize with batch norm over the batch; also return its next running moments."""

    def measure(x: Activations, own: Own) -> Moments:
        return measure_axes(x, (0, 1, 2) if "mean" in own else (1, 2))

    stylized, measured = _stylize(params, images, measure)
    return stylized, _update_running(params, measured)


def hold(params: Params, images: Float[Array, "n h w 3"]) -> dict[str, Any]:
    """Take the moments of instance norm over all images, and hold them.

    What this returns is a net with batch norm, whose running moments are those of the
    images: one fixed function of an image. Where nothing changes from one frame of a
    film to the next, nothing changes in the picture. With one image it paints that
    image as the net itself does. A net with batch norm comes back as it is.

    Args:
        params: a net's parameters.
        images: RGB in [0, 1], ``[n, h, w, 3]``, such as some frames of a shot.

    Returns:
        Parameters for `jaxstyle.stylize`.

    Examples:
        >>> frames = jnp.stack([photo, photo[::-1]])
        >>> held = jax.jit(jaxstyle.nets.hold)(net, frames)
        >>> sorted(held["norm1"])
        ['bias', 'mean', 'scale', 'variance']
        >>> jaxstyle.stylize(held, frames).shape
        (2, 16, 16, 3)
    """

    def measure(x: Activations) -> Moments:
        return measure_axes(x, (0, 1, 2))

    _, measured = _stylize(params, images, running_or(measure))
    return _hold(params, measured)


def _hold(params: Params, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Give norms the moments that were measured, as those that run with batch norm."""
    held = dict(params)
    for name, moments in measured.items():
        own = params.get(name, {})
        if isinstance(moments, Mapping):
            held[name] = _hold(own, moments)
        elif moments is not None:
            mean, variance = map(jnp.ravel, moments)
            neutral = {"scale": jnp.ones_like(mean), "bias": jnp.zeros_like(mean)}
            held[name] = {**neutral, **own, "mean": mean, "variance": variance}
    return held


def _stylize(
    params: Params, images: Images, measure: Measure
) -> tuple[Images, dict[str, Any]]:
    check_images(images, smallest=SMALLEST_SIDE)
    *axes, height, width, channels = images.shape
    flat = images.reshape(math.prod(axes), height, width, channels)
    margins = ((0, 0), (0, -height % STRIDE), (0, -width % STRIDE), (0, 0))
    padded = jnp.pad(flat, margins, "reflect")
    result, measured = transform(params, padded, measure=measure)
    return result[:, :height, :width].reshape(images.shape), measured


def transform(
    params: Params,
    images: Float[Array, "n h w 3"],
    *,
    convolve: Convolve = convolve,
    measure: Measure = measure_image,
) -> tuple[Float[Array, "n h w 3"], dict[str, Any]]:
    """Apply a net to a batch whose height and width are multiples of `STRIDE`.

    The moments of `apply_layers` are returned too.
    """
    x, measured = apply_layers(
        net_layers(params),
        params,
        prepare(params, images),
        convolve=convolve,
        measure=measure,
    )
    mean, std = pixel_moments(params["output"], images.dtype)
    return x * std + mean, measured


def prepare(
    params: Params, images: Float[Array, "n h w 3"]
) -> Float[Array, "n h w 3+noise"]:
    """Convert pixels to those that a net works with, and add its noise if any."""
    mean, std = pixel_moments(params["input"], images.dtype)
    x = (images - mean) / std
    if "noise" not in params:
        return x
    count, height, width, _ = images.shape
    square = constant(params["noise"], images.dtype)
    rows, columns = (jnp.arange(side) % NOISE_SIDE for side in (height, width))
    noise = square[rows[:, None], columns]
    repeated = jnp.broadcast_to(noise, (count, *noise.shape))
    return jnp.concatenate([x, repeated], -1)


def pixel_moments(own: Own, dtype: Any) -> tuple[Array, Array]:
    """Read off mean and standard deviation of pixels: no gradient moves them."""
    return constant(own["mean"], dtype), constant(own["std"], dtype)


def _update_running(params: Params, measured: Mapping[str, Any]) -> Params:
    """Move the running moments of batch norms towards those of a batch."""
    changed: dict[str, Params] = {}
    for name, new in measured.items():
        own = params.get(name, {})
        if isinstance(new, Mapping):
            changed[name] = _update_running(own, new)
        elif "mean" in own:
            followed = {
                key: lax.stop_gradient(MOMENTUM * own[key] + (1 - MOMENTUM) * x.ravel())
                for key, x in new._asdict().items()
            }
            changed[name] = {**own, **followed}
    return {**params, **changed}
