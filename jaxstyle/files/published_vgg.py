"""Published VGG-16 and VGG-19 weights, converted to this package's parameter tree.

Oxford's original weights, which Keras publishes too, take BGR pixels from 0 to 255
minus a mean color; torchvision's take normalized RGB. Both come out as a tree for RGB
in [0, 1] that carries its own ``mean`` and ``std``; see `jaxstyle.vgg.network`.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.files.downloads import Checksum, cache_folder, download
from jaxstyle.files.image_files import example_photos, load_image
from jaxstyle.files.param_files import check_params
from jaxstyle.files.torch_checkpoints import load_torch_state_dict
from jaxstyle.files.vgg_files import OXFORD, parameter_shapes, save_vgg, to_half
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg.params import measure_mean_activations

Layer = dict[str, np.ndarray]
Network = tuple[str, dict[str, Any]]


class Input(NamedTuple):
    """How a network wants its pixels, for RGB in [0, 1]."""

    mean: Sequence[float]
    std: Sequence[float]


PHOTO_SIDE = 512
"""The longer side, in pixels, of photographs on which activations are measured."""


class Download(NamedTuple):
    """A published file and its checksum."""

    url: str
    md5: str


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"

DOWNLOADS = {
    "vgg16": Download(
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "vgg19": Download(
        f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "253f8cb515780f3b799900260a226db6",
    ),
}
"""Oxford's weights as Keras publishes them."""


OXFORD_INPUT = Input(
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3
)
TORCHVISION_INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


# --- readers ------------------------------------------------------------------------


def from_onnx(path: str | Path) -> Network:
    """Read the convolutions of an ONNX file that holds Oxford's weights (BGR).

    Returns:
        The network's name and its parameters, without mean activations.

    Raises:
        ValueError: the file cannot be read, or is neither VGG-16 nor VGG-19.
    """
    import onnx

    _check_exists(path)
    try:
        graph = onnx.load(path).graph
        arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    except Exception as error:  # protobuf raises types of its own
        raise ValueError(_unreadable("ONNX", path, error)) from error
    inputs = [node.input for node in graph.node if node.op_type == "Conv"]
    if any(len(names) < 3 or not set(names[1:]) <= set(arrays) for names in inputs):
        raise ValueError(f"{path} has a convolution without stored kernel and bias")
    layers = [_from_oihw(arrays[kernel], arrays[bias]) for _, kernel, bias in inputs]
    return _assemble(layers, OXFORD_INPUT, path=path)


def from_keras(path: str | Path) -> Network:
    """Read Keras' published HDF5 file, with or without the top (Oxford's, BGR).

    Returns:
        The network's name and its parameters, without mean activations.

    Raises:
        ValueError: the file cannot be read, or is neither VGG-16 nor VGG-19.
    """
    _check_exists(path)
    try:
        arrays = _keras_arrays(path)
    except (OSError, RuntimeError) as error:
        raise ValueError(_unreadable("HDF5", path, error)) from error
    positions = sorted({position for position, _ in arrays})
    incomplete = [p for p in positions if not {(p, 4), (p, 1)} <= set(arrays)]
    if incomplete:
        names = ", ".join("block{}_conv{}".format(*p) for p in incomplete)
        raise ValueError(f"{path} lacks the kernel or the bias of {names}")
    layers = [{"kernel": arrays[p, 4], "bias": arrays[p, 1]} for p in positions]
    return _assemble(layers, OXFORD_INPUT, path=path)


def from_torchvision(path: str | Path) -> Network:
    """Read the ``features`` of torchvision's checkpoint, executing no code in it.

    Returns:
        The network's name and its parameters, without mean activations.

    Raises:
        ValueError: the file cannot be read, has batch normalization, or is neither
            VGG-16 nor VGG-19.
    """
    tensors = load_torch_state_dict(path)
    if any(name.endswith("running_mean") for name in tensors):
        raise ValueError(
            f"{path} has batch normalization, as vgg16_bn and vgg19_bn have; "
            "take the file of vgg16 or vgg19"
        )
    names = (re.fullmatch(r"features\.(\d+)\.weight", name) for name in tensors)
    indices = sorted(int(name[1]) for name in names if name)
    without_bias = [i for i in indices if f"features.{i}.bias" not in tensors]
    if without_bias:
        raise ValueError(f"{path} lacks the biases of features {without_bias}")
    layers = [
        _from_oihw(tensors[f"features.{i}.weight"], tensors[f"features.{i}.bias"])
        for i in indices
    ]
    return _assemble(layers, TORCHVISION_INPUT, path=path)


def _keras_arrays(path: str | Path) -> dict[tuple[tuple[int, int], int], np.ndarray]:
    """Return the arrays of all convolutions by ((block, index), number of axes)."""
    import h5py

    arrays = {}

    def visit(name: str, item: Any) -> None:
        position = re.search(r"block(\d+)_conv(\d+)", name)
        if position and isinstance(item, h5py.Dataset) and "optimizer" not in name:
            block, index = map(int, position.groups())
            arrays[(block, index), item.ndim] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return arrays


def _from_oihw(kernel: np.ndarray, bias: np.ndarray) -> Layer:
    """Order a kernel's axes as this package does; of another rank it stays wrong."""
    if kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    return {"kernel": kernel, "bias": bias}


def _assemble(layers: Sequence[Layer], pixels: Input, *, path: str | Path) -> Network:
    """Name the network and its layers, check all shapes, and put RGB first."""
    network = _infer_network(len(layers), path=path)
    names = vgg_layers.convolution_names(network)
    params: dict[str, Any] = {
        "mean": np.array(pixels.mean, np.float32),
        "std": np.array(pixels.std, np.float32),
    }
    params |= {
        name: {
            key: np.array(value, np.float32, order="C") for key, value in layer.items()
        }
        for name, layer in zip(names, layers, strict=True)
    }
    check_params(params, parameter_shapes(network), path=path)
    if pixels is OXFORD_INPUT:
        first = params[names[0]]
        params[names[0]] = first | {"kernel": first["kernel"][:, :, ::-1].copy()}
    return network, params


def _infer_network(depth: int, *, path: str | Path) -> str:
    depths = {sum(blocks): network for network, blocks in vgg_layers.NETWORKS.items()}
    if depth not in depths:
        known = ", ".join(f"{name} has {count}" for count, name in depths.items())
        raise ValueError(f"{path} holds {depth} convolutions of a VGG; {known}")
    return depths[depth]


def _check_exists(path: str | Path) -> None:
    if not Path(path).is_file():
        raise ValueError(f"no such weights file: {path}")


def _unreadable(kind: str, path: str | Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"cannot read {path}: damaged or not {kind} ({reason})"


# --- downloads ----------------------------------------------------------------------


def download_vgg(name: str, *, url: str | None = None) -> Path:
    """Fetch a VGG that Keras publishes, convert it, and keep it in the cache.

    Args:
        name: a key of ``DOWNLOADS``.
        url: where to fetch the same file from instead.

    Returns:
        The file in the cache. One that was there before is replaced on success only.

    Raises:
        ValueError: there is no such network, the download fails or breaks off, its
            checksum is wrong, or the cache cannot be written to.
    """
    if name not in DOWNLOADS:
        raise ValueError(f"no download {name!r}; known are {', '.join(DOWNLOADS)}")
    published = DOWNLOADS[name]
    url = url or published.url
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as folder:
        file = Path(folder) / f"{name}.h5"
        download(url, file, checksum=Checksum("md5", published.md5))
        network, params = from_keras(file)
    photos = [load_image(path, longest_side=PHOTO_SIDE) for path in example_photos()]
    params = measure_mean_activations(params, photos)
    path = _make_cache_folder() / f"{name}.safetensors"
    save_vgg(
        to_half(params),
        path,
        network=network,
        origin=OXFORD,
        source=published.url,
        photos=len(photos),
    )
    return path


def _make_cache_folder() -> Path:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot create the cache folder {folder}: {error}") from error
    return folder
