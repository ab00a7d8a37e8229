"""Changes of a VGG's parameters: normalized, truncated, or prepared for CPUs."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxstyle.images.arrays import Images
from jaxstyle.kernels import winograd
from jaxstyle.vgg.layers import VGGParams, convolutions, layer_names
from jaxstyle.vgg.network import features

GRANULARITIES = ("layer", "filter")
"""The choices of `normalize`."""


def normalize(params: VGGParams, *, per: str = "layer") -> VGGParams:
    """Rescale the convolutions so that mean activations over photographs are 1.

    ReLU and pooling commute with positive factors, so the activations of each layer
    are exactly those of the given network divided by a constant, which makes one set of
    loss weights fit the original Oxford network and torchvision's alike.

    Args:
        params: a VGG's parameters with their mean activations.
        per: ``"filter"`` divides every filter by its own mean, as Gatys et al. (2016)
            did; ``"layer"`` divides a layer by the mean over its filters, which keeps
            the balance between its filters as it was trained.

    Returns:
        Parameters of the same structure, whose mean activations are rescaled too.

    Raises:
        ValueError: ``per`` is neither, or `prepare_for_cpu` came first.

    Examples:
        >>> layer = jaxstyle.load_vgg()["conv2_1"]
        >>> round(float(layer["mean_activation"].mean()))
        164
        >>> layer = jaxstyle.vgg.normalize(vgg)["conv2_1"]
        >>> round(float(layer["mean_activation"].mean()))
        1
    """
    if per not in GRANULARITIES:
        raise ValueError(f"mean activations are per layer or per filter, not {per!r}")
    names, normalized = convolutions(params), dict(params)
    scale_in = jnp.ones(3)
    for name in names:
        layer = params[name]
        if "winograd_kernel" in layer:
            raise ValueError("normalize the parameters before prepare_for_cpu")
        means = jnp.asarray(layer["mean_activation"])
        # A filter that is silent on photographs has no scale of its own.
        floor = 1e-3 * means.mean()
        scale = (
            jnp.maximum(means, floor)
            if per == "filter"
            else jnp.full_like(means, means.mean())
        )
        normalized[name] = {
            "kernel": layer["kernel"] * scale_in[:, None] / scale,
            "bias": layer["bias"] / scale,
            "mean_activation": means / scale,
        }
        scale_in = scale
    return normalized


def truncate(params: VGGParams, layers: Sequence[str]) -> VGGParams:
    """Drop the convolutions that none of ``layers`` needs; the first one stays.

    Images may then be smaller, and less is kept in memory.

    Args:
        params: a VGG's parameters.
        layers: the names of the layers to keep.

    Returns:
        A part of the given parameters.

    Raises:
        ValueError: a layer is not in ``params``; all such layers are named.

    Examples:
        >>> jaxstyle.vgg.layer_names(jaxstyle.vgg.truncate(vgg, ["relu1_1", "relu1_2"]))
        ('relu1_1', 'relu1_2')
    """
    known = layer_names(params)
    if unknown := [layer for layer in dict.fromkeys(layers) if layer not in known]:
        raise ValueError(
            f"no layer {', '.join(unknown)} in this network; it has {', '.join(known)}"
        )
    deepest = max((known.index(layer) for layer in layers), default=0)
    dropped = {name.replace("relu", "conv") for name in known[deepest + 1 :]}
    return {name: value for name, value in params.items() if name not in dropped}


def prepare_for_cpu(params: VGGParams) -> VGGParams:
    """Move the kernels that gain from it into the Winograd domain.

    The features stay the same to about 1e-5 relative; on a CPU those of the deep, wide
    layers take about half the time. Their kernels grow fourfold.

    Source: Lavin & Gray (2016), with points of interpolation of our own, whose rounding
    errors are a quarter.

    Args:
        params: a VGG's parameters.

    Returns:
        Parameters for `jaxstyle.vgg.features` and the losses. `truncate` takes them
        too, `normalize` does not.

    Examples:
        >>> fast = jaxstyle.vgg.prepare_for_cpu(vgg)
        >>> jaxstyle.vgg.layer_names(fast) == jaxstyle.vgg.layer_names(vgg)
        True
    """
    return {
        name: _to_winograd(value) if name.startswith("conv") else value
        for name, value in params.items()
    }


def _to_winograd(layer: VGGParams) -> VGGParams:
    if "winograd_kernel" in layer:
        return layer
    *_, width_in, width_out = layer["kernel"].shape
    if width_in * width_out < winograd.WORTHWHILE:
        return layer
    rest = {name: value for name, value in layer.items() if name != "kernel"}
    return rest | {"winograd_kernel": winograd.transform_kernel(layer["kernel"])}


def measure_mean_activations(
    params: VGGParams, photos: Iterable[ArrayLike]
) -> dict[str, Any]:
    """Add to each convolution its filters' mean ReLU output, under max pooling.

    Args:
        params: a VGG's parameters.
        photos: images ``[h, w, 3]`` of any sizes, taken one by one; every position
            of every one counts the same.

    Returns:
        Parameters of the same structure, with ``mean_activation``, ``[c]``, in each
        convolution.

    Examples:
        >>> vgg16 = jaxstyle.vgg.truncate(jaxstyle.load_vgg(), ["relu1_2"])
        >>> measured = jaxstyle.vgg.measure_mean_activations(vgg16, [photo])
        >>> measured["conv1_2"]["mean_activation"].shape
        (64,)
    """
    on_device = jax.device_put(dict(params))
    names = [name for name in params if name.startswith("conv")]
    sums = {name: np.zeros(params[name]["bias"].shape) for name in names}
    counts = dict.fromkeys(names, 0)
    for photo in photos:
        for name, (rows, count) in _row_sums(on_device, jnp.asarray(photo)).items():
            sums[name] += np.asarray(rows, np.float64).sum(0)
            counts[name] += int(count)
    if not all(counts.values()):
        raise ValueError("mean activations need at least one photo, got none")
    means = {name: np.float32(sums[name] / counts[name]) for name in names}
    return {
        name: {**value, "mean_activation": means[name]} if name in means else value
        for name, value in params.items()
    }


@jax.jit
def _row_sums(params: VGGParams, photo: Images) -> dict[str, Any]:
    """Sum each convolution's activations along rows, and count their positions.

    The rest of the sum is left to float64, on the host.
    """
    return {
        name.replace("relu", "conv"): (x.sum(-2), x[..., 0].size)
        for name, x in features(params, photo).items()
    }
