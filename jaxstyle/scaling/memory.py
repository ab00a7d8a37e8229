"""What compiled programs need of memory, and what there is."""

import ctypes
from pathlib import Path
from typing import Any

import jax

MEMINFO = Path("/proc/meminfo")
"""Where Linux tells what is free."""


class TooLargeError(MemoryError):
    """A program needs more memory than there is."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(
            f"it takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
        )
        self.needed, self.free = needed, free


def check_free(needed: int, free: int | None) -> None:
    """Raise a TooLargeError if more bytes are needed than are free, as far as known."""
    if free is not None and needed > free:
        raise TooLargeError(needed, free)


def check_memory(program: Any, *, coming: Any = (), devices: int = 1) -> None:
    """Raise a TooLargeError if a program needs more than there is.

    Args:
        program: compiled, for the first device, or for several.
        coming: arrays that are not there yet and will be, or their shapes, as a tree.
        devices: how many run the program and divide what is coming among them. Those
            that are CPUs take all from one memory.
    """
    needed = needed_memory(program) + size_in_bytes(coming) // devices
    if jax.default_backend() == "cpu":
        needed *= devices
    check_free(needed, free_memory())


def needed_memory(program: Any) -> int:
    """Return the bytes that a program takes beside its arguments, on each device."""
    analysis = program.memory_analysis()
    return int(
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def size_in_bytes(tree: Any) -> int:
    """Return how many bytes the arrays of a tree take, or would of these shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def free_memory() -> int | None:
    """Return the bytes that the first device can still give, if that is known."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])
    return free_host_memory() if device.platform == "cpu" else None


def free_host_memory() -> int | None:
    """Return the bytes that this machine can still give, if that is known."""
    if MEMINFO.exists():
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        if "MemAvailable" in lines:
            return 1024 * int(lines["MemAvailable"].split()[0])
    return None


def return_freed_memory() -> None:
    """Give back to the system what this process has freed and glibc keeps, if it does.

    XLA cannot use it: its arrays are too large for glibc to put them there.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
