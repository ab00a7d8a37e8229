"""Compute golden values of the multi-scale recipe with PyTorch, independently.

    python scripts/make_golden_wasserstein.py

PyTorch must be installed. The network is that of ``torch_vgg.py`` on the shipped
weights, each layer's activations divided by their mean over photographs, with the
image's border repeated outwards for the first convolution. All is computed in float64,
so that the values are those of the formulas, and stored in float32. The file keeps the
pixels and scales that they depend on.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own convention
from make_golden import CONTENT, GATYS, ROOT, STYLE, WEIGHTS, Arrays, load_pixels
from safetensors.numpy import load_file
from torch import Tensor
from torch_vgg import Network, compute_features, make_network

OUTPUT = ROOT / "tests" / "golden" / "wasserstein.npz"

CONTENT_SIZE = (48, 36)
STYLE_SIZE = (40, 44)

STYLE_WEIGHTS = {
    layer: weight / 341
    for layer, weight in zip(GATYS, (256, 64, 16, 4, 1), strict=True)
}
CONTENT_LAYER, CONTENT_WEIGHT, VARIATION_WEIGHT = "relu4_2", 0.015, 2.0

EPSILON = 1e-4
ITERATIONS = 12

STEPS = 20
LEARNING_RATE, BETAS, ADAM_EPSILON = 0.02, (0.9, 0.99), 1e-8
DECAY = 0.99
KEPT_AVERAGES = (1, 10, 20)

Root = Callable[[Tensor], Tensor]


# --- square roots -------------------------------------------------------------------


class NewtonSchulz(torch.autograd.Function):  # type: ignore[misc]
    """The square root by iterations, and its gradient by as many."""

    @staticmethod
    def forward(context: Any, matrix: Tensor) -> Tensor:
        """Return the root."""
        norm, eye = matrix.norm(), torch.eye(len(matrix), dtype=matrix.dtype)
        y, z = matrix / norm, eye
        for _ in range(ITERATIONS):
            t = (3 * eye - z @ y) / 2
            y, z = y @ t, t @ z
        root = y * norm.sqrt()
        context.save_for_backward(root)
        return root

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Solve the Lyapunov equation of the root for a gradient."""
        (root,), (gradient,) = context.saved_tensors, gradients
        norm, eye = root.norm(), torch.eye(len(root), dtype=root.dtype)
        a, q = root / norm, gradient / norm
        for _ in range(ITERATIONS):
            e = 3 * eye - a @ a
            q = (q @ e - a.T @ (a.T @ q - q @ a)) / 2
            a = a @ e / 2
        return q / 2


def newton_schulz(matrix: Tensor) -> Tensor:
    """Return the square root by iterations."""
    root: Tensor = NewtonSchulz.apply(matrix)
    return root


class Exact(torch.autograd.Function):  # type: ignore[misc]
    """The square root by eigenvalues, and its gradient in their basis."""

    @staticmethod
    def forward(context: Any, matrix: Tensor) -> Tensor:
        """Return the root."""
        values, vectors = torch.linalg.eigh(matrix)
        # Both covariances are EPSILON at least; in float64 rounding is far below.
        roots = values.clamp(min=EPSILON**2).sqrt()
        context.save_for_backward(roots, vectors)
        return vectors * roots @ vectors.T

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Solve the Lyapunov equation of the root for a gradient."""
        roots, vectors = context.saved_tensors
        inner = vectors.T @ gradients[0] @ vectors
        return vectors @ (inner / (roots[:, None] + roots)) @ vectors.T


def exact(matrix: Tensor) -> Tensor:
    """Return the square root by eigenvalues."""
    root: Tensor = Exact.apply(matrix)
    return root


ROOTS: Mapping[str, Root] = {"wasserstein": newton_schulz, "wasserstein-exact": exact}


# --- losses -------------------------------------------------------------------------


class Normal(NamedTuple):
    """The mean and covariance of a layer's features."""

    mean: Tensor
    covariance: Tensor


def fit_normal(features: Tensor) -> Normal:
    """Return the mean and covariance of features ``[c, h, w]`` over positions."""
    flat = features.flatten(1)
    mean = flat.mean(1)
    second = flat @ flat.T / flat.shape[1]
    eye = torch.eye(len(mean), dtype=mean.dtype)
    return Normal(mean, second - torch.outer(mean, mean) + EPSILON * eye)


def wasserstein(found: Normal, style: Normal, root: Root) -> Tensor:
    """Return the squared distance between normal distributions, over their channels."""
    style_root = root(style.covariance)
    overlap = root(style_root @ found.covariance @ style_root)
    spread = torch.trace(style.covariance + found.covariance - 2 * overlap)
    return F.mse_loss(found.mean, style.mean) + spread / len(found.mean)


def nine_point_variation(image: Tensor) -> Tensor:
    """Return the mean squared difference between neighbors, diagonal ones included."""
    padded = F.pad(image, (1, 1, 1, 1), "replicate")
    inside = padded[:, 1:-1, 1:-1]
    straight = F.mse_loss(padded[:, 1:-1, 2:], inside)
    straight = straight + F.mse_loss(padded[:, 2:, 1:-1], inside)
    oblique = F.mse_loss(padded[:, 1:, 1:], padded[:, :-1, :-1])
    oblique = oblique + F.mse_loss(padded[:, 1:, :-1], padded[:, :-1, 1:])
    return 2 * (straight / 3 + oblique / 12)


class Objective:
    """The recipe's loss: style by layer, content, and variation."""

    def __init__(
        self, network: Network, content: Tensor, style: Tensor, *, root: Root
    ) -> None:
        self.network, self.root = network, root
        with torch.no_grad():
            self.content = self.features(content)[CONTENT_LAYER]
            self.style = {k: fit_normal(x) for k, x in self.features(style).items()}

    def features(self, image: Tensor) -> dict[str, Tensor]:
        """Return the activations of every layer."""
        return compute_features(self.network, image, "max", padding="replicate")

    def style_losses(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the distance of each style layer."""
        return {
            layer: wasserstein(
                fit_normal(features[layer]), self.style[layer], self.root
            )
            for layer in STYLE_WEIGHTS
        }

    def __call__(self, image: Tensor) -> Tensor:
        """Return the weighted sum."""
        features = self.features(image)
        content = F.mse_loss(features[CONTENT_LAYER], self.content)
        return (
            weigh(self.style_losses(features))
            + CONTENT_WEIGHT * content
            + VARIATION_WEIGHT * nine_point_variation(image)
        )


def weigh(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the weighted sum of style losses."""
    return torch.stack([STYLE_WEIGHTS[k] * loss for k, loss in losses.items()]).sum()


# --- golden values ------------------------------------------------------------------


def solve(objective: Objective, image: Tensor) -> dict[str, Tensor]:
    """Return the style losses by layer, and the gradient of their weighted sum."""
    image = image.clone().requires_grad_()
    losses = objective.style_losses(objective.features(image))
    (gradient,) = torch.autograd.grad(weigh(losses), image)
    return losses | {"gradient": gradient.permute(1, 2, 0)}


def descend(objective: Objective, start: Tensor) -> dict[str, Tensor]:
    """Return the losses of Adam's first steps, the last image, and some averages."""
    image = start.clone().requires_grad_()
    adam = torch.optim.Adam([image], lr=LEARNING_RATE, betas=BETAS, eps=ADAM_EPSILON)
    total = (1 - DECAY) * start
    losses, averages = [], {}
    for step in range(1, STEPS + 1):
        adam.zero_grad()
        loss = objective(image)
        loss.backward()
        adam.step()
        with torch.no_grad():
            image.clamp_(0, 1)
            total = DECAY * total + (1 - DECAY) * image
        losses.append(loss.detach())
        if step in KEPT_AVERAGES:
            average = total / (1 - DECAY ** (step + 1))
            averages[f"average/{step}"] = average.permute(1, 2, 0)
    last = image.detach().permute(1, 2, 0)
    return averages | {"losses": torch.stack(losses), "image": last}


def load_network(stored: Mapping[str, np.ndarray], scales: dict[str, float]) -> Network:
    """Return the shipped network in float64."""
    layers = {
        name: {kind: stored[f"{name}/{kind}"] for kind in ("kernel", "bias")}
        for name in scales
    }
    network = make_network(layers, stored, scales)
    convolutions = {
        name: (kernel.double(), bias.double())
        for name, (kernel, bias) in network.convolutions.items()
    }
    mean, std = network.mean.double(), network.std.double()
    return Network(convolutions, mean, std, scales)


def make_golden() -> Arrays:
    """Return all golden values by name."""
    stored = load_file(WEIGHTS)
    scales = {
        name.split("/")[0]: float(means.mean())
        for name, means in stored.items()
        if name.endswith("/mean_activation")
    }
    network = load_network(stored, scales)
    golden = {
        "content": load_pixels(CONTENT, CONTENT_SIZE),
        "style": load_pixels(STYLE, STYLE_SIZE),
    }
    content, style = (
        torch.tensor(pixels / 255).permute(2, 0, 1) for pixels in golden.values()
    )
    found: dict[str, Tensor] = {}
    for name, root in ROOTS.items():
        objective = Objective(network, content, style, root=root)
        solved = solve(objective, content)
        found |= {f"{name}/{key}": value for key, value in solved.items()}
    objective = Objective(network, content, style, root=newton_schulz)
    found |= {f"adam/{k}": value for k, value in descend(objective, content).items()}
    golden |= {f"scale/{name}": np.array(value) for name, value in scales.items()}
    return golden | {k: x.detach().float().numpy() for k, x in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Compute the tests' golden values.")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="OUT.npz")
    arguments = parser.parse_args(argv)
    try:
        np.savez_compressed(arguments.output, allow_pickle=False, **make_golden())
    except (OSError, ValueError) as error:
        print(f"make_golden_wasserstein: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
