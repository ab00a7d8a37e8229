"""Fit a picture into memory, as `stylize` and `optimize` do before computing.

If one device is too small, the image is sharded across all devices; failing that, it is
processed in tiles.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from jaxstyle.scaling.memory import TooLargeError
from jaxstyle.scaling.sharding import make_row_mesh

Result = TypeVar("Result")

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
