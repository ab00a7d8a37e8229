"""Images to start an optimization from."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxstyle.images.arrays import Image

Init: TypeAlias = Callable[[Image, Sequence[Image], Array], Image]


def content(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from the content itself."""
    return content


def noise(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from uniform noise."""
    return jax.random.uniform(key, content.shape, content.dtype)


def gray(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from mid gray, with noise of less than one of 255 levels.

    The noise lets flat areas take a side.
    """
    return 0.5 + noise(content, styles, key) / 255


def style_stats(content: Image, styles: Sequence[Image], key: Array) -> Image:
    """Start from noise with the mean and the variance of the styles' pixels.

    They are found by channel, over the average of the styles' distributions; the noise
    is normal and then cut to [0, 1], which brings its mean and variance a little nearer
    to those of gray.
    """
    means = jnp.stack([style.mean((0, 1)) for style in styles])
    squares = jnp.stack([jnp.square(style).mean((0, 1)) for style in styles])
    mean = means.mean(0)
    deviation = jnp.sqrt(jnp.maximum(squares.mean(0) - jnp.square(mean), 1e-6))
    lower, upper = -mean / deviation, (1 - mean) / deviation
    normal = jax.random.truncated_normal(key, lower, upper, content.shape)
    return jnp.clip(mean + deviation * normal, 0, 1).astype(content.dtype)


INITS: Mapping[str, Init] = {
    "content": content,
    "noise": noise,
    "gray": gray,
    "style-stats": style_stats,
}
"""The inits by name: ``init(content, styles, key) -> image``, of the content's size."""
