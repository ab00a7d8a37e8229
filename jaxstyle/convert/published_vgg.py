"""Published VGG-16 and VGG-19 weights, converted to this package's parameter tree.

Oxford's original weights, which Keras publishes too, take BGR pixels from 0 to 255
minus a mean color; torchvision's take normalized RGB. Both come out as a tree for RGB
in [0, 1] that carries its own ``mean`` and ``std``; see `jaxstyle.vgg.network`.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxstyle.convert.torch_checkpoints import load_torch_state_dict, unwrapped
from jaxstyle.files import vgg_files
from jaxstyle.files.atomic import explained
from jaxstyle.files.downloads import Checksum, cache_folder, download
from jaxstyle.files.image_files import example_photos, load_image
from jaxstyle.files.param_files import check_params
from jaxstyle.files.regular_files import check_regular
from jaxstyle.files.vgg_files import Origin
from jaxstyle.nets.transform_net import IMAGENET_MEAN, IMAGENET_STD
from jaxstyle.vgg import layers as vgg_layers
from jaxstyle.vgg.params import measure_mean_activations

Network = tuple[str, dict[str, Any]]
"""A network's name and its parameters, without mean activations."""

Layers = Mapping[str, Sequence[np.ndarray | None]]
"""The kernel and the bias of each convolution, by the layer's name in the file."""


PHOTO_SIDE = 512
"""The longer side, in pixels, of the photos on which activations are measured."""


MOST_COMPRESSED = 16
"""How many times the size of an HDF5 file its arrays may take."""


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


OXFORD_INPUT = {
    "mean": np.array([123.68 / 255, 116.779 / 255, 103.939 / 255], np.float32),
    "std": np.array([1 / 255] * 3, np.float32),
}
TORCHVISION_INPUT = {
    "mean": np.array(IMAGENET_MEAN, np.float32),
    "std": np.array(IMAGENET_STD, np.float32),
}
"""The normalization that a network expects, for RGB in [0, 1]."""


# --- readers ------------------------------------------------------------------------


def read_vgg(path: str | Path) -> tuple[str, dict[str, Any], Origin]:
    """Read published VGG-16 or VGG-19 weights; the suffix tells whose they are.

    Args:
        path: an ``.onnx`` or ``.h5`` file with Oxford's weights for BGR pixels, as
            Keras publishes them, or torchvision's ``.pth``. No code in it is executed.

    Returns:
        The network's name, its parameters without mean activations (see
        `jaxstyle.vgg.measure_mean_activations`), and whose they are.

    Examples:
        >>> jaxstyle.convert.read_vgg("vgg16.txt")
        Traceback (most recent call last):
        ValueError: cannot tell what vgg16.txt is: expected a suffix of .onnx, .h5, .pth
    """
    readers = {
        ".onnx": (from_onnx, vgg_files.OXFORD),
        ".h5": (from_keras, vgg_files.OXFORD),
        ".pth": (from_torchvision, vgg_files.TORCHVISION),
    }
    suffix = Path(path).suffix
    if suffix not in readers:
        raise ValueError(
            f"cannot tell what {path} is: expected a suffix of {', '.join(readers)}"
        )
    read, origin = readers[suffix]
    return (*read(path), origin)


def from_onnx(path: str | Path) -> Network:
    """Read the convolutions of an ONNX file that holds Oxford's weights (BGR)."""
    import onnx

    with explained(f"cannot read {path} as ONNX"):
        check_regular(path)
        graph = onnx.load(path).graph
        arrays = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    inputs = [node.input for node in graph.node if node.op_type == "Conv"]
    layers = {
        kernel: [_from_oihw(arrays.get(kernel)), *map(arrays.get, bias)]
        for _, kernel, *bias in inputs
    }
    return _assemble(layers, OXFORD_INPUT, path=path)


def from_keras(path: str | Path) -> Network:
    """Read Keras' published HDF5 file, with or without the top (Oxford's, BGR)."""
    import h5py

    arrays: dict[str, dict[int, np.ndarray]] = {}  # by layer and number of axes

    def visit(name: str, item: Any) -> None:
        layer = re.search(r"block\d+_conv\d+", name)
        if layer and isinstance(item, h5py.Dataset) and "optimizer" not in name:
            taken = sum(x.nbytes for each in arrays.values() for x in each.values())
            if taken + item.size * item.dtype.itemsize > most:
                raise ValueError("its arrays are larger than the file")
            arrays.setdefault(layer[0], {})[item.ndim] = item[()]

    with explained(f"cannot read {path} as HDF5"):
        check_regular(path)
        most = MOST_COMPRESSED * Path(path).stat().st_size
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    layers = {
        name: [arrays[name].get(4), arrays[name].get(1)] for name in sorted(arrays)
    }
    return _assemble(layers, OXFORD_INPUT, path=path)


def from_torchvision(path: str | Path) -> Network:
    """Read the ``features`` of torchvision's checkpoint, executing no code in it."""
    parts = unwrapped(load_torch_state_dict(path))
    of_vgg = re.compile(r"features\.(\d+)\.weight")
    tensors = next((x for x in parts if any(map(of_vgg.fullmatch, x))), {})
    if any(name.endswith("running_mean") for name in tensors):
        raise ValueError(
            f"{path} has batch normalization, as vgg16_bn and vgg19_bn have; "
            "use the file of vgg16 or vgg19"
        )
    matches = map(of_vgg.fullmatch, tensors)
    names = [f"features.{i}" for i in sorted(int(m[1]) for m in matches if m)]
    layers = {
        name: [_from_oihw(tensors[f"{name}.weight"]), tensors.get(f"{name}.bias")]
        for name in names
    }
    return _assemble(layers, TORCHVISION_INPUT, path=path)


def _from_oihw(kernel: np.ndarray | None) -> np.ndarray | None:
    """Order a kernel's axes as this package does; `_assemble` reports other ranks."""
    if kernel is not None and kernel.ndim == 4:
        return kernel.transpose(2, 3, 1, 0)
    return kernel


def _assemble(
    layers: Layers, pixels: Mapping[str, Any], *, path: str | Path
) -> Network:
    """Name the network and its layers, check all shapes, and put RGB first."""
    complete = {
        name: {"kernel": arrays[0], "bias": arrays[1]}
        for name, arrays in layers.items()
        if len(arrays) == 2 and all(array is not None for array in arrays)
    }
    if incomplete := ", ".join(name for name in layers if name not in complete):
        raise ValueError(f"{path} lacks the kernel or the bias of {incomplete}")
    network = _infer_network(len(layers), path=path)
    names = vgg_layers.convolution_names(network)
    params: dict[str, Any] = {**pixels}
    for name, layer in zip(names, complete.values(), strict=True):
        params[name] = {
            key: np.array(value, np.float32, order="C") for key, value in layer.items()
        }
    check_params(params, vgg_files.parameter_shapes(network), path=path)
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


# --- downloads ----------------------------------------------------------------------


def download_vgg(name: str, *, url: str | None = None) -> Path:
    """Download a VGG of ``DOWNLOADS``, convert it into the cache; return its file.

    A file that is there already is replaced on success only. The same file may be
    published at another ``url``.
    """
    if name not in DOWNLOADS:
        raise ValueError(f"no download {name!r}; known are {', '.join(DOWNLOADS)}")
    published = DOWNLOADS[name]
    url = url or published.url
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as temporary:
        file = Path(temporary) / f"{name}.h5"
        download(url, file, checksum=Checksum("md5", published.md5))
        network, params = from_keras(file)
    photos = [load_image(path, longest_side=PHOTO_SIDE) for path in example_photos()]
    params = measure_mean_activations(params, photos)
    folder = cache_folder()
    with explained(f"cannot create the cache folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    vgg_files.save_vgg(
        vgg_files.to_half(params),
        path,
        network=network,
        origin=vgg_files.OXFORD,
        source=published.url,
        photos=len(photos),
    )
    return path
