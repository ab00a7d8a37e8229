"""``jaxstyle export``: one file for each kind of reader, and what is refused."""

import sys
from pathlib import Path

import jax
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from command_line import contents, run
from jax import export
from net_samples import random_images, random_net

from jaxstyle import load_style, save_style, stylize
from jaxstyle.nets.transform_net import Params

Captured = pytest.CaptureFixture[str]

WITHIN = 1e-4

pytestmark = pytest.mark.usefixtures("plain_convolutions", "in_folder")


@pytest.fixture(scope="module")
def params() -> Params:
    return random_net(negative_slope=1.0, blocks=5)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params) -> None:
    monkeypatch.chdir(tmp_path)
    save_style(params, "net.safetensors", metadata={})


def refused(capsys: Captured, *arguments: str) -> str:
    """Return the line of a command that must leave everything as it is."""
    before = contents(Path())
    assert run(["export", *arguments]) == 2
    assert contents(Path()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle export: error: ")
    return line


@pytest.mark.parametrize(
    "suffix", [".stablehlo", ".onnx", ".pytorch.safetensors", ".ONNX"]
)
def test_a_file_is_written_and_told(capsys: Captured, suffix: str) -> None:
    assert run(["export", "net.safetensors", "-o", f"out{suffix}"]) == 0
    size = Path(f"out{suffix}").stat().st_size / 1e6
    told = f"out{suffix}: width 4, {size:.1f} MB\n"
    assert capsys.readouterr() == (told, "")


def test_stablehlo_paints_the_same(params: Params) -> None:
    assert run(["export", "net.safetensors", "-o", "out.stablehlo"]) == 0
    content = Path("out.stablehlo").read_bytes()
    images = random_images(2, 17, 22, 3)
    call = export.deserialize(bytearray(content)).call
    found, expected = jax.jit(call)(images), jax.jit(stylize)(params, images)
    np.testing.assert_allclose(found, expected, atol=WITHIN)


def test_no_file_of_this_machine_is_named_in_stablehlo() -> None:
    assert run(["export", "net.safetensors", "-o", "out.stablehlo"]) == 0
    content = Path("out.stablehlo").read_bytes()
    assert b"stylize" in content
    assert b".py" not in content


def test_onnx_paints_the_same(params: Params) -> None:
    assert run(["export", "net.safetensors", "-o", "out.onnx"]) == 0
    images = random_images(1, 18, 25, 3)
    session = onnxruntime.InferenceSession("out.onnx")
    (found,) = session.run(None, {"images": images})
    expected = jax.jit(stylize)(params, images)
    np.testing.assert_allclose(found, expected, atol=WITHIN)


def test_a_state_dict_comes_back_by_import(params: Params) -> None:
    assert run(["export", "net.safetensors", "-o", "out.pytorch.safetensors"]) == 0
    assert run(["import", "out.pytorch.safetensors", "-o", "back.safetensors"]) == 0
    images = random_images(1, 20, 24, 3)
    found = jax.jit(stylize)(load_style("back.safetensors"), images)
    expected = jax.jit(stylize)(params, images)
    np.testing.assert_allclose(found, expected, atol=WITHIN)


# --- what is refused ----------------------------------------------------------------


def test_an_unknown_suffix_is_refused(capsys: Captured) -> None:
    line = refused(capsys, "net.safetensors", "-o", "out.tflite")
    assert "out.tflite" in line
    assert ".stablehlo" in line


def test_an_unknown_style_is_refused(capsys: Captured) -> None:
    line = refused(capsys, "great-wav", "-o", "out.onnx")
    assert "no style great-wav: did you mean great-wave" in line


def test_a_folder_that_is_missing_is_named(capsys: Captured) -> None:
    assert "nowhere" in refused(capsys, "net.safetensors", "-o", "nowhere/out.onnx")


def test_the_input_is_not_overwritten(capsys: Captured) -> None:
    Path("net.safetensors").rename("net.onnx")
    line = refused(capsys, "net.onnx", "-o", "net.onnx")
    assert "net.onnx is an input; writing the net would lose it" in line


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_other_files_of_nets_are_told_apart(capsys: Captured, suffix: str) -> None:
    line = refused(capsys, "net.safetensors", "-o", f"out{suffix}")
    assert f"cannot write the net out{suffix}: for PyTorch write " in line
    assert "write out.pytorch.safetensors; known are .stablehlo, .onnx, " in line


def test_a_net_that_pytorch_cannot_hold_is_refused(capsys: Captured) -> None:
    save_style(random_net(norm="batch"), "other.safetensors", metadata={})
    line = refused(capsys, "other.safetensors", "-o", "out.pytorch.safetensors")
    assert "it has 1 residual blocks, not 5; it has batch norm" in line


def test_without_the_package_onnx_the_remedy_is_named(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = refused(capsys, "net.safetensors", "-o", "out.onnx")
    assert "pip install onnx" in line
