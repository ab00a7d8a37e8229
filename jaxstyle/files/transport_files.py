"""Decoders and paintings on disk, each a safetensors file with facts about it.

Numbers have 8 bits each. Of a decoder's kernels, each channel has a scale. A painting's
covariances are kept as the lower triangles of their Cholesky factors, with a scale for
each row: what is read again is a covariance whatever the rounding. Pictures differ by
less than two of 255 levels (43 dB and more).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.files.atomic import explained
from jaxstyle.files.param_files import (
    STEPS,
    check_format,
    check_params,
    load_params,
    package_file,
    quantize,
    restore,
    save_params,
)
from jaxstyle.files.style_files import PAINTING, find_style
from jaxstyle.files.vgg_files import load_vgg
from jaxstyle.kernels.gaussians import Gaussian
from jaxstyle.transport.decoder import Params, init_decoder
from jaxstyle.transport.encoder import LEVELS
from jaxstyle.transport.paintings import Painting, with_noise
from jaxstyle.vgg import params as vgg_params
from jaxstyle.vgg.layers import width

DECODER = {"format": "jaxstyle-decoder", "format_version": "1"}

SHIPPED = package_file("weights", "decoder.safetensors")
"""The decoder of the package."""

ORIGIN = {
    "source": "trained from photographs with scripts/train_decoder.py",
    "license": "MIT",
    "attribution": "the jaxstyle authors; the features are those of VGG-16, Karen "
    "Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford",
}


def load_transport(decoder: str | Path | None = None) -> dict[str, Any]:
    """Load what `jaxstyle.transport.stylize` needs to paint like any painting.

    Args:
        decoder: a file that ``scripts/train_decoder.py`` has made, instead of the one
            in the package.

    Returns:
        Parameters in float32. ``encoder`` are those of VGG-16 down to relu4_1,
        normalized; ``decoder`` leads back.

    Examples:
        >>> params = jaxstyle.load_transport()
        >>> sorted(params)
        ['decoder', 'encoder']
    """
    path = SHIPPED if decoder is None else decoder
    vgg = vgg_params.truncate(load_vgg(), LEVELS)
    # As one program: each of its small ones would take as long to compile.
    encoder = jax.jit(vgg_params.normalize)(vgg)
    return {"encoder": encoder, "decoder": load_decoder(path)[0]}


# --- decoders -----------------------------------------------------------------------


def save_decoder(params: Params, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a decoder to a new or replaced file, its kernels in 8 bits."""
    blocks = [params[name] for name in sorted(params)]
    channels = [block["input"]["mean"].size for block in blocks]
    hidden = [block["conv1"]["bias"].size for block in blocks[1:]]
    about = {**DECODER, **ORIGIN, **metadata}
    about["channels"] = " ".join(map(str, channels))
    about["hidden"] = " ".join(map(str, hidden))
    save_params(quantize(params), path, metadata=about)


def load_decoder(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a decoder in float32, and its metadata."""
    arrays, metadata = load_params(path)
    check_format(metadata, DECODER, path=path, made_by="scripts/train_decoder.py")
    params = restore(arrays)
    with explained(f"cannot tell the channels of the decoder {path}"):
        channels = [int(count) for count in metadata["channels"].split()]
        hidden = [int(count) for count in metadata["hidden"].split()]
        init = partial(init_decoder, channels=channels, hidden=hidden)
        like = jax.eval_shape(init, jax.random.key(0))
    check_params(params, jax.tree.map(lambda x: x.shape, like), path=path)
    return params, metadata


# --- paintings ----------------------------------------------------------------------


def save_painting(
    painting: Painting, path: str | Path, *, metadata: Mapping[str, str]
) -> None:
    """Write a painting to a new or replaced file of 0.3 MB.

    Args:
        painting: from `jaxstyle.transport.describe`, of one image.
        path: the file.
        metadata: facts about the painting, such as its ``title`` and ``painter``;
            ``format`` and ``format_version`` are added.

    Examples:
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> facts = {"title": "Checks", "painter": "me"}
        >>> jaxstyle.files.save_painting(target, "mine.safetensors", metadata=facts)
    """
    arrays = {layer: _pack(with_noise(found)) for layer, found in painting.items()}
    check_params(arrays, _painting_shapes(), path=path)
    save_params(arrays, path, metadata={**metadata, **PAINTING})


def load_painting(name_or_path: str | Path) -> Painting:
    """Read a painting for `jaxstyle.transport.stylize`.

    Args:
        name_or_path: a painting in the package, such as ``"hokusai-poppies"``
            (``jaxstyle styles`` lists them), or a file by `save_painting` or
            ``jaxstyle describe``.

    Returns:
        The painting, in float32.

    Examples:
        >>> jaxstyle.files.load_painting("hokusai-poppies")["relu4_1"].mean.shape
        (512,)
    """
    path = find_style(name_or_path)
    arrays, metadata = load_params(path)
    check_format(metadata, PAINTING, path=path, made_by="jaxstyle describe")
    check_params(arrays, _painting_shapes(), path=path)
    return {layer: _unpack(arrays[layer]) for layer in LEVELS}


def _painting_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for layer in LEVELS:
        count = width(layer)
        triangle = count * (count + 1) // 2
        shapes[layer] = {"mean": (count,), "scale": (count,), "factor": (triangle,)}
    return shapes


def _pack(gaussian: Gaussian) -> dict[str, np.ndarray]:
    factor = np.linalg.cholesky(np.asarray(gaussian.covariance, np.float64))
    scale = np.abs(factor).max(1) / STEPS
    whole = np.rint(factor / scale[:, None]).astype(np.int8)
    return {
        "mean": np.asarray(gaussian.mean, np.float32),
        "scale": scale.astype(np.float32),
        "factor": whole[np.tril_indices(len(whole))],
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> Gaussian:
    count = arrays["mean"].size
    factor = np.zeros((count, count), np.float32)
    factor[np.tril_indices(count)] = arrays["factor"]
    factor *= arrays["scale"][:, None]
    return Gaussian(
        jax.numpy.asarray(arrays["mean"]), jax.numpy.asarray(factor @ factor.T)
    )
