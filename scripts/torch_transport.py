"""Any painting in one pass in PyTorch, to compare with.

Written from its description, independently of this package's code, for an image
``[1, 3, h, w]`` in [0, 1], whose sides are multiples of eight, and the parameters of
`jaxstyle.load_transport`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from torch import Tensor

ORDER = (3, 4, 2, 1)
"""The levels as they are visited."""

Kernel = tuple[Tensor, Tensor]
"""The kernel and the bias of a convolution."""


class Move(NamedTuple):
    """A linear map of features as a convolution of 1x1."""

    kernel: Tensor
    bias: Tensor


class Block(NamedTuple):
    """A block of the decoder; the first has but one convolution."""

    mean: Tensor
    std: Tensor
    convolutions: list[Kernel]
    reduce: Kernel
    expand: Kernel | None


class Transport:
    """What paints images like a painting, by moves that are fitted to one of them."""

    def __init__(self, params: Mapping[str, Any], painting: Mapping[str, Any]) -> None:
        encoder = params["encoder"]
        self.mean, self.std = (to_column(encoder[name]) for name in ("mean", "std"))
        self.encoder = {
            name: to_kernel(encoder[name]) for name in sorted(encoder) if "conv" in name
        }
        self.decoder = [to_block(params["decoder"][f"block{i}"]) for i in range(1, 5)]
        self.painting = [
            tuple(torch.tensor(np.array(part)) for part in painting[f"relu{i}_1"])
            for i in range(1, 5)
        ]

    def hold(self, image: Tensor) -> dict[int, Move]:
        """Fit the moves to an image."""
        moves: dict[int, Move] = {}
        for level in ORDER:
            image = image.clip(0, 1)
            features = self.encode(image, level)
            moves[level] = fit_move(features, *self.painting[level - 1])
            image = self.change(image, features, level, moves[level])
        return moves

    def paint(self, image: Tensor, moves: Mapping[int, Move]) -> Tensor:
        """Paint an image by moves that are held, unclipped."""
        for level in ORDER:
            image = image.clip(0, 1)
            features = self.encode(image, level)
            image = self.change(image, features, level, moves[level])
        return image

    def encode(self, image: Tensor, level: int) -> Tensor:
        """Compute the features of a level."""
        x, block = (image - self.mean) / self.std, 1
        for name, kernel in self.encoder.items():
            if int(name[4]) != block:
                x, block = F.max_pool2d(x, 2), int(name[4])
            x = F.relu(convolve(x, kernel))
            if name == f"conv{level}_1":
                break
        return x

    def change(self, image: Tensor, features: Tensor, level: int, move: Move) -> Tensor:
        """Add what the decoder makes of the change of features."""
        x = torch.cat([F.conv2d(features, *move), features])
        for number in range(level, 0, -1):
            x = decode_block(x, self.decoder[number - 1])
        return image + x[:1] - x[1:]


def fit_move(features: Tensor, mean: Tensor, covariance: Tensor) -> Move:
    """Fit the optimal transport from features to a normal distribution."""
    points = features[0].flatten(1)
    before = points.mean(1)
    own = add_noise(torch.cov(points, correction=0))
    left, right = map(torch.linalg.cholesky, (own, add_noise(covariance)))
    basis, values, _ = torch.linalg.svd(right.mT @ left)
    half = right @ basis * values.rsqrt()
    linear = half @ half.mT
    return Move(linear[:, :, None, None], mean - linear @ before)


def add_noise(covariance: Tensor) -> Tensor:
    """Add a thousandth of the mean variance."""
    noise = (1e-3 * covariance.diagonal().mean()).clip(1e-5)
    return covariance + noise * torch.eye(len(covariance))


def decode_block(x: Tensor, block: Block) -> Tensor:
    """Decode features to those of the level below, or to pixels."""
    x = (x - block.mean) / block.std
    reduced = convolve(x, block.reduce)
    if block.expand is None:
        return reduced
    for index, kernel in enumerate(block.convolutions):
        if index > 0:
            x = F.relu(x)
        if index == 1:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
        x = convolve(x, kernel)
    linear = F.conv2d(reduced, *block.expand)
    return F.relu(F.interpolate(linear, scale_factor=2, mode="bilinear") + x)


def convolve(x: Tensor, kernel: Kernel) -> Tensor:
    """Convolve with reflection padding."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), *kernel)


# --- parameters ---------------------------------------------------------------------


def to_column(array: Any) -> Tensor:
    """Convert a vector of channels."""
    return torch.tensor(np.array(array))[:, None, None]


def to_kernel(layer: Mapping[str, Any]) -> Kernel:
    """Convert a convolution, also of 1x1."""
    kernel = torch.tensor(np.array(layer["kernel"]))
    if kernel.ndim == 2:
        kernel = kernel[None, None]
    bias = torch.tensor(np.array(layer["bias"]))
    return kernel.permute(3, 2, 0, 1).contiguous(), bias


def to_block(params: Mapping[str, Any]) -> Block:
    """Convert a block of the decoder."""
    mean, std = (to_column(params["input"][name]) for name in ("mean", "std"))
    convolutions = [
        to_kernel(params[name]) for name in sorted(params) if "conv" in name
    ]
    linear = params["linear"]
    if not convolutions:
        return Block(mean, std, [], to_kernel(linear), None)
    parts = to_kernel(linear["reduce"]), to_kernel(linear["expand"])
    return Block(mean, std, convolutions, *parts)
