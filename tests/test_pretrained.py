"""The VGG networks that ship and that are loaded: what they are, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from vgg_samples import Tree, make_params

from jaxstyle.files.downloads import cache_folder
from jaxstyle.files.image_files import example_photos
from jaxstyle.files.param_files import load_params, save_params
from jaxstyle.files.vgg_files import OXFORD, load_vgg, save_vgg, to_half
from jaxstyle.vgg import layers, params as vgg_params
from jaxstyle.vgg.params import measure_mean_activations

SHIPPED = Path(__file__).parents[1] / "jaxstyle" / "weights" / "vgg16.safetensors"

# Published values of Oxford's VGG-16: kernel[0, 0, 0, 0] for BGR input, and bias[0].
PROBES = {
    "conv1_1": (0.42947057, 0.73429835),
    "conv1_2": (0.16621928, -0.30912212),
    "conv2_1": (-0.008902963, -0.04577766),
    "conv2_2": (-0.0023012366, -0.06418542),
    "conv3_1": (0.002486315, -0.074358866),
    "conv3_2": (-0.0103266295, 0.019675018),
    "conv3_3": (0.0024918285, 0.035415243),
    "conv4_1": (-0.012453815, 0.013485669),
    "conv4_2": (0.007116542, 0.023680462),
    "conv4_3": (-0.0041355654, 0.03757768),
    "conv5_1": (-0.0006068934, 0.09722325),
}


# --- the shipped file ---------------------------------------------------------------


@pytest.mark.parametrize("name", PROBES)
def test_shipped_weights_are_oxfords(name: str) -> None:
    kernel, bias = PROBES[name]
    blue = 2 if name == "conv1_1" else 0
    layer = load_vgg()[name]
    np.testing.assert_allclose(layer["kernel"][0, 0, blue, 0], kernel, rtol=2**-10)
    assert layer["bias"][0] == np.float32(bias)


def test_shipped_file_is_small_and_complete() -> None:
    stored = load_file(SHIPPED)
    assert set(PROBES) == {name.split("/")[0] for name in stored} - {"mean", "std"}
    assert SHIPPED.stat().st_size < 21e6
    for name, array in stored.items():
        half = name.endswith("kernel")
        assert array.dtype == (np.float16 if half else np.float32)


def test_shipped_file_names_its_origin() -> None:
    _, metadata = load_params(SHIPPED)
    assert metadata["network"] == "vgg16"
    assert metadata["license"] == "CC BY 4.0"
    assert "Simonyan" in metadata["attribution"]
    assert metadata["mean_activation_from"] == "1396 photographs"
    license = (SHIPPED.parent / "LICENSE.md").read_text()
    assert "Simonyan" in license
    assert "Attribution 4.0" in (SHIPPED.parent / "CC-BY-4.0.txt").read_text()


def test_shipped_input_is_the_mean_color_in_rgb() -> None:
    params = load_vgg()
    np.testing.assert_allclose(params["mean"] * 255, [123.68, 116.779, 103.939])
    np.testing.assert_allclose(params["std"] * 255, [1, 1, 1])


def test_no_filter_of_the_shipped_network_is_silent() -> None:
    for name in PROBES:
        assert (load_vgg()[name]["mean_activation"] > 0).all()


def test_example_photos_exist() -> None:
    photos = example_photos()
    assert len(photos) == 3
    assert all(photo.is_file() for photo in photos)


# --- loading ------------------------------------------------------------------------


@pytest.fixture
def measured(narrow_vgg: None, tmp_path: Path) -> Tree:
    photo = np.random.default_rng(5).random((16, 16, 3), np.float32)
    tree = measure_mean_activations(make_params(tmp_path / "tiny.onnx"), [photo])
    for name in PROBES:  # a random network may well have silent layers
        tree[name]["mean_activation"] = tree[name]["mean_activation"] + np.float32(0.1)
    return tree


def save(params: Tree, path: Path, network: str = "vgg16") -> None:
    save_vgg(params, path, network=network, origin=OXFORD, source="test", photos=1)


def test_a_file_by_path_loads_whole_or_cut_short(
    tmp_path: Path, measured: Tree
) -> None:
    path = tmp_path / "net.safetensors"
    for layer in ("relu5_3", "relu3_1"):
        params = dict(vgg_params.truncate(measured, (layer,)))
        save(to_half(params), path)
        loaded = load_vgg(path)
        assert layers.layer_names(loaded)[-1] == layer
        for name in ("kernel", "bias", "mean_activation"):
            np.testing.assert_allclose(
                loaded["conv3_1"][name], params["conv3_1"][name], rtol=2**-10
            )


def test_all_problems_of_a_weights_file_are_named_at_once(
    tmp_path: Path, measured: Tree
) -> None:
    path = tmp_path / "net.safetensors"
    measured["std"] = np.array([1, 0, 1], np.float32)
    measured["conv1_1"]["bias"] = np.full(2, np.nan, np.float32)
    measured["conv1_2"]["kernel"] = measured["conv1_2"]["kernel"][..., :1]
    del measured["conv2_1"]["mean_activation"]
    measured["conv2_2"]["mean_activation"] = np.zeros(3, np.float32)
    del measured["conv3_1"]
    measured["conv9_9"] = {"bias": np.ones(1, np.float32)}
    save(measured, path)
    with pytest.raises(ValueError, match=r"net\.safetensors") as caught:
        load_vgg(path)
    message = str(caught.value)
    assert "\n" not in message
    for problem in (
        "std is not positive",
        "conv1_1/bias holds NaN",
        "conv1_2/kernel has the shape (3, 3, 2, 1), expected (3, 3, 2, 2)",
        "conv2_1/mean_activation is missing",
        "conv2_2/mean_activation is not positive",
        "conv3_1/kernel is missing",
        "conv9_9/bias is unexpected",
    ):
        assert problem in message


def test_weights_of_the_wrong_network_are_refused(
    tmp_path: Path, measured: Tree
) -> None:
    save(measured, tmp_path / "net.safetensors", network="vgg19")
    with pytest.raises(ValueError, match="conv3_4/kernel is missing"):
        load_vgg(tmp_path / "net.safetensors")


def test_other_parameter_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_params({"a": np.ones(1)}, path, metadata={"format": "something else"})
    with pytest.raises(ValueError, match=r"convert_vgg\.py"):
        load_vgg(path)


def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"vgg11: expected vgg16, vgg19 or"):
        load_vgg("vgg11")


def test_a_network_not_yet_downloaded_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="jaxstyle weights vgg19"):
        load_vgg("vgg19")


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("JAXSTYLE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/someone/.cache/jaxstyle")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/jaxstyle")
    monkeypatch.setenv("JAXSTYLE_CACHE", "/own")
    assert cache_folder() == Path("/own")
