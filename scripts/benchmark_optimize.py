"""Time and weigh style optimization against eager PyTorch, side by side.

    python scripts/benchmark_optimize.py [--size 512] [--rounds 3] [--steps 8]

Each side runs in a process of its own, in turns, on the package's example images with
the seed implementation's objective. A step is one evaluation of the loss and its
gradient, and the L-BFGS update. Printed are medians over all rounds: milliseconds a
step, the time to the first step (for jaxstyle that is compilation, without the
persistent cache), the peak memory above that with everything loaded, and the loss at
the end of a round. PyTorch must be installed, and memory is read as Linux reports it.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import optax
from benchmarking import add_torch_options, compare, measure, torch_mode
from jaxtyping import Array, Float

import jaxstyle
from jaxstyle.losses import Execution, LossConfig, Problem
from jaxstyle.optimize import State

if TYPE_CHECKING:
    from torch import Tensor

Image: TypeAlias = Float[Array, "h w 3"]

Steps: TypeAlias = Callable[[State, Problem, int], tuple[State, Mapping[str, Array]]]
"""``steps(state, problem, n) -> (state, metrics of each step)``."""


def main() -> None:
    """Run all rounds of both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="square images' side")
    parser.add_argument("--steps", type=int, default=8, help="timed steps a round")
    add_torch_options(parser)
    compare(parser, {"jaxstyle": measure_jaxstyle, "torch": measure_torch})


def measure_jaxstyle(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure ``jaxstyle.optimize.run_steps`` as the command line uses it."""
    state, problem, run = jaxstyle_run(
        *load_inputs(arguments.size),
        jaxstyle.optimize.lbfgs(),
        precision="bfloat16" if arguments.bfloat16 else None,
        capacity=arguments.steps,
    )

    def step() -> float:
        nonlocal state
        state, history = run(state, problem, 1)
        return float(history["loss"][0])

    return measure(step, arguments.steps)


def jaxstyle_run(
    content: Image,
    style: Image,
    params: Mapping[str, Any],
    loss: LossConfig,
    optimizer: optax.GradientTransformation,
    *,
    capacity: int,
    precision: str | None = None,
) -> tuple[State, Problem, Steps]:
    """Return the first state, the problem, and jitted steps."""
    weights = loss.weights()
    if jax.default_backend() == "cpu":
        params = jax.jit(jaxstyle.vgg.prepare_for_cpu)(params)
    execution = Execution(precision=precision)
    make_targets = partial(jaxstyle.losses.make_targets, execution=execution)
    targets = jax.jit(make_targets)(params, content, [style], weights)
    state = jax.jit(partial(jaxstyle.optimize.init_state, optimizer=optimizer))(content)
    step = jaxstyle.optimize.make_step(optimizer, execution=execution)
    run_steps = partial(jaxstyle.optimize.run_steps, step, capacity=capacity)
    problem = Problem(params, targets, weights)
    return state, problem, jax.jit(run_steps, donate_argnums=0)


def measure_torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure PyTorch's L-BFGS on the same objective."""
    with torch_mode(arguments) as prepare:
        import torch
        import torch_vgg

        content, style, params, loss = load_inputs(arguments.size)
        objective = prepare(torch_objective(content, style, params, loss))
        image = torch_vgg.to_tensor(content).requires_grad_()
        optimizer = torch.optim.LBFGS([image], max_iter=1, history_size=100)

        def closure() -> "Tensor":
            optimizer.zero_grad()
            value = objective(image)
            value.backward()
            return value

        def step() -> float:
            return float(optimizer.step(closure).detach())

        return measure(step, arguments.steps)


def torch_objective(
    content: Image, style: Image, params: Mapping[str, Any], loss: LossConfig
) -> "Callable[[Tensor], Tensor]":
    """Return the loss of content and style as a function of a tensor."""
    import torch_vgg

    layers = {name: layer for name, layer in params.items() if name[:4] == "conv"}
    return torch_vgg.Objective(
        torch_vgg.make_network(layers, params, {}),
        torch_vgg.to_tensor(content),
        torch_vgg.to_tensor(style),
        content_weights=loss.content,
        style_weights=loss.style,
    )


def load_inputs(size: int) -> tuple[Image, Image, Mapping[str, Any], LossConfig]:
    """Return the content, the style, the normalized network and the seed's loss."""
    loss = jaxstyle.optimize.PRESETS["seed"].loss
    examples = Path(jaxstyle.__file__).parent / "examples"
    content, style = (
        jax.image.resize(jaxstyle.load_image(examples / name), (size, size, 3), "cubic")
        for name in ("astronaut.jpg", "starry_night.jpg")
    )
    layers = (*loss.content, *loss.style)
    params = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(jaxstyle.load_vgg(), layers))
    return content, style, params, loss


if __name__ == "__main__":
    main()
