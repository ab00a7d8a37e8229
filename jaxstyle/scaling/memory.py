"""The memory that compiled programs need, and the memory that is free."""

import ctypes
from pathlib import Path
from typing import Any

import jax
from jax.stages import Compiled

MEMINFO = Path("/proc/meminfo")
"""The file in which Linux reports free memory."""


class TooLargeError(MemoryError):
    """A program needs more bytes than are free."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(
            f"needs {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB is free"
        )
        self.needed, self.free = needed, free


def check_free(needed: int, free: int | None) -> None:
    """Raise a TooLargeError if more bytes are needed than are known to be free."""
    if free is not None and needed > free:
        raise TooLargeError(needed, free)


def check_memory(program: Compiled, *, coming: Any = (), devices: int = 1) -> None:
    """Raise a TooLargeError if a program needs more memory than is free.

    The devices share ``coming``, a tree of arrays, or shapes, that are not allocated
    yet. CPU devices share one memory, so there the needs of all count.
    """
    needed = needed_memory(program) + size_in_bytes(coming) // devices
    if jax.default_backend() == "cpu":
        needed *= devices
    check_free(needed, free_memory())


def needed_memory(program: Compiled) -> int:
    """Compute the bytes that a program needs on each device, without its arguments."""
    analysis: Any = program.memory_analysis()
    return int(
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def size_in_bytes(tree: Any) -> int:
    """Add up the bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def free_memory() -> int | None:
    """Look up the free bytes of the first device, ``None`` if unknown."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])
    return free_host_memory() if device.platform == "cpu" else None


def free_host_memory() -> int | None:
    """Look up the free bytes of this machine, ``None`` if unknown."""
    if MEMINFO.exists():
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        if "MemAvailable" in lines:
            return 1024 * int(lines["MemAvailable"].split()[0])
    return None


def return_freed_memory() -> None:
    """Return to the system the memory that this process has freed but glibc keeps.

    XLA cannot reuse it: glibc does not place arrays that large there.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
