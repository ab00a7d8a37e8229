"""Files of nets of many styles: a net, and what predicts styles from paintings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxstyle.files.param_files import (
    check_format,
    check_params,
    leaves,
    load_params,
    not_positive,
    quantize,
    restore,
    save_params,
)
from jaxstyle.files.style_files import ITS_TRUNK, TRUNK, check_net, digest_trunk
from jaxstyle.nets.conditional import NORMS, split_style
from jaxstyle.nets.prediction import predicted_part, predictor_shapes


def save_trunk(
    many: Mapping[str, Any],
    path: str | Path,
    *,
    metadata: Mapping[str, str],
    compact: bool = False,
) -> None:
    """Write the parameters of a net of many styles to a new or replaced file.

    Args:
        many: a tree of ``net`` and ``predictor``, from `jaxstyle.training.init_many`.
        path: the file.
        metadata: facts about the net; ``format`` and ``format_version`` are added.
        compact: round kernels to whole numbers of 8 bits, with a scale for each
            channel: a quarter of the size.

    Examples:
        >>> key, paintings = jax.random.key(0), jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(key, net, vgg, paintings)
        >>> jaxstyle.files.save_trunk(many, "trunk.safetensors", metadata={})
    """
    _check(many, path=path)
    stored = many
    if compact:
        stored = quantize(many)
        many = restore(stored)
    if predicted_part(many["predictor"]) == NORMS:
        trunk, _ = split_style(many["net"])
        metadata = {**metadata, ITS_TRUNK: digest_trunk(trunk)}
    save_params(stored, path, metadata={**metadata, **TRUNK})


def load_trunk(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the parameters of a net of many styles, in float32, and their metadata.

    Args:
        path: a file by `save_trunk`, or by ``jaxstyle train`` with several paintings.

    Returns:
        The tree that `jaxstyle.training.predict_net` takes, and the metadata.

    Examples:
        >>> key, paintings = jax.random.key(0), jnp.zeros((2, 16, 16, 3), jnp.uint8)
        >>> many = jaxstyle.training.init_many(key, net, vgg, paintings)
        >>> facts = {"painters": "many"}
        >>> jaxstyle.files.save_trunk(many, "trunk.safetensors", metadata=facts)
        >>> many, metadata = jaxstyle.files.load_trunk("trunk.safetensors")
        >>> metadata["painters"]
        'many'
    """
    arrays, metadata = load_params(path)
    many = restore(arrays)
    check_format(
        metadata, TRUNK, path=path, made_by="jaxstyle train --style IMAGE IMAGE ..."
    )
    _check(many, path=path)
    return many, metadata


def _check(many: Mapping[str, Any], *, path: str | Path) -> None:
    """Raise a ValueError unless there are a net and a predictor that fits it."""
    for name in ("net", "predictor"):
        if not isinstance(many.get(name), Mapping):
            raise ValueError(f"wrong parameters in {path}: {name} is missing")
    net, predictor = many["net"], many["predictor"]
    check_net(net, path=path)
    arrays = dict(leaves(predictor))
    if not isinstance(outputs := predictor.get("output"), Mapping) or not outputs:
        raise ValueError(f"wrong parameters in {path}: predictor/output is missing")
    _, style = split_style(net, part=predicted_part(predictor))
    kernel = arrays.get("hidden/kernel")
    inputs, units = (1, 1) if kernel is None or kernel.ndim != 2 else kernel.shape
    shapes = predictor_shapes(style, inputs=inputs, hidden=units // len(outputs))
    others = not_positive(arrays, ("input/std",))
    check_params(predictor, shapes, path=path, others=others)
