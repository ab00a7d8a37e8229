"""Nets of many styles: one trunk, and the scales and biases of norms for each style.

A trunk and the norms of a style together are a transform net, which everything that
takes a net takes. The norms of a painting are predicted by a small network from the
statistics of its features; they can be trained further, alone or with the trunk.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.nets.net_layers import Params
from jaxstyle.nets.transform_net import stylize
from jaxstyle.vgg.layers import VGGParams
from jaxstyle.vgg.network import features

Norms: TypeAlias = dict[str, Any]
"""The part of a net's tree that holds scales and biases of norms."""

Predictor: TypeAlias = Mapping[str, Any]
"""The parameters of what predicts norms: ``input``, ``hidden`` and ``output``."""

Descriptor: TypeAlias = Float[Array, "*n d"]
"""The statistics of a painting's features, or any other vector that tells styles."""

DESCRIBED = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""The layers whose statistics describe a style."""

LEAST_STATISTIC = 0.01
"""What is added to statistics of features, whose mean is 1, before the logarithm."""

LEAST_DEVIATION = 1e-3
"""The least standard deviation by which a number of descriptors is divided."""


# --- a net as a trunk and norms -----------------------------------------------------


def split_norms(params: Params) -> tuple[dict[str, Any], Norms]:
    """Split a net with affine norms into its trunk and its norms.

    Args:
        params: from `jaxstyle.nets.init_net`, with the norm ``"affine"``.

    Returns:
        Two trees, which `join_norms` joins. Training may change the norms alone.

    Raises:
        ValueError: the norms have no scales and biases.

    Examples:
        >>> trunk, norms = jaxstyle.nets.split_norms(net)
        >>> sorted(norms)[:2], norms["norm1"]["scale"].shape
        (['norm1', 'norm2'], (8,))
    """
    trunk, norms = _split(params)
    own = tuple(sorted(norms.get("norm1", ())))
    if own != ("bias", "scale"):
        raise ValueError(
            "expected a net with affine norms, which have a bias and a scale, got one "
            f"with {', '.join(own) or 'none'}"
        )
    return trunk, norms


def _split(params: Params) -> tuple[dict[str, Any], Norms]:
    trunk: dict[str, Any] = {}
    norms: Norms = {}
    for name, own in params.items():
        if name.startswith("norm"):
            norms[name] = own
        elif name.startswith("residual"):
            trunk[name], norms[name] = _split(own)
        else:
            trunk[name] = own
    return trunk, norms


def join_norms(trunk: Params, norms: Params) -> dict[str, Any]:
    """Join a trunk and the norms of a style to a net; see `split_norms`.

    Examples:
        >>> joined = jaxstyle.nets.join_norms(*jaxstyle.nets.split_norms(net))
        >>> jax.tree.structure(joined) == jax.tree.structure(net)
        True
    """
    joined = {**trunk, **norms}
    for name in trunk.keys() & norms.keys():
        joined[name] = {**trunk[name], **norms[name]}
    return joined


def label_norms(params: Params) -> dict[str, Any]:
    """Label a net's norms ``moved`` and its trunk ``still``, for `optax.partition`."""
    trunk, norms = split_norms(params)
    return join_norms(
        jax.tree.map(lambda _: "still", trunk), jax.tree.map(lambda _: "moved", norms)
    )


def stylize_each(trunk: Params, norms: Params, images: Images) -> Images:
    """Repaint each image in a style of its own.

    Args:
        trunk: from `split_norms`.
        norms: those of the styles, stacked: each array has a first axis of ``n``.
        images: ``[n, h, w, 3]``, as in `jaxstyle.stylize`.

    Returns:
        Images of the same shape.

    Examples:
        >>> trunk, norms = jaxstyle.nets.split_norms(net)
        >>> two = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), norms)
        >>> photos = jnp.stack([photo, photo])
        >>> jaxstyle.nets.stylize_each(trunk, two, photos).shape
        (2, 16, 16, 3)
    """

    def apply(norms: Params, image: Images) -> Images:
        return stylize(join_norms(trunk, norms), image)

    return jax.vmap(apply)(norms, images)


# --- prediction ---------------------------------------------------------------------


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
    key: Array, descriptors: Descriptor, norms: Params, *, hidden: int = 128
) -> dict[str, Any]:
    """Draw the parameters of a network that predicts norms from descriptors.

    At first it predicts no change of a net's own norms.

    Args:
        key: from `jax.random.key`.
        descriptors: those of the styles to be trained on, ``[n, d]``; their means and
            standard deviations are kept, to normalize others by.
        norms: from `split_norms`.
        hidden: the width of the hidden layer, and so the rank of what it can predict.

    Returns:
        The parameters for `predict_norms`.

    Examples:
        >>> norms = jaxstyle.nets.split_norms(net)[1]
        >>> key = jax.random.key(0)
        >>> predictor = jaxstyle.nets.init_predictor(key, jnp.eye(3), norms)
        >>> sorted(predictor)
        ['hidden', 'input', 'output']
    """
    inputs = descriptors.shape[-1]
    shapes = predictor_shapes(norms, inputs=inputs, hidden=hidden)
    kernel = jax.random.normal(key, shapes["hidden"]["kernel"], jnp.float32)
    return {
        "input": {
            "mean": descriptors.mean(0),
            "std": jnp.maximum(descriptors.std(0), LEAST_DEVIATION),
        },
        "hidden": {
            "kernel": kernel / inputs**0.5,
            "bias": jnp.zeros(shapes["hidden"]["bias"]),
        },
        "output": {"kernel": jnp.zeros(shapes["output"]["kernel"])},
    }


def predictor_shapes(norms: Params, *, inputs: int, hidden: int) -> dict[str, Any]:
    """Compute the shapes of a predictor's parameters, as a tree of tuples."""
    outputs = sum(leaf.size for leaf in jax.tree.leaves(norms))
    return {
        "input": {"mean": (inputs,), "std": (inputs,)},
        "hidden": {"kernel": (inputs, hidden), "bias": (hidden,)},
        "output": {"kernel": (hidden, outputs)},
    }


def predict_norms(
    predictor: Predictor, descriptors: Descriptor, norms: Params
) -> Norms:
    """Predict the norms of styles from their descriptors.

        norms + output tanh( hidden (descriptor - mean) / std + bias )

    Source: the meta network of Shen et al. (2018), "Neural style transfer via meta
    networks". Differences: it predicts scales and biases, as the conditional instance
    norm of Dumoulin et al. (2017) has them, instead of kernels; the hidden layer is
    bounded, so that a painting unlike all others still gets a working net. A one-hot
    descriptor is the index of a style in a table, as Dumoulin et al. have it.

    Args:
        predictor: from `init_predictor`.
        descriptors: ``[*n, d]``.
        norms: the net's own, from `split_norms`.

    Returns:
        The norms, each array with first axes ``*n``.

    Examples:
        >>> norms = jaxstyle.nets.split_norms(net)[1]
        >>> key = jax.random.key(0)
        >>> predictor = jaxstyle.nets.init_predictor(key, jnp.eye(3), norms)
        >>> found = jaxstyle.nets.predict_norms(predictor, jnp.eye(3), norms)
        >>> found["norm1"]["scale"].shape
        (3, 8)
    """
    flat, unravel = ravel_pytree(norms)
    constants, hidden = lax.stop_gradient(predictor["input"]), predictor["hidden"]
    x = (descriptors - constants["mean"]) / constants["std"]
    x = jnp.tanh(_product(x, hidden["kernel"]) + hidden["bias"])
    predicted = flat + _product(x, predictor["output"]["kernel"])
    for _ in predicted.shape[:-1]:
        unravel = jax.vmap(unravel)
    found: Norms = unravel(predicted)
    return found


def _product(x: Array, kernel: Array) -> Array:
    return jnp.matmul(x, kernel, precision="highest")
