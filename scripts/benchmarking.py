"""What benchmarks share: two sides in turns, each in a process."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Results = list[dict[str, Any]]
"""What `measure` has returned in each round."""


def compare(
    parser: argparse.ArgumentParser,
    sides: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]],
) -> None:
    """Run all sides in turn, each time in a new process, and print medians as a table.

    Args:
        parser: takes the options of the benchmark; ``--rounds`` is added.
        sides: what measures each side, as `measure` does, by its name; the last is
            what the others are compared with.
    """
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=sides, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(sides[arguments.side](arguments)))
        return
    results: dict[str, Results] = {side: [] for side in sides}
    for _ in range(arguments.rounds):
        for side in sides:
            results[side].append(_run_side(side))
    print(
        "| side | ms per step | ms of processors | first step, s | peak memory, MB "
        "| result |"
    )
    print("|---|---|---|---|---|---|")
    for side in sides:
        _print_row(side, results[side])
    *others, last = sides
    for side in others:
        wall, busy = (
            _median(results[last], name) / _median(results[side], name)
            for name in ("ms", "busy")
        )
        print(
            f"\n{side} is {wall:.2f} times as fast as {last}, {busy:.2f} times by the "
            "time of processors"
        )


def measure(step: Callable[[], float], steps: int) -> dict[str, Any]:
    """Time the first step and the next ones, and find the memory that they need."""
    return measure_calls(lambda _: step(), [1] * steps)


def measure_calls(
    advance: Callable[[int], float], counts: Sequence[int]
) -> dict[str, Any]:
    """Time the first step, and calls that make more of them; find the memory needed.

    Args:
        advance: makes as many steps as it is told.
        counts: how many steps each call after the first one makes.

    Returns:
        ``ms``, the milliseconds of a step, for each call but the first; ``busy``, those
        of all processors; ``first``, the seconds of the first; ``megabytes``, the
        accelerator's memory at its peak or, where there is none, the host's above what
        was in use before; and ``last``, what the last step has returned, by which the
        sides are seen to agree.
    """
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    started = time.perf_counter()
    last = advance(1)
    first = time.perf_counter() - started
    wall, busy = [], []
    for count in counts:
        begun, spent = time.perf_counter(), time.process_time()
        last = advance(count)
        wall.append(1e3 * (time.perf_counter() - begun) / count)
        busy.append(1e3 * (time.process_time() - spent) / count)
    megabytes = device_memory() or memory("VmHWM") - before
    times = {"ms": wall, "busy": busy, "first": first}
    return {**times, "megabytes": megabytes, "last": last}


@contextmanager
def traced(folder: str | None) -> Iterator[None]:
    """Record what the device does, for XProf or Perfetto, if a folder is given."""
    if folder is None:
        yield
        return
    import jax

    with jax.profiler.trace(folder, create_perfetto_trace=True):
        yield


def memory(kind: str) -> float:
    """Return this process's memory now, VmRSS, or at its peak, VmHWM, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def device_memory() -> float | None:
    """Return the most memory of an accelerator that was in use, in megabytes."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated() / 2**20)
    if jax is not None and jax.default_backend() != "cpu":
        return float(jax.local_devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20)
    return None


# --- PyTorch ------------------------------------------------------------------------


def add_torch_options(parser: argparse.ArgumentParser) -> None:
    """Add how PyTorch computes."""
    add = parser.add_argument
    add("--compile", action="store_true", help="compile PyTorch's side")
    add(
        "--bfloat16",
        action="store_true",
        help="compute in bfloat16, on both sides, where there is a choice",
    )


@contextmanager
def torch_mode(arguments: argparse.Namespace) -> Iterator[Callable[[Any], Any]]:
    """Let PyTorch use a GPU, TF32, and bfloat16 if it is asked for.

    Yields:
        What makes of a function one that is compiled, if that is asked for.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    with torch.autocast(device, torch.bfloat16, enabled=arguments.bfloat16):
        yield torch.compile if arguments.compile else lambda function: function


def _run_side(side: str) -> dict[str, Any]:
    """Run this program for one side and return what it measures."""
    command = [sys.executable, *sys.argv, "--side", side]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result


def _print_row(side: str, results: Results) -> None:
    first, megabytes = (
        statistics.median(result[name] for result in results)
        for name in ("first", "megabytes")
    )
    print(
        f"| {side} | {_median(results, 'ms'):.0f} | {_median(results, 'busy'):.0f} "
        f"| {first:.1f} | {megabytes:.0f} | {results[0]['last']:.5g} |"
    )


def _median(results: Results, name: str) -> float:
    """Return the median over the steps of all rounds."""
    return float(statistics.median(ms for result in results for ms in result[name]))
