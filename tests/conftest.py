"""Networks and images that several tests share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxstyle
from jaxstyle import convolutions

# Programs run once here, on small images: compiling them takes most of the time. This
# is half of that. XLA reads it when it compiles the first one.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


GOLDEN = Path(__file__).parent / "golden" / "vgg16.npz"

Params = dict[str, Any]


@pytest.fixture(scope="module")
def plain_convolutions() -> Iterator[None]:
    """Let XLA's own convolutions run nets on the CPU too: they compile much faster.

    That both ways are the same is for test_convolutions.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "by_blocks", convolutions.directly)
        yield


@pytest.fixture(scope="session")
def raw() -> Params:
    """Oxford's VGG-16 down to relu5_1, as it ships."""
    params: Params = jax.tree.map(jnp.asarray, jaxstyle.load_vgg())
    return params


@pytest.fixture(scope="session")
def shallow(raw: Params) -> Params:
    """Its first three layers, normalised: quick to compile and to run."""
    return dict(jaxstyle.normalize(jaxstyle.truncate(raw, ["relu2_1"])))


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """What scripts/make_golden.py stored."""
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="session")
def content(golden: dict[str, np.ndarray]) -> jax.Array:
    """A photograph, [24, 32, 3]."""
    return jnp.asarray(golden["content"][10:34, 20:52] / np.float32(255))


@pytest.fixture(scope="session")
def style(golden: dict[str, np.ndarray]) -> jax.Array:
    """A painting of another size, [20, 28, 3]."""
    return jnp.asarray(golden["style"][10:30, 20:48] / np.float32(255))


@pytest.fixture(scope="session")
def noisy(golden: dict[str, np.ndarray]) -> jax.Array:
    """The photograph with noise, [24, 32, 3]."""
    return jnp.asarray(golden["image"][10:34, 20:52] / np.float32(255))
