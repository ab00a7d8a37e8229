"""Where the arrays of a training lie: on all devices, of one process or of several.

The photos of a batch are divided among the devices, and all else is whole on each of
them. From that the compiler knows what to exchange: it adds up the gradients.
"""

from itertools import groupby
from math import gcd
from operator import attrgetter
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


class Placement(NamedTuple):
    """Where arrays lie.

    Attributes:
        batches: of arrays whose first axis is divided among the devices.
        everywhere: of arrays that are whole on each device.
    """

    batches: NamedSharding
    everywhere: NamedSharding

    @property
    def devices(self) -> int:
        """How many devices there are, in all processes."""
        return self.batches.mesh.size


def place(batch: int) -> Placement:
    """Return where to train on batches of a size.

    Each process takes an equal share of a batch, and as many of its devices as divide
    that share. The processes' shares lie in the order of the processes.

    Raises:
        ValueError: the processes cannot have equal shares.
    """
    processes = jax.process_count()
    if batch % processes:
        raise ValueError(
            f"a batch of {batch} cannot be divided among {processes} processes; it "
            "must be a multiple of them"
        )
    of_process = attrgetter("process_index")
    found = sorted(jax.devices(), key=of_process)
    groups = [list(group) for _, group in groupby(found, of_process)]
    each = gcd(batch // processes, *map(len, groups))
    mesh = Mesh(np.array([group[:each] for group in groups]).ravel(), ("batch",))
    divided, whole = PartitionSpec("batch"), PartitionSpec()  # type: ignore[no-untyped-call]
    return Placement(NamedSharding(mesh, divided), NamedSharding(mesh, whole))


def put_everywhere(tree: Tree, placement: Placement) -> Tree:
    """Return a tree of arrays that are whole on each device.

    Args:
        tree: arrays that are the same in all processes.
        placement: which devices.
    """

    def put(leaf: jax.typing.ArrayLike) -> jax.Array:
        array: jax.Array = jax.make_array_from_process_local_data(  # type: ignore[no-untyped-call]
            placement.everywhere, np.asarray(leaf)
        )
        return array

    placed: Tree = jax.tree.map(put, tree)
    return placed
