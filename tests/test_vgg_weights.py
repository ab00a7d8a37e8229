"""VGG weights of others: their conversion, mean activations, and the script."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
import torch_writer
from safetensors.numpy import load_file
from vgg_samples import (
    Tree,
    make_convolutions,
    make_params,
    save_photo,
    torchvision_tensors,
    write_nested_keras,
    write_onnx,
    write_published_keras,
)

from jaxstyle.convert.published_vgg import (
    from_keras,
    from_onnx,
    from_torchvision,
)
from jaxstyle.files.param_files import load_params
from jaxstyle.vgg import layers, network as vgg
from jaxstyle.vgg.params import measure_mean_activations

ROOT = Path(__file__).parents[1]

OXFORD_FILES: dict[str, tuple[Callable[..., None], str, Callable[..., Any]]] = {
    "onnx": (write_onnx, "x.onnx", from_onnx),
    "published keras": (write_published_keras, "x.h5", from_keras),
    "nested keras": (write_nested_keras, "x.h5", from_keras),
}


# --- conversion ---------------------------------------------------------------------


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("network", layers.NETWORKS)
@pytest.mark.parametrize("kind", OXFORD_FILES)
def test_oxfords_weights_are_turned_to_rgb(
    tmp_path: Path, kind: str, network: str
) -> None:
    write, file_name, read = OXFORD_FILES[kind]
    convolutions = make_convolutions(network)
    write(tmp_path / file_name, convolutions)
    name, params = read(tmp_path / file_name)
    assert name == network
    assert list(params) == ["mean", "std", *convolutions]
    for layer, (kernel, bias) in convolutions.items():
        in_order = kernel[:, :, ::-1] if layer == "conv1_1" else kernel
        np.testing.assert_array_equal(params[layer]["kernel"], in_order)
        np.testing.assert_array_equal(params[layer]["bias"], bias)


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate one image [h, w, c] with 3x3 kernels, by the definition."""
    height, width, _ = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    return sum(
        (
            padded[y : y + height, x : x + width] @ kernel[y, x]
            for y in range(3)
            for x in range(3)
        ),
        np.zeros((height, width, kernel.shape[-1])),
    )


@pytest.mark.usefixtures("narrow_vgg")
def test_converted_oxford_weights_see_bgr_less_the_mean_color(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg16")
    write_onnx(tmp_path / "x.onnx", convolutions)
    _, params = from_onnx(tmp_path / "x.onnx")
    image = np.random.default_rng(0).random((16, 18, 3), np.float32)
    bgr = 255.0 * image[..., ::-1] - [103.939, 116.779, 123.68]
    kernel, bias = convolutions["conv1_1"]
    expected = np.maximum(correlate(bgr, kernel) + bias, 0)
    got = vgg.features(params, jax.numpy.asarray(image))["relu1_1"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.usefixtures("narrow_vgg")
def test_converted_torchvision_weights_see_normalized_rgb(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg19")
    tensors = torchvision_tensors(convolutions)
    torch_writer.save_arrays(tmp_path / "x.pth", tensors, layout="legacy")
    network, params = from_torchvision(tmp_path / "x.pth")
    assert network == "vgg19"
    image = np.random.default_rng(0).random((16, 18, 3), np.float32)
    normalized = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel, bias = convolutions["conv1_1"]
    expected = np.maximum(correlate(normalized, kernel) + bias, 0)
    got = vgg.features(params, jax.numpy.asarray(image))["relu1_1"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(params["conv5_4"]["bias"], convolutions["conv5_4"][1])


@pytest.mark.usefixtures("narrow_vgg")
def test_batch_normalization_is_refused(tmp_path: Path) -> None:
    tensors = torchvision_tensors(make_convolutions("vgg16"))
    tensors["features.1.running_mean"] = np.zeros(2, np.float32)
    torch_writer.save_arrays(tmp_path / "x.pth", tensors)
    with pytest.raises(ValueError, match="batch normalization"):
        from_torchvision(tmp_path / "x.pth")


@pytest.mark.usefixtures("narrow_vgg")
def test_missing_biases_are_named(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg16")
    tensors = torchvision_tensors(convolutions)
    del tensors["features.2.bias"]
    torch_writer.save_arrays(tmp_path / "x.pth", tensors)
    with pytest.raises(ValueError, match=r"bias of features\.2$"):
        from_torchvision(tmp_path / "x.pth")
    write_published_keras(tmp_path / "x.h5", convolutions)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        del file["block2_conv1/block2_conv1_b_1:0"]
    with pytest.raises(ValueError, match="bias of block2_conv1"):
        from_keras(tmp_path / "x.h5")


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("kind", OXFORD_FILES)
def test_networks_of_another_depth_are_refused(tmp_path: Path, kind: str) -> None:
    write, file_name, read = OXFORD_FILES[kind]
    convolutions = make_convolutions("vgg16")
    del convolutions["conv5_3"]
    write(tmp_path / file_name, convolutions)
    with pytest.raises(
        ValueError, match=r"12 convolutions.*vgg16 has 13, vgg19 has 16"
    ):
        read(tmp_path / file_name)


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("kind", OXFORD_FILES)
def test_wrong_shapes_and_values_are_all_named(tmp_path: Path, kind: str) -> None:
    write, file_name, read = OXFORD_FILES[kind]
    convolutions = make_convolutions("vgg16")
    kernel, bias = convolutions["conv2_1"]
    convolutions["conv2_1"] = kernel[:, :, :1], bias * np.nan
    write(tmp_path / file_name, convolutions)
    with pytest.raises(ValueError, match=r"conv2_1/kernel.*; conv2_1/bias") as caught:
        read(tmp_path / file_name)
    assert "(3, 3, 1, 3), expected (3, 3, 2, 3)" in str(caught.value)


@pytest.mark.parametrize("read", [from_onnx, from_keras, from_torchvision])
@pytest.mark.parametrize("content", [None, b"", b"not what the suffix says\n" * 20])
def test_damaged_sources_are_one_clear_line(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes | None
) -> None:
    path = tmp_path / "source"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="source") as caught:
        read(path)
    assert "\n" not in str(caught.value)


# --- mean activations ---------------------------------------------------------------


@pytest.fixture
def tiny_params(narrow_vgg: None, tmp_path: Path) -> Tree:
    return make_params(tmp_path / "tiny.onnx")


def test_mean_activations_are_over_all_positions_of_all_photos(
    tiny_params: Tree,
) -> None:
    generator = np.random.default_rng(3)
    photos = [generator.random(size, np.float32) for size in ((33, 16, 3), (20, 40, 3))]
    measured = measure_mean_activations(tiny_params, iter(photos))
    outputs = [vgg.features(tiny_params, jax.numpy.asarray(p)) for p in photos]
    for layer in layers.layer_names(tiny_params):
        positions = np.concatenate(
            [np.asarray(x[layer]).reshape(-1, x[layer].shape[-1]) for x in outputs]
        )
        np.testing.assert_allclose(
            measured[layer.replace("relu", "conv")]["mean_activation"],
            positions.mean(0, dtype=np.float64),
            rtol=1e-5,
        )
    assert "mean_activation" not in tiny_params["conv1_1"]


def test_mean_activations_need_a_photo(tiny_params: Tree) -> None:
    with pytest.raises(ValueError, match="at least one photo"):
        measure_mean_activations(tiny_params, [])


# --- the script ---------------------------------------------------------------------


def convert(*arguments: object) -> int:
    path = ROOT / "scripts" / "convert_vgg.py"
    spec = importlib.util.spec_from_file_location("convert_vgg", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    code: int = script.main([str(argument) for argument in arguments])
    return code


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("suffix", [".onnx", ".h5", ".pth"])
def test_the_script_converts_every_format(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"vgg{suffix}", tmp_path / "out.safetensors"
    convolutions = make_convolutions("vgg16")
    if suffix == ".pth":
        torch_writer.save_arrays(source, torchvision_tensors(convolutions))
    else:
        write = write_onnx if suffix == ".onnx" else write_published_keras
        write(source, convolutions)
    (tmp_path / "photos").mkdir()
    save_photo(tmp_path / "photos" / "one.png")
    save_photo(tmp_path / "photos" / "two.PNG")
    options = ("--photos", tmp_path / "photos", "--deepest", "conv2_1")
    assert convert(source, "-o", output, *options, "--source", "a test") == 0
    params, metadata = load_params(output)
    assert layers.layer_names(params) == ("relu1_1", "relu1_2", "relu2_1")
    assert metadata["mean_activation_from"] == "2 photographs"
    assert metadata["source"] == "a test"
    assert ("Simonyan" in metadata["attribution"]) == (suffix != ".pth")
    assert load_file(output)["conv2_1/kernel"].dtype == np.float16


@pytest.mark.usefixtures("narrow_vgg")
def test_the_script_reports_bad_input_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "vgg.onnx", tmp_path / "out.safetensors"
    write_onnx(source, make_convolutions("vgg16"))
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        ((tmp_path / "x.bin", "-o", output), "expected a suffix of .onnx, .h5, .pth"),
        ((tmp_path / "x.h5", "-o", output), f"cannot read {tmp_path / 'x.h5'}"),
        ((source, "-o", tmp_path / "out.bin"), "must be a .safetensors file"),
        ((source, "-o", tmp_path / "no" / "out.safetensors"), "no such folder"),
        ((source, "-o", output, "--photos", empty), "no photographs"),
        ((source, "-o", output, "--photos", tmp_path / "no"), "no such folder"),
        ((source, "-o", output, "--deepest", "conv9_9"), "relu9_9"),
    ):
        assert convert(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not output.exists()


def test_an_array_larger_than_its_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(path := tmp_path / "x.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel", (10**9, 1, 1, 1), "f4", chunks=True)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="its arrays are larger than the file"):
        from_keras(path)
