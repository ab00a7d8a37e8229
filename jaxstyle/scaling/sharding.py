"""Where arrays lie on several devices: rows of large images, and batches of photos.

An image that is too large for one device is sharded by rows: convolutions exchange the
rows at the seams, and sums are added up, by the compiler. It does so for any shape, but
evenly, and without gathering anything, only where every device has whole strides of
rows, so rows are appended that count for nothing.

In training the photos of a batch are sharded, and all else is replicated. From that the
compiler knows to add up the gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Tree = TypeVar("Tree")

AXIS = "rows"


def make_row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Make the mesh of devices over which the rows of images are sharded.

    Args:
        devices: in the order of their rows; all by default.

    Returns:
        A mesh of one axis, ``rows``.

    Examples:
        >>> jaxstyle.scaling.make_row_mesh(jax.devices()[:1]).size
        1
    """
    return Mesh(np.array(jax.devices() if devices is None else devices), (AXIS,))


def pad_and_shard_rows(
    x: Float[Array, "*n h w c"], mesh: Mesh, *, stride: int = 1
) -> Float[Array, "*n _h w c"]:
    """Shard rows evenly, by multiples of ``stride``, after appending rows of zeros."""
    widths = [(0, 0)] * x.ndim
    widths[-3] = (0, -x.shape[-3] % (stride * mesh.size))
    return shard_rows(jnp.pad(x, widths), mesh)


def shard_rows(x: Float[Array, "*n h w c"], mesh: Mesh) -> Float[Array, "*n h w c"]:
    """Shard the rows of an array as evenly as its height allows."""
    free = PartitionSpec.UNCONSTRAINED
    spec = PartitionSpec(*[free] * (x.ndim - 3), AXIS, None, None)
    return lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def replicate(x: Array, mesh: Mesh) -> Array:
    """Replicate an array on each device."""
    return lax.with_sharding_constraint(x, replicated(mesh))


def replicated(mesh: Mesh) -> NamedSharding:
    """Make the sharding of an array that each device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def sharded_first_axis(mesh: Mesh) -> NamedSharding:
    """Make the sharding of an array by its first axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


# --- trees of images ----------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Images of one height, whose rows a mesh shares; on one device without.

    Arguments and results of programs can only be sharded evenly: between programs, rows
    of zeros are appended for that. Within a program, and on the host, images are as
    high as they are. Arrays of other shapes than ``[*n, height, w, 3]`` are left alone.

    Attributes:
        height: that of the images, in pixels.
        mesh: from `make_row_mesh`.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> layout = jaxstyle.scaling.Layout(16, mesh)
        >>> tree = layout.shard({"image": photo})
        >>> layout.shardings(tree)["image"].spec
        P('rows',)
        >>> jax.tree.map(jnp.shape, layout.unshard(tree))
        {'image': (16, 16, 3)}
    """

    height: int
    mesh: Mesh | None

    @property
    def devices(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def padded_height(self) -> int:
        """The height of images between programs."""
        return self.height + -self.height % self.devices

    def shard(self, tree: Tree) -> Tree:
        """Pad and shard the images of a tree, within a program."""
        if (mesh := self.mesh) is None:
            return tree
        return _map_images(lambda x: pad_and_shard_rows(x, mesh), tree, self.height)

    def unshard(self, tree: Tree) -> Tree:
        """Cut off the rows that `shard` appends, within a program."""
        if (mesh := self.mesh) is None:
            return tree

        def cut(x: Array) -> Array:
            return shard_rows(x[..., : self.height, :, :], mesh)

        return _map_images(cut, tree, self.padded_height)

    def shardings(self, tree: Any) -> Any:
        """Make the shardings of a tree from `shard`, ``None`` for one device."""
        if (mesh := self.mesh) is None:
            return None

        def of_rows(x: Array) -> NamedSharding:
            return NamedSharding(mesh, PartitionSpec(*[None] * (x.ndim - 3), AXIS))

        def sharding(x: Array) -> NamedSharding:
            image = _is_image(x, self.padded_height)
            return of_rows(x) if image else replicated(mesh)

        return jax.tree.map(sharding, tree)

    def put(self, tree: Tree) -> Tree:
        """Put a tree from the host on the devices, its images padded as by `shard`."""
        if self.mesh is None:
            return cast(Tree, jax.device_put(tree))
        below = self.padded_height - self.height

        def pad(x: Array) -> np.ndarray:
            return np.pad(x, [*[(0, 0)] * (x.ndim - 3), (0, below), (0, 0), (0, 0)])

        padded = _map_images(pad, tree, self.height)
        return cast(Tree, jax.device_put(padded, self.shardings(padded)))

    def fetch(self, tree: Tree) -> Tree:
        """Undo `put`; images that were not sharded may stay on their device."""
        if self.mesh is None:
            return tree
        return _map_images(
            lambda x: x[..., : self.height, :, :],
            jax.tree.map(np.asarray, tree),
            self.padded_height,
        )


def _map_images(function: Callable[[Any], Any], tree: Tree, height: int) -> Tree:
    """Apply a function to the images of a height, ``[*n, height, w, 3]``, in a tree."""

    def apply(x: Any) -> Any:
        return function(x) if _is_image(x, height) else x

    return jax.tree.map(apply, tree)


def _is_image(x: ArrayLike, height: int) -> bool:
    """Test whether an array is one or more RGB images of a height."""
    return np.ndim(x) >= 3 and np.shape(x)[-3::2] == (height, 3)


# --- batches ------------------------------------------------------------------------


class Placement(NamedTuple):
    """The shardings of a training: of batches by their first axis, and of all else."""

    batches: NamedSharding
    replicated: NamedSharding

    @property
    def devices(self) -> int:
        """The number of devices in all processes."""
        return self.batches.mesh.size


def place(batch: int) -> Placement:
    """Choose the devices to train on with batches of a size.

    Each process takes an equal share of a batch, in the order of the processes, and as
    many of its devices as divide that share. A ValueError says if there is none.
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
    batches, whole = PartitionSpec("batch"), PartitionSpec()
    return Placement(NamedSharding(mesh, batches), NamedSharding(mesh, whole))


def put_replicated(tree: Tree, placement: Placement) -> Tree:
    """Put a tree of arrays, the same in all processes, on each device."""

    def put(leaf: jax.typing.ArrayLike) -> jax.Array:
        return jax.make_array_from_process_local_data(
            placement.replicated, np.asarray(leaf)
        )

    return jax.tree.map(put, tree)
