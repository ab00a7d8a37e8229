"""Narrow nets with parameters of which none is neutral, and images for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.nets.transform_net import init_net, net_shapes

CONSTANTS = {"filter", "input", "negative_slope", "noise", "output"}
"""The parameters that training leaves alone, as far as a net has them."""

KINDS: list[dict[str, Any]] = [
    {"norm": "affine", "upsampling": "bilinear", "noise": 2},
    {"norm": "instance"},
    {"norm": "batch"},
]
"""Options of nets of all norms, and with all that the package's own nets may have."""

every_kind = pytest.mark.parametrize(
    "kind", KINDS, ids=[kind["norm"] for kind in KINDS]
)


def random_net(seed: int = 0, **options: Any) -> dict[str, Any]:
    """Return a net of which no scale is 1, no bias is 0 and no statistic is either."""
    params = jax.device_get(
        init_net(jax.random.key(seed), **{"width": 4, "blocks": 1, **options})
    )
    noise, dtype = np.random.default_rng(seed), jnp.result_type(float)
    moved: dict[str, Any] = jax.tree.map(
        lambda x: (x + (abs(x) + 0.1) * noise.uniform(-0.3, 0.3, x.shape)).astype(
            dtype
        ),
        params,
    )
    return moved | {name: params[name] for name in CONSTANTS & params.keys()}


def quick_net(seed: int = 0, *, width: int = 4) -> dict[str, Any]:
    """Return a net of noise around gray, without waiting for anything to compile."""
    noise = np.random.default_rng(seed)
    net: dict[str, Any] = jax.tree.map(
        lambda shape: np.float32(noise.normal(size=shape)),
        net_shapes(width=width, norm="affine", blocks=1),
        is_leaf=lambda x: isinstance(x, tuple),
    )
    gray = {"mean": np.full(3, 0.5, np.float32), "std": np.full(3, 0.01, np.float32)}
    return {**net, "input": gray, "output": gray}


def random_images(*shape: int) -> np.ndarray:
    """Return images [n, h, w, 3] of noise."""
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32)
