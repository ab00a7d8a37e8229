"""Shared by commands: compiled programs, messages, memory, interrupts, threads."""

import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from jaxstyle.files.downloads import cache_folder
from jaxstyle.scaling.memory import TooLargeError

Result = TypeVar("Result")

PACKAGES = ("jaxstyle", "jax", "jaxlib", "flax", "optax", "numpy")
"""The packages whose versions shape the numbers."""

SLOW = 0.5
"""How many seconds a program must take to compile to be kept."""

PATIENCE = 1.0
"""How many seconds a program may take before a line says that it compiles."""

SECONDS_PER_CALL = 0.5
"""About how long a call of the device takes, once its speed is known."""


def use_compilation_cache() -> None:
    """Keep compiled programs on disk, so that the next run of a size starts at once.

    JAX_COMPILATION_CACHE_DIR says where, by default the cache folder. Without a folder
    to write to, or with a damaged one, every run compiles anew.
    """
    warnings.filterwarnings("ignore", "Error .* persistent compilation cache")
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = cache_folder() / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SLOW)


@contextmanager
def if_slow(say: Callable[[str], object], line: str) -> Iterator[None]:
    """Say what takes more time than `PATIENCE`, such as to compile, when it does.

    A program that is read from the cache does not.
    """
    done = threading.Event()

    def wait() -> None:
        if not done.wait(PATIENCE):
            say(line)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def versions() -> dict[str, str]:
    """Record the versions of what shapes the numbers, and the kind of device."""
    device = jax.devices()[0].device_kind
    return {name: metadata.version(name) for name in PACKAGES} | {"device": device}


@contextmanager
def explain_lack_of_memory(*, what: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory, on the host or on the device, into a ValueError."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        exhausted = "RESOURCE_EXHAUSTED" in str(error)
        if not exhausted and not isinstance(error, MemoryError):
            raise
        reason = f": {error}" if isinstance(error, TooLargeError) else ""
        raise ValueError(f"not enough memory for {what}{reason}; {advice}") from error


def make_say(*, quiet: bool) -> Callable[[str], None]:
    """Make a function that prints progress to standard error, or nothing if quiet."""
    # This leaves progress bars whole.
    return (lambda _: None) if quiet else partial(tqdm.write, file=sys.stderr)


class NotFiniteError(ValueError):
    """A loss, a gradient or a part of a state is not finite."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} is not finite at step {step}")


def check_finite(state: Any) -> None:
    """Raise a NotFiniteError that names a part of a state, if one is not finite."""
    for path, leaf in jax.tree.leaves_with_path(state):
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise NotFiniteError(name, int(state.step))


def check_kept(
    inputs: Iterable[str | Path], outputs: Iterable[Path], *, what: str
) -> None:
    """Raise a ValueError if an output would be written over an input."""
    written = {path.resolve() for path in outputs}
    for name in inputs:
        if Path(name).resolve() in written:
            raise ValueError(f"{name} is an input; writing the {what} would lose it")


def check_strategy(devices: int | None, tile: int | None) -> None:
    """Raise a ValueError if both options are given, or there are fewer devices."""
    if devices is not None and tile is not None:
        raise ValueError("--devices and --tile exclude each other; give one of them")
    available = jax.local_device_count()
    if devices is not None and devices > available:
        raise ValueError(
            f"--devices {devices} is more than the {available} available; use at most "
            f"{available}"
        )


def until_halt(step: int, end: int, intervals: Iterable[int]) -> int:
    """Count the steps to the end, or to the next multiple of an interval."""
    return min(end - step, *(every - step % every for every in intervals))


# --- interrupts ---------------------------------------------------------------------


class Interrupts:
    """A request to stop, which a loop honors between its steps."""

    received = False


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Note the first SIGINT or SIGTERM instead of raising; a second one raises."""
    interrupts = Interrupts()
    wanted = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in wanted}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.received = True
        restore()

    for number in wanted:
        signal.signal(number, note)
    try:
        yield interrupts
    finally:
        restore()


# --- pipelines ----------------------------------------------------------------------


def run_ahead(
    calls: Iterable[tuple[int, Callable[[], Result]]], executor: Executor, most: int
) -> Iterator[Future[Result]]:
    """Run calls, each with its size, in threads, and yield futures in order.

    The sizes of those ahead add up to at most ``most``, unless a single one is larger.
    """
    pending: deque[tuple[int, Future[Result]]] = deque()
    ahead = 0
    for size, call in calls:
        while pending and ahead + size > most:
            done, future = pending.popleft()
            ahead -= done
            yield future
        pending.append((size, executor.submit(call)))
        ahead += size
    yield from (future for _, future in pending)


def until_interrupted(
    interrupts: Interrupts, items: Iterable[Result]
) -> Iterator[Result]:
    """Yield items until, after one of them, there was an interrupt."""
    for item in items:
        yield item
        if interrupts.received:
            return
