"""Narrow decoders and encoders, and photographs for them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from vgg_samples import make_convolutions

from jaxstyle.transport import closed_form
from jaxstyle.transport.decoder import hidden_channels, init_decoder
from jaxstyle.transport.encoder import LEVELS, encode_photos
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg.params import measure_mean_activations

Tree = dict[str, Any]


def make_vgg() -> Tree:
    """Return a VGG-16 of the current widths down to relu4_1."""
    params: Tree = {"mean": np.full(3, 0.45, np.float32)}
    params["std"] = np.full(3, 0.25, np.float32)
    for name, (kernel, bias) in make_convolutions("vgg16").items():
        if name <= "conv4_1":
            # Of mean 0, so that activations do not grow from layer to layer.
            params[name] = {"kernel": (kernel - 0.2) / 2, "bias": bias}
    photo = np.random.default_rng(0).random((32, 32, 3), np.float32)
    measured: Tree = measure_mean_activations(params, [photo])
    return measured


def make_decoder(*, width: float = 0.5) -> Tree:
    """Return a decoder of the current widths, without its closed form."""
    widths = vgg_layers.WIDTHS[: len(LEVELS)]
    hidden = hidden_channels(widths, width=width)
    decoder: Tree = init_decoder(jax.random.key(0), widths, hidden=hidden)
    return decoder


def fit_decoder(vgg: Tree) -> Tree:
    """Return a decoder of the current widths in closed form."""
    photos = np.random.default_rng(1).random((2, 8, 8, 8, 3), np.float32)
    smooth = jax.image.resize(photos, (2, 8, 64, 64, 3), "linear")
    encode = jax.jit(encode_photos)
    batches = [jax.device_get(encode(vgg, 255 * batch)) for batch in smooth]
    fitted: Tree = closed_form.fit_decoder(make_decoder(), batches, samples=2048)
    return fitted


def make_maps(*shape: int, seed: int = 0) -> jax.Array:
    """Return features: random, none negative."""
    return jnp.abs(jax.random.normal(jax.random.key(seed), shape))


def save_photographs(folder: Path, count: int, *, side: int = 48) -> None:
    """Write images of waves, each of its own size."""
    folder.mkdir()
    for number in range(count):
        y, x, c = np.meshgrid(
            np.arange(side + number), np.arange(side + 3), np.arange(3), indexing="ij"
        )
        waves = 128 + 127 * np.sin(0.02 * (number + 1 + c) * x + 0.1 * y)
        Image.fromarray(waves.astype(np.uint8)).save(folder / f"{number:02d}.png")
