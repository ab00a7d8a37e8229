"""Decoders on disk: one safetensors file with what is to be known about a decoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.files.param_files import check_params, load_params, save_params
from jaxstyle.transport.decoder import Params, init_decoder

FORMAT, FORMAT_VERSION = "jaxstyle-decoder", "1"

ORIGIN = {
    "source": "trained from photographs with scripts/train_decoder.py",
    "license": "MIT",
    "attribution": "the jaxstyle authors; the features are those of VGG-16, Karen "
    "Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford",
}


def save_decoder(params: Params, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a decoder, kernels in float16, wholly or not at all.

    Args:
        params: a decoder's.
        path: the file; one that exists is replaced.
        metadata: what else is to be known.

    Raises:
        ValueError: the file cannot be written.
    """
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, **ORIGIN, **metadata}
    about["channels"] = " ".join(str(count) for count in _channels(params))
    about["hidden"] = " ".join(str(count) for count in _hidden(params))
    save_params(jax.tree.map(_halve, dict(params)), path, metadata=about)


def load_decoder(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a decoder in float32, and its metadata.

    Raises:
        ValueError: the file is missing or damaged, or holds something else; all
            problems are named at once.
    """
    params, metadata = load_params(path)
    found = metadata.get("format"), metadata.get("format_version")
    try:
        if found != (FORMAT, FORMAT_VERSION):
            raise ValueError
        channels = [int(count) for count in metadata["channels"].split()]
        hidden = [int(count) for count in metadata["hidden"].split()]
        shapes = _expected_shapes(channels, hidden)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} holds no decoder of this package's format; make one with "
            "scripts/train_decoder.py"
        ) from error
    check_params(params, shapes, path=path)
    return params, metadata


def _expected_shapes(channels: list[int], hidden: list[int]) -> dict[str, Any]:
    def init() -> dict[str, Any]:
        return init_decoder(jax.random.key(0), channels, hidden=hidden)

    return jax.tree.map(lambda x: x.shape, jax.eval_shape(init))


def _channels(params: Params) -> list[int]:
    return [params[name]["input"]["mean"].size for name in sorted(params)]


def _hidden(params: Params) -> list[int]:
    return [
        params[name]["conv1"]["bias"].size for name in sorted(params) if name > "block1"
    ]


def _halve(array: Any) -> np.ndarray:
    return np.asarray(array, np.float16 if array.ndim > 1 else np.float32)
