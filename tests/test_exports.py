"""Nets as programs for JAX alone: any size, any platform, the same pictures."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from net_samples import KINDS, random_images, random_net

from jaxstyle.convert.exports import PLATFORMS, export_net
from jaxstyle.nets.transform_net import SMALLEST_SIDE, stylize

WITHIN = 1e-4

SHAPES = ((1, 16, 16, 3), (2, 17, 34, 3), (3, 23, 40, 3))
"""The smallest size, an odd one, all remainders of four, and batches."""

CALLER = """
import sys
import jax
import numpy as np
from jax import export

net = jax.jit(export.deserialize(open("net.stablehlo", "rb").read()).call)
images = np.load("images.npz")
np.savez("found.npz", **{name: net(images[name]) for name in images})
for name in sys.modules:
    print(name.partition(".")[0])
"""


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    return random_net(width=2)


@pytest.fixture(scope="module")
def exported(params: dict[str, Any]) -> export.Exported:
    return export_net(params)


@pytest.fixture(scope="module")
def reread(exported: export.Exported) -> export.Exported:
    return export.deserialize(exported.serialize())


def assert_same_pictures(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert expected.std() > 100 * WITHIN
    np.testing.assert_allclose(found, expected, rtol=0, atol=WITHIN)


def test_a_process_with_jax_alone_paints_the_same_at_any_size(
    tmp_path: Path, params: dict[str, Any], exported: export.Exported
) -> None:
    (tmp_path / "net.stablehlo").write_bytes(exported.serialize())
    images = {str(i): random_images(*shape) for i, shape in enumerate(SHAPES)}
    np.savez(tmp_path / "images.npz", allow_pickle=False, **images)
    done = subprocess.run(
        [sys.executable, "-c", CALLER],
        cwd=tmp_path,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"jax", "flatbuffers"} <= loaded
    assert not loaded & {"jaxstyle", "flax", "optax", "jaxtyping"}
    expected = jax.jit(stylize)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found) == set(images)
        for name, batch in images.items():
            assert_same_pictures(found[name], expected(params, batch))


@pytest.mark.parametrize(
    ("kind", "negative_slope"), [(KINDS[0], 1.0), (KINDS[1], 0.0), (KINDS[2], 0.3)]
)
def test_nets_of_other_kinds_paint_the_same(
    kind: dict[str, Any], negative_slope: float
) -> None:
    params = random_net(width=2, **kind, negative_slope=negative_slope)
    images = random_images(2, 18, 21, 3)
    found = jax.jit(export_net(params).call)(images)
    assert_same_pictures(found, jax.jit(stylize)(params, images))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_it_lowers_for_each_platform(reread: export.Exported, platform: str) -> None:
    assert reread.platforms == ("cpu", "cuda", "tpu")
    images = jax.ShapeDtypeStruct((1, 17, 20, 3), jnp.float32)
    lowered = export.export(jax.jit(reread.call), platforms=[platform])(images)
    assert lowered.platforms == (platform,)
    assert lowered.out_avals[0].shape == images.shape


# --- gradients ----------------------------------------------------------------------


def test_the_gradient_to_images_is_there_on_request() -> None:
    params = random_net(width=1, blocks=0)
    content = export_net(params).serialize(vjp_order=1)
    call = export.deserialize(content).call
    images = random_images(1, 17, 16, 3)
    found = jax.jit(jax.grad(lambda x: jnp.square(call(x)).sum()))(images)
    own = jax.jit(jax.grad(lambda x: jnp.square(stylize(params, x)).sum()))(images)
    assert_same_pictures(found / jnp.abs(own).max(), own / jnp.abs(own).max())


def test_without_request_there_is_none(reread: export.Exported) -> None:
    images = random_images(1, 16, 16, 3)
    with pytest.raises(ValueError, match="No VJP is available"):
        jax.eval_shape(jax.grad(lambda x: reread.call(x).sum()), images)


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        (
            (16, 16, 3),
            "float32",
            r"expected \(n, h, w, 3\) and called with \(16, 16, 3",
        ),
        ((1, 16, 16, 4), "float32", "4"),
        ((1, 16, 16, 3), "uint8", "expected float32 and called with uint8"),
    ],
)
def test_other_shapes_and_types_are_refused(
    reread: export.Exported, shape: tuple[int, ...], dtype: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        reread.call(np.ones(shape, dtype))


@pytest.mark.parametrize("size", [(SMALLEST_SIDE - 1, 16), (16, SMALLEST_SIDE - 1)])
def test_smaller_images_are_refused(
    reread: export.Exported, size: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="shapes"):
        reread.call(random_images(1, *size, 3))
