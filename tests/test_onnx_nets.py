"""Nets as ONNX files: a runtime that knows nothing of JAX paints the same pictures."""

import sys
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from net_samples import every_kind, random_images, random_net

from jaxstyle.convert.exports import OPSET, to_onnx
from jaxstyle.nets.transform_net import NORMS, Params, stylize

pytestmark = pytest.mark.usefixtures("plain_convolutions")

WITHIN = 1e-4

SHAPES = (
    (1, 16, 16, 3),
    (2, 17, 19, 3),
    (1, 18, 33, 3),
    (3, 23, 16, 3),
    (1, 40, 28, 3),
)
"""The smallest size, odd ones, all remainders of four, and batches."""

every_norm = pytest.mark.parametrize("norm", NORMS)


def run(content: bytes, images: np.ndarray) -> np.ndarray:
    """Run a file, in one session for all sizes."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(["stylized"], {"images": images})
    return np.asarray(result)


def assert_same_pictures(params: Params, images: np.ndarray) -> None:
    expected = np.asarray(jax.jit(stylize)(params, images))
    assert expected.std() > 100 * WITHIN
    found = run(to_onnx(params), images)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=WITHIN)


@every_kind
@pytest.mark.parametrize("negative_slope", [0.0, 0.3, 1.0])
def test_every_kind_of_net_paints_the_same(
    kind: dict[str, Any], negative_slope: float
) -> None:
    params = random_net(**kind, negative_slope=negative_slope)
    assert_same_pictures(params, random_images(2, 18, 21, 3))
    assert_same_pictures(params, random_images(1, 64, 131, 3))


@pytest.mark.parametrize("shape", SHAPES)
def test_any_size_will_do(shape: tuple[int, ...]) -> None:
    assert_same_pictures(random_net(), random_images(*shape))


@pytest.mark.parametrize("blocks", [0, 3])
def test_any_number_of_blocks_will_do(blocks: int) -> None:
    assert_same_pictures(random_net(blocks=blocks), random_images(1, 20, 16, 3))


def test_statistics_of_a_large_image_are_exact() -> None:
    """Sums over very many pixels lose digits where they are added one by one."""
    params = random_net(width=1, blocks=0)
    assert_same_pictures(params, random_images(1, 1024, 512, 3))


def test_one_session_takes_all_sizes() -> None:
    session = onnxruntime.InferenceSession(
        to_onnx(random_net()), providers=["CPUExecutionProvider"]
    )
    for shape in SHAPES:
        (result,) = session.run(None, {"images": random_images(*shape)})
        assert result.shape == shape


def describe(value: Any) -> tuple[str, list[Any]]:
    kind = value.type.tensor_type
    assert kind.elem_type == onnx.TensorProto.FLOAT
    sides = [side.dim_param or side.dim_value for side in kind.shape.dim]
    return value.name, sides


@every_norm
def test_the_file_is_sound_and_says_what_goes_in_and_out(norm: str) -> None:
    model = onnx.load_from_string(to_onnx(random_net(norm=norm)))
    onnx.checker.check_model(model, full_check=True)
    sides = ["n", "h", "w", 3]
    assert list(map(describe, model.graph.input)) == [("images", sides)]
    assert list(map(describe, model.graph.output)) == [("stylized", sides)]
    assert [(used.domain, used.version) for used in model.opset_import] == [("", OPSET)]
    assert model.producer_name == "jaxstyle"


def test_equal_nets_give_equal_bytes() -> None:
    params = random_net()
    assert to_onnx(params) == to_onnx(jax.tree.map(np.asarray, params))


def test_without_the_package_onnx_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        to_onnx(random_net())
