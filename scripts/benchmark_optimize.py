"""Time and weigh style optimisation against eager PyTorch, side by side.

    python scripts/benchmark_optimize.py [--sizes 256,512] [--rounds 3] [--steps 8]

Each side runs in a process of its own, in turns, on the package's example images with
the seed implementation's objective. A step is one evaluation of the loss and its
gradient, and the L-BFGS update. Printed are medians over all rounds: milliseconds a
step, the time to the first step (for jaxstyle that is compilation, without the
persistent cache), and the peak memory above that with everything loaded. PyTorch must
be installed, and memory is read as Linux reports it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDES = ("jaxstyle", "torch")


def main() -> None:
    """Run all rounds of all sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="256,512", help="square images' sides")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="timed steps a round")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        measure = {"jaxstyle": measure_jaxstyle, "torch": measure_torch}
        size = int(arguments.sizes)
        print(json.dumps(measure[arguments.side](size, arguments.steps)))
        return
    print("| size | side | ms per step | first step, s | peak memory, MB | loss |")
    print("|---|---|---|---|---|---|")
    for size in map(int, arguments.sizes.split(",")):
        results = run_rounds(size, arguments.rounds, arguments.steps)
        for side in SIDES:
            print_row(size, side, results[side])
        ratio = median_ms(results["torch"]) / median_ms(results["jaxstyle"])
        print(f"\njaxstyle at {size} px: {ratio:.2f} times as fast as PyTorch\n")


def run_rounds(size: int, rounds: int, steps: int) -> dict[str, list[dict[str, Any]]]:
    """Run each side in turn, ``rounds`` times, each in a new process."""
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side]
            command += ["--sizes", str(size), "--steps", str(steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True)
            results[side].append(json.loads(output.stdout.splitlines()[-1]))
    return results


def median_ms(results: list[dict[str, Any]]) -> float:
    """Return the median over the steps of all rounds."""
    return float(statistics.median(ms for result in results for ms in result["ms"]))


def print_row(size: int, side: str, results: list[dict[str, Any]]) -> None:
    """Print medians as a row of the table."""
    first = statistics.median(result["first"] for result in results)
    memory = statistics.median(result["megabytes"] for result in results)
    loss = results[0]["loss"]
    print(
        f"| {size} | {side} | {median_ms(results):.0f} | {first:.1f} | {memory:.0f} "
        f"| {loss:.5g} |",
        flush=True,
    )


def measure_jaxstyle(size: int, steps: int) -> dict[str, Any]:
    """Measure ``jaxstyle.run_steps`` as the command line uses it."""
    import jaxstyle

    state, problem, run = jaxstyle_run(
        *load_inputs(size), jaxstyle.lbfgs(), capacity=steps
    )

    def step() -> float:
        nonlocal state
        state, history = run(state, problem, 1)
        return float(history["loss"][0])

    return measure(step, steps)


def jaxstyle_run(
    content: Any, style: Any, params: Any, preset: Any, optimizer: Any, *, capacity: int
) -> tuple[Any, Any, Callable[..., Any]]:
    """Return the first state, the problem, and jitted steps."""
    from functools import partial

    import jax

    import jaxstyle

    weights = jaxstyle.Weights(preset.content, preset.style)
    if jax.default_backend() == "cpu":
        params = jax.jit(jaxstyle.prepare_for_cpu)(params)
    targets = jax.jit(jaxstyle.make_targets)(params, content, [style], weights)
    state = jax.jit(partial(jaxstyle.init_state, optimizer=optimizer))(content)
    step = jaxstyle.make_step(optimizer)
    run_steps = partial(jaxstyle.run_steps, step, capacity=capacity)
    problem = jaxstyle.Problem(params, targets, weights)
    return state, problem, jax.jit(run_steps, donate_argnums=0)


def measure_torch(size: int, steps: int) -> dict[str, Any]:
    """Measure PyTorch's L-BFGS on the same objective."""
    import torch
    import torch_vgg

    content, style, params, preset = load_inputs(size)
    objective = torch_objective(content, style, params, preset)
    image = torch_vgg.to_tensor(content).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1, history_size=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(image)
        loss.backward()
        return loss

    return measure(lambda: float(optimizer.step(closure)), steps)


def torch_objective(content: Any, style: Any, params: Any, preset: Any) -> Any:
    """Return the preset's loss as a function of a tensor."""
    import torch_vgg

    layers = {name: layer for name, layer in params.items() if name[:4] == "conv"}
    return torch_vgg.Objective(
        torch_vgg.make_network(layers, params, {}),
        torch_vgg.to_tensor(content),
        torch_vgg.to_tensor(style),
        content_weights=preset.content,
        style_weights=preset.style,
    )


def load_inputs(size: int) -> tuple[Any, Any, Any, Any]:
    """Return the content, the style, the normalised network and the seed preset."""
    import jax

    import jaxstyle

    preset = jaxstyle.PRESETS["seed"]
    examples = Path(jaxstyle.__file__).parent / "examples"
    content, style = (
        jax.image.resize(jaxstyle.load_image(examples / name), (size, size, 3), "cubic")
        for name in ("astronaut.jpg", "starry_night.jpg")
    )
    layers = (*preset.content, *preset.style)
    params = jaxstyle.normalize(jaxstyle.truncate(jaxstyle.load_vgg(), layers))
    return content, style, params, preset


def measure(step: Callable[[], float], steps: int) -> dict[str, Any]:
    """Time the first step and the next ones; a step returns its loss."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    started = time.perf_counter()
    step()
    first = time.perf_counter() - started
    milliseconds = []
    for _ in range(steps):
        started = time.perf_counter()
        loss = step()
        milliseconds.append(1e3 * (time.perf_counter() - started))
    megabytes = memory("VmHWM") - before
    return {"ms": milliseconds, "first": first, "megabytes": megabytes, "loss": loss}


def memory(kind: str) -> float:
    """Return this process's memory now, VmRSS, or at its peak, VmHWM, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


if __name__ == "__main__":
    main()
