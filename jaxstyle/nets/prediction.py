"""Prediction of styles from paintings, for nets of many styles.

A small network predicts a style's part of a net, of `jaxstyle.nets.split_style`, from
the statistics of a painting's features.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.nets.conditional import KERNELS, NORMS, Path, Tree, is_inner
from jaxstyle.nets.net_layers import Params
from jaxstyle.vgg.layers import VGGParams
from jaxstyle.vgg.network import features

Predictor: TypeAlias = Mapping[str, Any]
"""The parameters of what predicts styles: ``input``, ``hidden`` and ``output``."""

Descriptor: TypeAlias = Float[Array, "*n d"]
"""The statistics of a painting's features, or any other vector that tells styles."""

DESCRIBED = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""The layers whose statistics describe a style."""

LEAST_STATISTIC = 0.01
"""What is added to statistics of features, whose mean is 1, before the logarithm."""

LEAST_DEVIATION = 1e-3
"""The least standard deviation by which a number of descriptors is divided."""


def describe_style(params: VGGParams, images: Images) -> Descriptor:
    """Describe how images are painted, by the statistics of their features.

    They are the means of channels and their standard deviations, each as ``log(0.01 +
    x)``, so that ratios count, in relu1_1, relu2_1, relu3_1 and relu4_1 as far as the
    network goes.

    Args:
        params: a VGG's parameters, from `jaxstyle.vgg.normalize`.
        images: RGB in [0, 1], ``[*n, h, w, 3]``.

    Returns:
        The statistics in float32, ``[*n, 1920]`` for a whole VGG.

    Examples:
        >>> jaxstyle.nets.describe_style(vgg, painting).shape
        (384,)
    """
    found = features(params, images, padding="replicate")
    statistics = []
    for layer in DESCRIBED:
        if layer not in found:
            break
        x = found[layer].astype(jnp.float32)
        statistics += [x.mean((-3, -2)), x.std((-3, -2))]
    return jnp.log(LEAST_STATISTIC + jnp.concatenate(statistics, -1))


def init_predictor(
    key: Array, descriptors: Descriptor, style: Params, *, hidden: int = 128
) -> Tree:
    """Draw the parameters of a network that predicts styles from descriptors.

    At first it predicts a net's own part for all of them.

    Args:
        key: from `jax.random.key`.
        descriptors: those of the styles to be trained on, ``[n, d]``; their means and
            standard deviations are kept, to normalize others by.
        style: from `split_style`.
        hidden: the number of hidden units, and so the rank of what can be predicted,
            for all norms together, or for each convolution.

    Returns:
        The parameters for `predict_style`.

    Examples:
        >>> _, style = jaxstyle.nets.split_style(net)
        >>> key = jax.random.key(0)
        >>> predictor = jaxstyle.nets.init_predictor(key, jnp.eye(3), style)
        >>> sorted(predictor)
        ['hidden', 'input', 'output']
    """
    inputs = descriptors.shape[-1]
    shapes = predictor_shapes(style, inputs=inputs, hidden=hidden)
    drawn = jax.random.normal(key, shapes["hidden"]["kernel"], jnp.float32)
    zeros = jax.tree.map(jnp.zeros, shapes, is_leaf=lambda x: isinstance(x, tuple))
    deviations = jnp.maximum(descriptors.std(0), LEAST_DEVIATION)
    return {
        "input": {"mean": descriptors.mean(0), "std": deviations},
        "hidden": {"kernel": drawn / inputs**0.5, "bias": zeros["hidden"]["bias"]},
        "output": zeros["output"],
    }


def predictor_shapes(style: Params, *, inputs: int, hidden: int) -> Tree:
    """Compute the shapes of a predictor's parameters, as a tree of tuples."""
    sizes = {
        "-".join(path) or NORMS: sum(x.size for x in jax.tree.leaves(own))
        for path, own in _predicted_together(style)
    }
    units = hidden * len(sizes)
    return {
        "input": {"mean": (inputs,), "std": (inputs,)},
        "hidden": {"kernel": (inputs, units), "bias": (units,)},
        "output": {name: {"kernel": (hidden, size)} for name, size in sizes.items()},
    }


def predicted_part(predictor: Predictor) -> str:
    """Read off which part of a net is predicted, ``"norms"`` or ``"kernels"``."""
    return NORMS if NORMS in predictor["output"] else KERNELS


def predict_style(predictor: Predictor, descriptors: Descriptor, style: Params) -> Tree:
    """Predict styles from their descriptors.

        style + output tanh( hidden (descriptor - mean) / std + bias )

    with hidden units of their own for each convolution whose kernel is predicted.

    Source: the meta network of Shen et al. (2018), "Neural style transfer via meta
    networks". Differences: the hidden layer is bounded, so that a painting unlike all
    others still gets a working net; the descriptor has standard deviations and
    logarithms, of the first layer of each block. If norms are predicted, a one-hot
    descriptor is the index of a style in a table, as Dumoulin et al. (2017) have it.

    Args:
        predictor: from `init_predictor`.
        descriptors: ``[*n, d]``.
        style: the net's own, from `split_style`.

    Returns:
        The styles, each array with first axes ``*n``.

    Examples:
        >>> _, style = jaxstyle.nets.split_style(net)
        >>> key = jax.random.key(0)
        >>> predictor = jaxstyle.nets.init_predictor(key, jnp.eye(3), style)
        >>> found = jaxstyle.nets.predict_style(predictor, jnp.eye(3), style)
        >>> found["norm1"]["scale"].shape
        (3, 8)
    """
    constants, hidden = lax.stop_gradient(predictor["input"]), predictor["hidden"]
    x = (descriptors - constants["mean"]) / constants["std"]
    x = jnp.tanh(_product(x, hidden["kernel"]) + hidden["bias"])
    groups = list(_predicted_together(style))
    units = x.reshape(*x.shape[:-1], len(groups), -1)
    predicted = Tree()
    for index, (path, own) in enumerate(groups):
        flat, unravel = ravel_pytree(own)
        output = predictor["output"]["-".join(path) or NORMS]
        changed = flat + _product(units[..., index, :], output["kernel"])
        for _ in changed.shape[:-1]:
            unravel = jax.vmap(unravel)
        _put(predicted, path, unravel(changed))
    return predicted


def _predicted_together(
    style: Params, path: Path = ()
) -> Iterator[tuple[Path, Params]]:
    """Yield what shares hidden units: all norms, or the arrays of one convolution."""
    if "norm1" in style:
        yield path, style
        return
    for name, own in sorted(style.items()):
        if is_inner((*path, name)):
            yield (*path, name), own
        else:
            yield from _predicted_together(own, (*path, name))


def _put(tree: Tree, path: Path, value: Tree) -> None:
    """Put a tree where a path leads to in another one."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    if path:
        tree[path[-1]] = value
    else:
        tree.update(value)


def _product(x: Array, kernel: Array) -> Array:
    return jnp.matmul(x, kernel, precision="highest")
