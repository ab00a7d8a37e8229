"""Narrow VGG networks, and their weights in the formats that others publish."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from PIL import Image

from jaxstyle.convert.published_vgg import from_onnx
from jaxstyle.vgg import layers

Convolutions = dict[str, tuple[np.ndarray, np.ndarray]]
Tree = dict[str, Any]


def make_convolutions(network: str) -> Convolutions:
    """Return kernels [3, 3, in, out] and biases of a network of the current widths."""
    generator = np.random.default_rng(7)
    convolutions, width_in = {}, 3
    for name in layers.convolution_names(network):
        width = layers.width(name)
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


def make_params(path: Path) -> Tree:
    """Return parameters of a VGG-16 of the current widths, by way of a file."""
    write_onnx(path, make_convolutions("vgg16"))
    params: Tree = from_onnx(path)[1]
    return params


def save_photo(path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
