"""Decoders on disk: one safetensors file with what is to be known about a decoder."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.files.param_files import check_params, load_params, save_params
from jaxstyle.transport.decoder import Params, init_decoder

FORMAT = {"format": "jaxstyle-decoder", "format_version": "1"}

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
    blocks = [params[name] for name in sorted(params)]
    channels = [block["input"]["mean"].size for block in blocks]
    hidden = [block["conv1"]["bias"].size for block in blocks[1:]]
    about = {**FORMAT, **ORIGIN, **metadata}
    about["channels"] = " ".join(map(str, channels))
    about["hidden"] = " ".join(map(str, hidden))

    def halve(array: Any) -> np.ndarray:
        return np.asarray(array, np.float16 if array.ndim > 1 else np.float32)

    save_params(jax.tree.map(halve, dict(params)), path, metadata=about)


def load_decoder(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a decoder in float32, and its metadata.

    Raises:
        ValueError: the file is missing or damaged, or holds something else; all
            problems are named at once.
    """
    params, metadata = load_params(path)
    try:
        if not FORMAT.items() <= metadata.items():
            raise ValueError
        channels = [int(count) for count in metadata["channels"].split()]
        hidden = [int(count) for count in metadata["hidden"].split()]
        init = partial(init_decoder, channels=channels, hidden=hidden)
        like = jax.eval_shape(init, jax.random.key(0))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} holds no decoder of this package's format; make one with "
            "scripts/train_decoder.py"
        ) from error
    check_params(params, jax.tree.map(lambda x: x.shape, like), path=path)
    return params, metadata
