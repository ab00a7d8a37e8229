"""Time jaxstyle against PyTorch on the accelerator of this machine: one command.

    python scripts/benchmark_accelerator.py [--rounds 3] [--steps 20] [--only train]

What is measured is that of ``benchmark_optimize.py``, ``benchmark_training.py`` and
``benchmark_stylize.py``, at sizes that suit an accelerator: a step of style
optimization at 512 and 1024 pixels, training at 256 pixels in batches of 4 to 64, and
stylizing 512x512 and 1920x1080 pixels. Each task runs on each side, in a process of its
own, in turns: jaxstyle and eager PyTorch, which both may use TF32 for float32; PyTorch
compiled; and all in bfloat16. Training is also done on photos in memory, all steps in
one call. Printed are medians: milliseconds a step, images a second, how many times as
fast as eager PyTorch, the time to the first step, peak memory, and, as multiples of
10^12 a second, the operations of the convolutions (two for each multiplication, counted
as if done directly), with their share of what the device can do if that is known. A
side that fails is named with its last line. Without an accelerator it runs on the CPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import benchmark_optimize
import benchmark_stylize
import benchmark_training

BENCHMARKS: Mapping[str, Any] = {
    "optimize": benchmark_optimize,
    "train": benchmark_training,
    "stylize": benchmark_stylize,
}


class Task(NamedTuple):
    """What is timed."""

    benchmark: str
    size: int
    batch: int = 1
    height: int | None = None

    @property
    def name(self) -> str:
        """How the table calls it."""
        return f"{self.benchmark} {self.batch}x{self.size}x{self.height or self.size}"


TASKS = (
    *(Task("optimize", size) for size in (512, 1024)),
    *(Task("train", 256, batch) for batch in (4, 16, 64)),
    Task("stylize", 512),
    Task("stylize", 1920, height=1080),
)


class Side(NamedTuple):
    """Who computes, and how."""

    name: str
    compile: bool = False
    bfloat16: bool = False


EAGER = Side("torch")

SIDES = {
    "jaxstyle": Side("jaxstyle"),
    "jaxstyle, bfloat16": Side("jaxstyle", bfloat16=True),
    "jaxstyle, cached": Side("cached"),
    "jaxstyle, cached, bfloat16": Side("cached", bfloat16=True),
    "PyTorch": EAGER,
    "PyTorch, compiled": Side("torch", compile=True),
    "PyTorch, bfloat16": Side("torch", bfloat16=True),
    "PyTorch, compiled, bfloat16": Side("torch", compile=True, bfloat16=True),
}

PEAKS = {"H100": (494e12, 989e12), "H200": (494e12, 989e12), "A100": (156e12, 312e12)}
"""Dense operations a second in TF32 and in bfloat16, by a part of the device's name."""

VGG = {1: (3, 64), 2: (64, 128), 3: (128, 256), 4: (256, 512), 5: (512, 512)}
"""The channels before and in each block of VGG-16."""


def main() -> None:
    """Run all sides of all tasks, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps a round")
    parser.add_argument("--only", choices=BENCHMARKS, help="the tasks of one kind")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_one(*arguments.one, steps=arguments.steps)))
        return
    print("| task | side | ms | images/s | x PyTorch | first, s | MB | T/s | share |")
    print("|---|---|---|---|---|---|---|---|---|")
    for task in TASKS:
        if arguments.only in (None, task.benchmark):
            print_task(task, arguments)


def measure_one(task: list[Any], side: list[Any], *, steps: int) -> dict[str, Any]:
    """Measure a task on one side, in this process."""
    what, who = Task(*task), Side(*side)
    given = argparse.Namespace(
        **what._asdict(),
        steps=steps,
        width=32,
        compile=who.compile,
        bfloat16=who.bfloat16,
        profile=None,
    )
    benchmark = BENCHMARKS[what.benchmark]
    measure = getattr(benchmark, f"measure_{who.name}")
    return {**measure(given), "device": device_name(who)}


def device_name(side: Side) -> str:
    """Return what this process has computed on."""
    if side.name != "torch":
        import jax

        return str(jax.devices()[0].device_kind)
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def print_task(task: Task, arguments: argparse.Namespace) -> None:
    """Run all sides of a task in turns, and print a row for each."""
    sides = {
        name: side
        for name, side in SIDES.items()
        if task.benchmark == "train" or side.name != "cached"
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name in list(results):
            measured = run_side(task, sides[name], arguments.steps)
            if isinstance(measured, str):
                print(f"{task.name}, {name}: {measured}", file=sys.stderr)
                del results[name]
            else:
                results[name].append(measured)
    eager = results.get("PyTorch")
    for name, rounds in results.items():
        print_row(task, name, rounds, eager)


def run_side(task: Task, side: Side, steps: int) -> dict[str, Any] | str:
    """Measure one side in a process of its own; return why it failed if it did."""
    one = json.dumps([task, side])
    done = subprocess.run(
        [sys.executable, sys.argv[0], "--one", one, "--steps", str(steps)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return (done.stderr.splitlines() or ["no word"])[-1]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def print_row(
    task: Task,
    name: str,
    results: list[dict[str, Any]],
    eager: list[dict[str, Any]] | None,
) -> None:
    """Print the medians of one side."""
    ms = median_ms(results)
    first, megabytes = (
        statistics.median(result[key] for result in results)
        for key in ("first", "megabytes")
    )
    rate = 1e3 * count_operations(task) / ms
    known = next((p for n, p in PEAKS.items() if n in results[0]["device"]), None)
    share = f"{rate / known[SIDES[name].bfloat16]:.0%}" if known else ""
    faster = f"{median_ms(eager) / ms:.2f}" if eager else ""
    print(
        f"| {task.name} | {name} | {ms:.1f} | {1e3 * task.batch / ms:.1f} | {faster} "
        f"| {first:.1f} | {megabytes:.0f} | {rate / 1e12:.2f} | {share} |",
        flush=True,
    )


def median_ms(results: list[dict[str, Any]]) -> float:
    """Return the median over the steps of all rounds."""
    return float(statistics.median(ms for result in results for ms in result["ms"]))


# --- operations ---------------------------------------------------------------------


def count_operations(task: Task) -> float:
    """Return the operations of a step's convolutions.

    A gradient to activations takes as many as the layer, one to parameters as many
    again. Style optimization and training compute no gradient to VGG's parameters.
    """
    pixels = task.size * (task.height or task.size) * task.batch
    if task.benchmark == "optimize":
        return 2 * pixels * vgg_operations(4)
    net = pixels * net_operations(32)
    if task.benchmark == "stylize":
        return net
    return 3 * net + pixels * (2 * vgg_operations(4) + vgg_operations(2))


def vgg_operations(blocks: int) -> float:
    """Return the operations of VGG-16 down to the end of a block, a pixel."""
    total = 0.0
    for block in range(1, blocks + 1):
        before, here = VGG[block]
        rest = (1 if block < 3 else 2) * here * here
        total += 2 * 9 * (before * here + rest) / 4 ** (block - 1)
    return total


def net_operations(width: int) -> float:
    """Return the operations of a transform net with five residual blocks, a pixel."""
    outer = 2 * 81 * 3 * width
    down = 9 * (width * 2 * width / 4 + 2 * width * 4 * width / 16)
    residual = 10 * 9 * (4 * width) ** 2 / 16
    up = 9 * (4 * width * 2 * width / 4 + 2 * width * width)
    return 2 * (outer + down + residual + up)


if __name__ == "__main__":
    main()
