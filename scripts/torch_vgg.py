"""VGG and the seed implementation's objective in PyTorch, to compare with.

Written on `torch.nn.functional`, independently of this package's code, for images
``[3, h, w]`` in [0, 1], or batches of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import Tensor


class Network(NamedTuple):
    """Kernels and biases by convolution, and what pixels and activations are scaled by.

    Activations are divided by the scales after the fact, not in the weights; those
    without a scale stay as they are.
    """

    convolutions: Mapping[str, tuple[Tensor, Tensor]]
    mean: Tensor
    std: Tensor
    scales: Mapping[str, float]


def make_network(
    layers: Mapping[str, Mapping[str, np.ndarray]],
    pixels: Mapping[str, np.ndarray],
    scales: Mapping[str, float],
) -> Network:
    """Return the network of some layers, for pixels of a ``mean`` and ``std``."""
    convolutions = {
        name: (
            torch.tensor(np.float32(layer["kernel"])).permute(3, 2, 0, 1).contiguous(),
            torch.tensor(np.float32(layer["bias"])),
        )
        for name, layer in sorted(layers.items())
    }
    mean, std = (
        torch.tensor(np.float32(pixels[name]))[:, None, None]
        for name in ("mean", "std")
    )
    return Network(convolutions, mean, std, scales)


def l2_pool(x: Tensor) -> Tensor:
    """Take 0.78 times the norm of every 2x2 window; its gradient at zeros is zero."""
    windows = x.unfold(-2, 2, 2).unfold(-2, 2, 2)
    norm: Tensor = torch.linalg.vector_norm(windows, dim=(-2, -1))
    return 0.78 * norm


POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: F.max_pool2d(x, 2),
    "average": lambda x: 2 * F.avg_pool2d(x, 2),
    "l2": l2_pool,
}


def compute_features(
    network: Network, image: Tensor, pooling: str, *, padding: str = "zero"
) -> dict[str, Tensor]:
    """Return the activations of every layer, ``[*n, c, h, w]``.

    ``padding`` is what the first convolution sees around the image, ``"zero"`` or
    ``"replicate"``; the others see zeros.
    """
    x, border = (image - network.mean) / network.std, 1
    if padding == "replicate":
        x, border = F.pad(x, (1, 1, 1, 1), "replicate"), 0
    features, block = {}, "1"
    for name, (kernel, bias) in network.convolutions.items():
        if name[4] != block:
            x, block = POOLINGS[pooling](x), name[4]
        x = F.relu(F.conv2d(x, kernel, bias, padding=border))
        border = 1
        scale = network.scales.get(name)
        features[name.replace("conv", "relu")] = x if scale is None else x / scale
    return features


def to_tensor(image: Any) -> Tensor:
    """Return an image ``[h, w, 3]`` as a contiguous ``[3, h, w]``."""
    return torch.tensor(np.float32(image)).permute(2, 0, 1).contiguous()


def gram_matrix(features: Tensor) -> Tensor:
    """Return F F^T / (c h w), ``[*n, c, c]``."""
    flat = features.flatten(-2)
    return flat @ flat.mT / (flat.shape[-2] * flat.shape[-1])


class Objective:
    """The weighted sum of mean squared errors of features and Gram matrices."""

    def __init__(
        self,
        network: Network,
        content: Tensor,
        style: Tensor,
        *,
        content_weights: Mapping[str, float],
        style_weights: Mapping[str, float],
    ) -> None:
        self.network = network
        self.content_weights, self.style_weights = content_weights, style_weights
        with torch.no_grad():
            of_content = compute_features(network, content, "max")
            of_style = compute_features(network, style, "max")
        self.content = {layer: of_content[layer] for layer in content_weights}
        self.style = {layer: gram_matrix(of_style[layer]) for layer in style_weights}

    def __call__(self, image: Tensor) -> Tensor:
        """Return the loss of an image."""
        found = compute_features(self.network, image, "max")
        content = (
            weight * F.mse_loss(found[layer], self.content[layer])
            for layer, weight in self.content_weights.items()
        )
        style = (
            weight * F.mse_loss(gram_matrix(found[layer]), self.style[layer])
            for layer, weight in self.style_weights.items()
        )
        return sum((*content, *style), start=torch.zeros(()))
