"""VGG weights: the shipped file, conversion from other formats, and downloads."""

import hashlib
import importlib.util
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import onnx
import pytest
import torch_writer
from PIL import Image
from safetensors.numpy import load_file

from jaxstyle import pretrained, vgg
from jaxstyle.param_files import load_params, save_params
from jaxstyle.pretrained import cache_folder, download_vgg, load_vgg
from jaxstyle.vgg_files import OXFORD, save_vgg, to_half
from jaxstyle.vgg_weights import (
    from_keras,
    from_onnx,
    from_torchvision,
    measure_mean_activations,
)

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "jaxstyle" / "weights" / "vgg16.safetensors"

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

Convolutions = dict[str, tuple[np.ndarray, np.ndarray]]
Tree = dict[str, Any]


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
    assert metadata["licence"] == "CC BY 4.0"
    assert "Simonyan" in metadata["attribution"]
    assert metadata["mean_activation_from"] == "1396 photographs"
    licence = (SHIPPED.parent / "LICENSE.md").read_text()
    assert "Simonyan" in licence
    assert "Attribution 4.0" in (SHIPPED.parent / "CC-BY-4.0.txt").read_text()


def test_shipped_input_is_the_mean_colour_in_rgb() -> None:
    params = load_vgg()
    np.testing.assert_allclose(params["mean"] * 255, [123.68, 116.779, 103.939])
    np.testing.assert_allclose(params["std"] * 255, [1, 1, 1])


def test_no_filter_of_the_shipped_network_is_silent() -> None:
    for name in PROBES:
        assert (load_vgg()[name]["mean_activation"] > 0).all()


def test_example_photos_exist() -> None:
    photos = pretrained.example_photos()
    assert len(photos) == 3
    assert all(photo.is_file() for photo in photos)


# --- tiny networks ------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the networks narrow, so that conversions take no time."""
    monkeypatch.setattr(vgg, "WIDTHS", (2, 3, 4, 5, 6))


def make_convolutions(network: str) -> Convolutions:
    """Return kernels [3, 3, in, out] and biases of a network of the current widths."""
    generator = np.random.default_rng(7)
    convolutions, width_in = {}, 3
    for name in vgg.convolution_names(network):
        width = vgg.WIDTHS[int(name[4]) - 1]
        kernel = generator.normal(0.2, 0.5, (3, 3, width_in, width))
        bias = generator.normal(0.1, 0.1, width)
        convolutions[name] = kernel.astype(np.float32), bias.astype(np.float32)
        width_in = width
    return convolutions


def write_onnx(path: Path, convolutions: Convolutions) -> None:
    tensors, nodes = [], []
    for i, (name, (kernel, bias)) in enumerate(convolutions.items()):
        arrays = {f"{name}/k": kernel.transpose(3, 2, 0, 1), f"{name}/b": bias}
        for key, array in arrays.items():
            tensors.append(onnx.numpy_helper.from_array(array.copy(), key))
        nodes.append(onnx.helper.make_node("Conv", [f"x{i}", *arrays], [f"x{i + 1}"]))
    # Stored tensors come in no particular order; nodes follow the computation.
    graph = onnx.helper.make_graph(nodes, "net", [], [], tensors[::-1])
    onnx.save(onnx.helper.make_model(graph), path)


def keras_name(name: str) -> str:
    return f"block{name[4]}_conv{name[6:]}"


def write_published_keras(path: Path, convolutions: Convolutions) -> None:
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in convolutions.items():
            group = file.create_group(keras_name(name))
            group[f"{keras_name(name)}_W_1:0"] = kernel
            group[f"{keras_name(name)}_b_1:0"] = bias
        file.create_group("block1_pool")


def write_nested_keras(path: Path, convolutions: Convolutions) -> None:
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in convolutions.items():
            key = keras_name(name)
            file[f"model_weights/{key}/{key}/kernel:0"] = kernel
            file[f"model_weights/{key}/{key}/bias:0"] = bias
            file[f"optimizer_weights/adam/{key}/kernel/m:0"] = kernel + 1
        file["model_weights/predictions/kernel:0"] = np.ones((6, 10), np.float32)


def torchvision_tensors(convolutions: Convolutions) -> dict[str, np.ndarray]:
    tensors, index, block = {}, 0, "1"
    for name, (kernel, bias) in convolutions.items():
        index += name[4] != block  # a pooling layer
        block = name[4]
        tensors[f"features.{index}.weight"] = kernel.transpose(3, 2, 0, 1).copy()
        tensors[f"features.{index}.bias"] = bias
        index += 2  # the convolution and its ReLU
    return tensors | {"classifier.0.weight": np.ones((4, 6), np.float32)}


OXFORD_FILES: dict[str, tuple[Callable[..., None], str, Callable[..., Any]]] = {
    "onnx": (write_onnx, "x.onnx", from_onnx),
    "published keras": (write_published_keras, "x.h5", from_keras),
    "nested keras": (write_nested_keras, "x.h5", from_keras),
}


# --- conversion ---------------------------------------------------------------------


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("network", vgg.NETWORKS)
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


@pytest.mark.usefixtures("tiny")
def test_converted_oxford_weights_see_bgr_less_the_mean_colour(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg16")
    write_onnx(tmp_path / "x.onnx", convolutions)
    _, params = from_onnx(tmp_path / "x.onnx")
    image = np.random.default_rng(0).random((16, 18, 3), np.float32)
    bgr = 255.0 * image[..., ::-1] - [103.939, 116.779, 123.68]
    kernel, bias = convolutions["conv1_1"]
    expected = np.maximum(correlate(bgr, kernel) + bias, 0)
    got = vgg.features(params, jax.numpy.asarray(image))["relu1_1"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.usefixtures("tiny")
def test_converted_torchvision_weights_see_normalised_rgb(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg19")
    tensors = torchvision_tensors(convolutions)
    torch_writer.save_arrays(tmp_path / "x.pth", tensors, layout="legacy")
    network, params = from_torchvision(tmp_path / "x.pth")
    assert network == "vgg19"
    image = np.random.default_rng(0).random((16, 18, 3), np.float32)
    normalised = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel, bias = convolutions["conv1_1"]
    expected = np.maximum(correlate(normalised, kernel) + bias, 0)
    got = vgg.features(params, jax.numpy.asarray(image))["relu1_1"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(params["conv5_4"]["bias"], convolutions["conv5_4"][1])


@pytest.mark.usefixtures("tiny")
def test_batch_normalisation_is_refused(tmp_path: Path) -> None:
    tensors = torchvision_tensors(make_convolutions("vgg16"))
    tensors["features.1.running_mean"] = np.zeros(2, np.float32)
    torch_writer.save_arrays(tmp_path / "x.pth", tensors)
    with pytest.raises(ValueError, match="batch normalisation"):
        from_torchvision(tmp_path / "x.pth")


@pytest.mark.usefixtures("tiny")
def test_missing_biases_are_named(tmp_path: Path) -> None:
    convolutions = make_convolutions("vgg16")
    tensors = torchvision_tensors(convolutions)
    del tensors["features.2.bias"]
    torch_writer.save_arrays(tmp_path / "x.pth", tensors)
    with pytest.raises(ValueError, match=r"biases of features \[2\]"):
        from_torchvision(tmp_path / "x.pth")
    write_published_keras(tmp_path / "x.h5", convolutions)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        del file["block2_conv1/block2_conv1_b_1:0"]
    with pytest.raises(ValueError, match="bias of block2_conv1"):
        from_keras(tmp_path / "x.h5")


@pytest.mark.usefixtures("tiny")
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


@pytest.mark.usefixtures("tiny")
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
def tiny_params(tiny: None, tmp_path: Path) -> Tree:
    write_onnx(tmp_path / "tiny.onnx", make_convolutions("vgg16"))
    params: Tree = from_onnx(tmp_path / "tiny.onnx")[1]
    return params


def test_mean_activations_are_over_all_positions_of_all_photos(
    tiny_params: Tree,
) -> None:
    generator = np.random.default_rng(3)
    photos = [generator.random(size, np.float32) for size in ((33, 16, 3), (20, 40, 3))]
    measured = measure_mean_activations(tiny_params, iter(photos))
    outputs = [vgg.features(tiny_params, jax.numpy.asarray(p)) for p in photos]
    for layer in vgg.layer_names(tiny_params):
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


# --- loading ------------------------------------------------------------------------


@pytest.fixture
def measured(tiny_params: Tree) -> Tree:
    photo = np.random.default_rng(5).random((16, 16, 3), np.float32)
    tree = measure_mean_activations(tiny_params, [photo])
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
        params = dict(vgg.truncate(measured, (layer,)))
        save(to_half(params), path)
        loaded = load_vgg(path)
        assert vgg.layer_names(loaded)[-1] == layer
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
        "conv9_9/bias is surplus",
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


# --- downloads ----------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serve ``body`` at /good; at /truncated and /tampered what the names say."""

    body = b""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.body
        bodies = {
            "/good": body,
            "/truncated": body[: len(body) // 2],
            "/tampered": body[:-1] + bytes([body[-1] ^ 1]),
        }
        if self.path not in bodies:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(bodies[self.path])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """Serve a tiny VGG-19 in Keras' format, with the package expecting its checksum."""
    write_published_keras(tmp_path / "tiny.h5", make_convolutions("vgg19"))
    save_photo(tmp_path / "photo.png")
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(pretrained, "example_photos", lambda: [tmp_path / "photo.png"])
    with Server(("127.0.0.1", 0), Handler) as running:
        running.body = (tmp_path / "tiny.h5").read_bytes()
        md5 = hashlib.md5(running.body).hexdigest()
        published = pretrained.Download(running.url("good"), md5)
        monkeypatch.setitem(pretrained.DOWNLOADS, "vgg19", published)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def save_photo(path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def test_a_download_is_converted_and_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "PHOTO_SIDE", 32)
    path = download_vgg("vgg19")
    assert path == cache_folder() / "vgg19.safetensors"
    assert list(cache_folder().iterdir()) == [path]
    params, metadata = load_params(path)
    assert metadata["network"] == "vgg19"
    assert metadata["source"] == server.url("good")
    assert vgg.layer_names(params)[-1] == "relu5_4"
    kernel, _ = make_convolutions("vgg19")["conv5_4"]
    np.testing.assert_allclose(params["conv5_4"]["kernel"], kernel, rtol=2**-10)
    assert load_file(path)["conv5_4/kernel"].dtype == np.float16


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("truncated", r"broke off after \d+ of \d+ bytes"),
        ("tampered", "its MD5 sum is [0-9a-f]{32}, expected [0-9a-f]{32}"),
        ("absent", "404"),
    ],
)
def test_a_failed_download_leaves_everything_as_it_was(
    server: Server, tmp_path: Path, path: str, message: str
) -> None:
    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    cache_folder().mkdir()
    (cache_folder() / "vgg19.safetensors").write_bytes(b"what was there before")
    before = files()
    with pytest.raises(ValueError, match=message) as caught:
        download_vgg("vgg19", url=server.url(path))
    assert server.url(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files() == before


def test_a_server_that_does_not_answer_is_one_clear_line(server: Server) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/good"
    with pytest.raises(ValueError, match=f"cannot download {url}: .*refused"):
        download_vgg("vgg19", url=url)
    with pytest.raises(ValueError, match="cannot download nonsense"):
        download_vgg("vgg19", url="nonsense")
    assert not cache_folder().exists()


def test_an_unusable_cache_is_one_clear_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "PHOTO_SIDE", 32)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "tiny.h5"))
    with pytest.raises(ValueError, match="cannot create the cache folder"):
        download_vgg("vgg19")


def test_unknown_downloads_are_refused() -> None:
    with pytest.raises(ValueError, match="no download 'vgg11'; known are vgg16, vgg19"):
        download_vgg("vgg11")


def test_downloads_are_checked_against_the_published_sums() -> None:
    sums = {name: download.md5 for name, download in pretrained.DOWNLOADS.items()}
    assert sums == {
        "vgg16": "6d6bbae143d832006294945121d1f1fc",
        "vgg19": "253f8cb515780f3b799900260a226db6",
    }


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


@pytest.mark.usefixtures("tiny")
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
    assert vgg.layer_names(params) == ("relu1_1", "relu1_2", "relu2_1")
    assert metadata["mean_activation_from"] == "2 photographs"
    assert metadata["source"] == "a test"
    assert ("Simonyan" in metadata["attribution"]) == (suffix != ".pth")
    assert load_file(output)["conv2_1/kernel"].dtype == np.float16


@pytest.mark.usefixtures("tiny")
def test_the_script_reports_bad_input_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "vgg.onnx", tmp_path / "out.safetensors"
    write_onnx(source, make_convolutions("vgg16"))
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        ((tmp_path / "x.bin", "-o", output), "expected a suffix of .onnx, .h5, .pth"),
        ((tmp_path / "x.h5", "-o", output), "no such weights file"),
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
