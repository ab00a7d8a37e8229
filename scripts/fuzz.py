"""Give mutated files to every reader of files, and report what is not as promised.

    python scripts/fuzz.py --count 100000

Each file is to be read, or refused by a ValueError of one line, within limits of time
and of memory; no program is to be started, and no file written outside a scratch
folder. Every file depends only on the seed, the reader and its number.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Iterator
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from fuzz_targets import TARGETS, Target, mutate

FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
    *("os.fork", "os.forkpty", "socket.connect", "ctypes.dlopen", "webbrowser.open"),
)
"""The audit events of what no reader does."""

WRITES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.link")
"""The audit events that change files, by the path that comes first."""

FOLDERS = (tempfile.gettempdir(), "/dev/null", "/dev/shm")
"""Where readers may write."""


class Limits(NamedTuple):
    """The most seconds and bytes that a file may take."""

    seconds: float
    bytes: int


class Outcome(NamedTuple):
    """What became of one file; ``failure`` says what is not as promised."""

    number: int
    refused: bool
    seconds: float
    bytes: int
    failure: str | None


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a reader has failed."""
    arguments = make_parser().parse_args(argv)
    os.environ["MPLCONFIGDIR"] = tempfile.gettempdir()
    limits = Limits(arguments.seconds, arguments.megabytes * 2**20)
    chosen = [x for x in TARGETS if x.name in (arguments.target or x.name)]
    count = -(-arguments.count // len(chosen))
    failed = 0
    for target in chosen:
        found = list(fuzz(target, count, arguments.seed, limits))
        failures = [outcome for outcome in found if outcome.failure]
        failed += len(failures)
        refused = sum(outcome.refused for outcome in found)
        slowest = max(outcome.seconds for outcome in found)
        most = max(outcome.bytes for outcome in found) / 2**20
        print(
            f"{target.name}: {len(found)} files, {refused} refused, "
            f"{len(failures)} failures, at most {slowest:.1f} s and {most:.0f} MiB",
            flush=True,
        )
        for outcome in failures[:5]:
            print(f"  {outcome.number}: {outcome.failure}")
    return int(failed > 0)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--count", type=int, default=100_000, help="files for all readers together")
    add("--seed", type=int, default=0, help="of the mutations")
    add("--seconds", type=float, default=10, help="the limit of time for a file")
    add("--megabytes", type=int, default=512, help="the limit of memory for a file")
    add(
        "--target",
        action="append",
        choices=[target.name for target in TARGETS],
        help="only this reader; may be given several times",
    )
    return parser


def make_file(target: Target, seeds: list[bytes], seed: int, number: int) -> bytes:
    """Mutate one of the whole files of a reader."""
    place = [other.name for other in TARGETS].index(target.name)
    rng = np.random.default_rng([seed, place, number])
    return mutate(seeds[int(rng.integers(len(seeds)))], rng, seeds)


# --- processes ----------------------------------------------------------------------


def fuzz(target: Target, count: int, seed: int, limits: Limits) -> Iterator[Outcome]:
    """Yield what becomes of files, in processes that may crash or hang."""
    context = multiprocessing.get_context("fork")
    start = 0
    while start < count:
        reached = context.Value("q", start)
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            results: SimpleQueue[Outcome] = context.SimpleQueue()
            given = (target, range(start, count), seed, limits, Path(scratch))
            process = context.Process(target=work, args=(*given, reached, results))
            process.start()
            lost = yield from watch(process, reached, results, limits)
        if lost is None:
            return
        start = reached.value + 1
        yield Outcome(reached.value, False, limits.seconds, 0, lost)


def watch(
    process: Any, reached: Any, results: "SimpleQueue[Outcome]", limits: Limits
) -> Generator[Outcome, None, str | None]:
    """Yield outcomes until a process ends; return how it was lost, if it was."""
    number, since, lost = -1, time.monotonic(), None
    while True:
        alive = process.is_alive()
        while not results.empty():
            yield results.get()
        if not alive:
            break
        if reached.value != number:
            number, since = reached.value, time.monotonic()
        elif time.monotonic() - since > limits.seconds + 30 * (number == 0):
            lost = "it hangs"
            process.kill()
        time.sleep(0.01)
    process.join()
    return lost or (f"crash {process.exitcode}" if process.exitcode else None)


def work(
    target: Target,
    numbers: range,
    seed: int,
    limits: Limits,
    scratch: Path,
    reached: Any,
    results: "SimpleQueue[Outcome]",
) -> None:
    """Give files to a reader, and report each."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # to which libtiff writes
    seeds = list(target.seeds(scratch))
    path = scratch / target.name
    path.write_bytes(seeds[0])
    try_file(target, path, limits, 0)  # imports, and compiles
    events = watch_events()
    for number in numbers:
        reached.value = number
        path.write_bytes(make_file(target, seeds, seed, number))
        outcome = try_file(target, path, limits, number)
        if events:
            outcome = outcome._replace(failure=f"forbidden: {events.pop()}")
        results.put(outcome)


def try_file(target: Target, path: Path, limits: Limits, number: int) -> Outcome:
    """Read a file, and measure."""
    refused, failure = False, None
    started, before = time.monotonic(), reset_peak()
    try:
        target.read(path)
    except ValueError as error:
        refused = True
        if "\n" in str(error):
            failure = "more than one line"
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"[:200]
    seconds, grown = time.monotonic() - started, peak() - before
    if seconds > limits.seconds:
        failure = f"{seconds:.1f} s"
    if grown > limits.bytes:
        failure = f"{grown / 2**20:.0f} MiB"
    return Outcome(number, refused, seconds, grown, failure)


# --- memory, and what is forbidden --------------------------------------------------


def reset_peak() -> int:
    """Let Linux measure the most memory from here on; return what is used, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Look up the most memory since `reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def watch_events() -> list[str]:
    """Collect from here on what programs are started and what files are written."""
    events: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in WRITES
        if event == "open":
            _, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            writes |= bool(mode) and bool(set(str(mode)) & set("wax+"))
        inside = not writes or str(arguments[0]).startswith((*FOLDERS, "/proc/self/"))
        if not inside or event.startswith(FORBIDDEN):
            events.append(f"{event} {arguments[:1]}")

    sys.addaudithook(note)
    return events


if __name__ == "__main__":
    sys.exit(main())
