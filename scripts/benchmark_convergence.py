"""Compare how far optimizers get with as many evaluations of the same objective.

    python scripts/benchmark_convergence.py [--size 256] [--evaluations 300]

The objective is that of the preset ``seed`` on squares of the package's example
images, from the content image. Printed is the lowest loss after 30, 100 and 300
evaluations, for PyTorch's L-BFGS with the seed implementation's settings, and for
optimizers of this package. PyTorch must be installed, but for ``--only``.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import benchmark_optimize
import numpy as np
import optax
from benchmark_optimize import Image

import jaxstyle
from jaxstyle.losses import LossConfig

if TYPE_CHECKING:
    from torch import Tensor

AT = (30, 100, 300)

OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "lbfgs": jaxstyle.optimize.lbfgs,
    "lbfgs, plain basis": partial(jaxstyle.optimize.lbfgs, exponent=0.0),
    "optax's lbfgs with line search": partial(optax.lbfgs, memory_size=50),
    "adam": jaxstyle.optimize.adam,
}


def main() -> None:
    """Run all optimizers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="square images' side")
    parser.add_argument("--evaluations", type=int, default=max(AT))
    parser.add_argument("--only", help="one of this package's optimizers, by name")
    arguments = parser.parse_args()
    inputs = benchmark_optimize.load_inputs(arguments.size)
    print("| optimizer | " + " | ".join(f"loss at {n}" for n in AT) + " |")
    print("|---|" + "---|" * len(AT))
    if not arguments.only:
        print_row("torch.optim.LBFGS", torch_losses(*inputs, arguments.evaluations))
    for name, make in OPTIMIZERS.items():
        if arguments.only in (None, name):
            print_row(name, jaxstyle_losses(*inputs, arguments.evaluations, make()))


def print_row(name: str, losses: Sequence[float]) -> None:
    """Print the lowest loss so far at each of ``AT``."""
    cells = [f"{min(losses[:n]):.5g}" for n in AT if n <= len(losses)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def torch_losses(
    content: Image,
    style: Image,
    params: Mapping[str, Any],
    loss: LossConfig,
    evaluations: int,
) -> list[float]:
    """Return the loss at every evaluation by PyTorch's L-BFGS."""
    import torch
    import torch_vgg

    objective = benchmark_optimize.torch_objective(content, style, params, loss)
    image = torch_vgg.to_tensor(content).requires_grad_()
    losses: list[float] = []
    optimizer = torch.optim.LBFGS(
        [image],
        max_iter=evaluations,
        max_eval=evaluations,
        tolerance_grad=0,
        tolerance_change=0,
        history_size=100,
    )

    def closure() -> "Tensor":
        optimizer.zero_grad()
        value = objective(image)
        value.backward()
        losses.append(float(value.detach()))
        return value

    optimizer.step(closure)
    return losses


def jaxstyle_losses(
    content: Image,
    style: Image,
    params: Mapping[str, Any],
    loss: LossConfig,
    evaluations: int,
    optimizer: optax.GradientTransformation,
) -> list[float]:
    """Return the loss at every evaluation by an optimizer of this package.

    With a line search a step takes several evaluations, which are counted; the loss is
    known at the steps only, and repeated in between.
    """
    state, problem, run = benchmark_optimize.jaxstyle_run(
        content, style, params, loss, optimizer, capacity=1
    )
    losses: list[float] = []
    while len(losses) < evaluations:
        state, history = run(state, problem, 1)
        count = optax.tree.get(state.optimizer_state, "num_linesearch_steps", 1)
        losses += [float(history["loss"][0])] * max(1, int(np.asarray(count)))
    return losses[:evaluations]


if __name__ == "__main__":
    main()
