"""How well a decoder does on photographs that it has not seen."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxstyle.files.figures import make_sheet
from jaxstyle.transport.decoder import Params, decode_levels
from jaxstyle.transport.encoder import LEVELS, encode_photos

BATCH = 4
"""How many photographs are decoded at a time."""

SHOWN = 4
"""How many are on a sheet."""


def reconstruct(
    params: Params, vgg: Mapping[str, Any], photos: UInt8[Array, "n h w 3"]
) -> tuple[Float[Array, "k n h w 3"], Float[Array, "k n"], Float[Array, "k n 2"]]:
    """Decode photos from each level.

    Returns:
        From level 1 to 4: the pictures, clipped; their PSNR in dB; and of the first
        block alone the squared error and the squared deviation from the mean.
    """
    maps = encode_photos(vgg, photos)
    pictures, ratios, errors = [], [], []
    for level in range(1, len(LEVELS) + 1):
        found = decode_levels(params, maps[level], level=level, size=photos.shape[1:3])
        pictures.append(jnp.clip(found[-1], 0, 1))
        error = jnp.square(pictures[-1] - maps[0]).mean((1, 2, 3))
        ratios.append(-10 * jnp.log10(error))
        target = maps[level - 1]
        deviation = target - target.mean((0, 1, 2))
        parts = [jnp.square(x).mean((1, 2, 3)) for x in (found[0] - target, deviation)]
        errors.append(jnp.stack(parts, -1))
    return jnp.stack(pictures), jnp.stack(ratios), jnp.stack(errors)


_jitted = jax.jit(reconstruct)


class Judge(NamedTuple):
    """A VGG, and photographs of one size to measure decoders by."""

    vgg: Mapping[str, Any]
    squares: UInt8[np.ndarray, "n h w 3"]

    def measure(
        self, params: Params
    ) -> tuple[dict[str, float], Float[np.ndarray, "h w 3"]]:
        """Measure a decoder, and make a sheet of its pictures.

        ``psnr{k}`` is the mean over photographs of the peak signal-to-noise ratio of
        what is decoded from level k, in dB; ``explained{k}`` the share of the variance
        of level k - 1 that block k alone explains.
        """
        batches = np.split(self.squares, range(BATCH, len(self.squares), BATCH))
        parts = [jax.device_get(_jitted(params, self.vgg, batch)) for batch in batches]
        pictures, ratios, errors = (
            np.concatenate(found, 1) for found in zip(*parts, strict=True)
        )
        missed, variance = np.moveaxis(errors.mean(1), -1, 0)
        explained = 1 - missed / variance
        measures = {}
        for level in range(1, len(LEVELS) + 1):
            measures[f"psnr{level}"] = float(ratios[level - 1].mean())
            measures[f"explained{level}"] = float(explained[level - 1])
        originals = self.squares[:SHOWN] / np.float32(255)
        rows = [[photo, *pictures[:, i]] for i, photo in enumerate(originals)]
        return measures, make_sheet(rows, column_labels=["photo", *LEVELS])
