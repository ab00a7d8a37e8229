"""Compute the tests' golden values with PyTorch, independently of this package's code.

    python scripts/make_golden.py SOURCE.onnx

PyTorch must be installed. SOURCE.onnx holds Oxford's original float32 weights, from
which the shipped ones were converted; it shows what their rounding to float16 costs.
The network is that of ``torch_vgg.py``, on the shipped kernels and biases. The
file keeps all that the values depend on, pixels and mean activations included. To stay
small it keeps of a large array its norm and a few hundred of its values.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor
from torch_vgg import POOLINGS, Network, compute_features, gram_matrix, make_network

from jaxstyle.convert import read_vgg

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "tests" / "golden" / "vgg16.npz"
WEIGHTS = ROOT / "jaxstyle" / "weights" / "vgg16.safetensors"
CONTENT = ROOT / "jaxstyle" / "examples" / "chelsea.jpg"
STYLE = ROOT / "jaxstyle" / "examples" / "starry_night.jpg"

CONTENT_SIZE = (67, 51)  # odd at several depths, so that pooling leaves pixels out
STYLE_SIZE = (64, 48)
VALUES = 200

JOHNSON = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
GATYS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class Problem(NamedTuple):
    """A perceptual loss on normalized activations."""

    pooling: str
    content: Mapping[str, float]
    style: Mapping[str, float]
    total_variation: float


PROBLEMS = {
    "seed": Problem("max", {"relu3_3": 0.5}, dict.fromkeys(JOHNSON, 1e7), 0.0),
    "average": Problem("average", {"relu4_2": 1.0}, dict.fromkeys(GATYS, 1e3), 10.0),
    "l2": Problem("l2", {"relu2_2": 1.0}, {"relu1_1": 1e3, "relu4_2": 1e4}, 1.0),
}

Arrays = dict[str, np.ndarray]


# --- losses -------------------------------------------------------------------------


def total_variation(image: Tensor) -> Tensor:
    """Return the mean squared difference between neighbors, down plus across."""
    down = F.mse_loss(image[:, 1:], image[:, :-1])
    return down + F.mse_loss(image[:, :, 1:], image[:, :, :-1])


def solve(problem: Problem, network: Network, images: Mapping[str, Tensor]) -> Arrays:
    """Return a problem's losses by layer, their weighted sum, and its gradient."""
    pooling = problem.pooling
    image = images["image"].clone().requires_grad_()
    at_image = compute_features(network, image, pooling)
    at_content = compute_features(network, images["content"], pooling)
    at_style = compute_features(network, images["style"], pooling)
    content = {k: F.mse_loss(at_image[k], at_content[k]) for k in problem.content}
    style = {
        k: F.mse_loss(gram_matrix(at_image[k]), gram_matrix(at_style[k]))
        for k in problem.style
    }
    smoothness = total_variation(image)
    loss = problem.total_variation * smoothness
    for weights, losses in ((problem.content, content), (problem.style, style)):
        loss = loss + sum(weights[layer] * losses[layer] for layer in weights)
    loss.backward()
    assert image.grad is not None
    named = (
        {f"content/{layer}": value for layer, value in content.items()}
        | {f"style/{layer}": value for layer, value in style.items()}
        | {"total_variation": smoothness, "loss": loss}
        | {"gradient": image.grad.permute(1, 2, 0)}
    )
    return {key: value.detach().numpy() for key, value in named.items()}


# --- golden values ------------------------------------------------------------------


def load_pixels(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return an image of the given (width, height), ``[h, w, 3]`` in 8 bits."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def make_pixels() -> Arrays:
    """Return the content, the style, and 0.7 times the content plus noise."""
    content = load_pixels(CONTENT, CONTENT_SIZE)
    noise = np.random.default_rng(0).uniform(0, 255, content.shape)
    image = np.rint(0.7 * content + 0.3 * noise).astype(np.uint8)
    style = load_pixels(STYLE, STYLE_SIZE)
    return {"content": content, "style": style, "image": image}


def sample(folder: str, tensors: Mapping[str, Tensor]) -> Arrays:
    """Return the norms of arrays ``[c, ...]`` and some of their values, channels last.

    The places of the values, counted in the flattened array, depend on its size only.
    """
    samples: Arrays = {}
    for name, tensor in tensors.items():
        flat = tensor.movedim(0, -1).numpy().ravel()
        generator = np.random.default_rng(flat.size)
        places = generator.choice(flat.size, VALUES, replace=False)
        samples[f"places/{flat.size}"] = places.astype(np.uint32)
        samples[f"{folder}/{name}/values"] = flat[places]
        norm = np.linalg.norm(flat.astype(np.float64))
        samples[f"{folder}/{name}/norm"] = np.array(norm)
    return samples


def make_golden(source: Path) -> Arrays:
    """Return all golden values by name."""
    stored = load_file(WEIGHTS)
    names = [name.removesuffix("/bias") for name in stored if name.endswith("/bias")]
    shipped = {
        name: {kind: stored[f"{name}/{kind}"] for kind in ("kernel", "bias")}
        for name in names
    }
    full = read_vgg(source)[1]
    original = {name: full[name] for name in names}
    scales = {name: float(stored[f"{name}/mean_activation"].mean()) for name in names}
    raw, float32, normalized = (
        make_network(layers, stored, scale)
        for layers, scale in ((shipped, {}), (original, {}), (shipped, scales))
    )

    golden = make_pixels()
    images = {
        name: torch.tensor(pixels.astype(np.float32) / 255).permute(2, 0, 1)
        for name, pixels in golden.items()
    }
    golden |= {f"scale/{name}": np.array(value) for name, value in scales.items()}
    for pooling in POOLINGS:
        features = compute_features(raw, images["image"], pooling)
        golden |= sample(f"features/{pooling}", features)
    golden |= sample("float32", compute_features(float32, images["image"], "max"))
    features = compute_features(normalized, images["style"], "max")
    golden |= sample("gram", {layer: gram_matrix(x) for layer, x in features.items()})
    for name, problem in PROBLEMS.items():
        solved = solve(problem, normalized, images)
        golden |= {f"{name}/{key}": value for key, value in solved.items()}
    return golden


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Compute the tests' golden values.")
    add = parser.add_argument
    add("source_file", type=Path, metavar="SOURCE.onnx", help="the original weights")
    add("-o", "--output", type=Path, default=OUTPUT, metavar="OUT.npz")
    arguments = parser.parse_args(argv)
    try:
        golden = make_golden(arguments.source_file)
        np.savez_compressed(arguments.output, allow_pickle=False, **golden)
    except (OSError, ValueError) as error:
        print(f"make_golden: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
