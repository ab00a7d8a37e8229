"""The memory that programs need, and strategies for images that need more than is free.

If one device is too small, an image is sharded across all devices; failing that, it is
processed in tiles.
"""

import ctypes
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh
from jax.stages import Compiled

from jaxstyle.scaling.sharding import make_row_mesh

Result = TypeVar("Result")

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


# --- strategies -----------------------------------------------------------------------

TILE = 512
"""The side of tiles, in pixels, if the whole picture does not fit in memory."""


class Strategy(NamedTuple):
    """The number of devices that share the rows, or the side of tiles in pixels."""

    devices: int = 1
    tile: int | None = None

    @property
    def mesh(self) -> Mesh | None:
        """The mesh of the first devices of this process, ``None`` for a single one."""
        if self.devices == 1:
            return None
        return make_row_mesh(jax.local_devices()[: self.devices])

    def __str__(self) -> str:
        """Name the strategy for messages."""
        if self.devices > 1:
            return f"sharded across {self.devices} devices"
        return "whole" if self.tile is None else f"in tiles of {self.tile} pixels"


WHOLE = Strategy()


def list_strategies(
    devices: int | None, tile: int | None, *, longest: int
) -> list[Strategy]:
    """List the strategies for a picture; each needs less memory than the one before.

    Tiles as large as the picture's longer side, ``longest`` pixels, are left out.
    """
    if devices is not None:
        return [Strategy(devices)]
    if tile is not None:
        return [Strategy(tile=tile) if tile < longest else WHOLE]
    strategies = [WHOLE]
    if (available := jax.local_device_count()) > 1:
        strategies.append(Strategy(available))
    if longest > TILE:
        strategies.append(Strategy(tile=TILE))
    return strategies


def make_that_fits(
    strategies: Sequence[Strategy],
    make: Callable[[Strategy], Result],
    say: Callable[[str], object],
) -> Result:
    """Call ``make`` with each strategy until one raises no TooLargeError."""
    for strategy, following in pairwise(strategies):
        try:
            return make(strategy)
        except TooLargeError as error:
            say(f"not enough memory: {error}; continuing {following}")
    return make(strategies[-1])
