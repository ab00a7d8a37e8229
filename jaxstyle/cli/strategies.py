"""How a command computes pictures that memory may not suffice for at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from jaxstyle.scaling.memory import TooLargeError
from jaxstyle.scaling.sharding import make_row_mesh

Made = TypeVar("Made")

TILE = 512
"""The side of tiles where memory does not suffice for the whole picture."""


class Way(NamedTuple):
    """How to compute a picture: whole, divided among devices, or in tiles.

    Attributes:
        devices: how many divide its rows.
        tile: the side, in pixels, of the tiles that one device computes in turn.
    """

    devices: int = 1
    tile: int | None = None

    @property
    def mesh(self) -> Mesh | None:
        """The devices, if there are several."""
        return make_mesh(self.devices)

    def __str__(self) -> str:
        """Return the way in words."""
        if self.devices > 1:
            return f"divided among {self.devices} devices"
        return "whole" if self.tile is None else f"in tiles of {self.tile} pixels"


def make_mesh(devices: int) -> Mesh | None:
    """Return the mesh of the first devices of this process, none for a single one."""
    return None if devices == 1 else make_row_mesh(jax.local_devices()[:devices])


def check_ways(devices: int | None, tile: int | None) -> None:
    """Raise a ValueError where there are fewer devices, or both are wanted."""
    if devices is not None and tile is not None:
        raise ValueError("--devices and --tile do not go together")
    there = jax.local_device_count()
    if devices is not None and devices > there:
        raise ValueError(f"--devices {devices} is too many: there are {there}")


def find_ways(devices: int | None, tile: int | None, *, longest: int) -> list[Way]:
    """Return the ways to compute a picture, each for less memory than the one before.

    Args:
        devices: how many are wanted, if that is said.
        tile: the side of tiles that is wanted, if it is said.
        longest: the longer side of the picture, in pixels; no tiles are larger.
    """
    if devices is not None:
        return [Way(devices)]
    if tile is not None:
        return [Way(tile=tile if tile < longest else None)]
    ways = [Way()]
    if (there := jax.local_device_count()) > 1:
        ways.append(Way(there))
    if longest > TILE:
        ways.append(Way(tile=TILE))
    return ways


def try_ways(
    ways: Sequence[Way], make: Callable[[Way], Made], say: Callable[[str], object]
) -> Made:
    """Return what is made in the first way that memory suffices for.

    Raises:
        TooLargeError: there is no such way.
    """
    way, *others = ways
    try:
        return make(way)
    except TooLargeError as error:
        if not others:
            raise
        say(f"not enough memory: {error}; going on {others[0]}")
    return try_ways(others, make, say)
