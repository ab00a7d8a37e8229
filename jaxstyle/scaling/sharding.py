"""Where arrays lie on several devices: rows of large images, and batches of photos.

An image that is too large for one device is sharded by rows: convolutions exchange the
rows at the seams, and sums are added up, by the compiler. It does so for any shape, but
evenly, and without gathering anything, only where every device has whole strides of
rows, so rows are appended that count for nothing.

In training the photos of a batch are sharded, and all else is replicated. From that the
compiler knows to add up the gradients.
"""

from collections.abc import Sequence
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


def shard_images(tree: Tree, height: int, mesh: Mesh) -> Tree:
    """Pad all images of a tree with rows of zeros, and shard them evenly.

    Arguments and results of programs can only be sharded evenly.

    Args:
        tree: any arrays; those of the shape ``[*n, height, w, 3]`` are images.
        height: of the images, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        The same tree, its images with equally many rows on each device.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> tree = jaxstyle.scaling.shard_images({"image": photo}, 16, mesh)
        >>> jax.tree.map(jnp.shape, jaxstyle.scaling.unshard_images(tree, 16, mesh))
        {'image': (16, 16, 3)}
    """
    return jax.tree.map(
        lambda x: pad_and_shard_rows(x, mesh) if is_image(x, height) else x, tree
    )


def unshard_images(tree: Tree, height: int, mesh: Mesh) -> Tree:
    """Undo `shard_images`: cut off the rows below the height.

    Args:
        tree: from `shard_images`.
        height: of the images, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        The tree with images ``[*n, height, w, 3]``, sharded as evenly as they can be.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> sharded = jaxstyle.scaling.shard_images(photo, 16, mesh)
        >>> jaxstyle.scaling.unshard_images(sharded, 16, mesh).shape
        (16, 16, 3)
    """
    padded = padded_height(height, mesh)

    def cut(x: Array) -> Array:
        return shard_rows(x[..., :height, :, :], mesh) if is_image(x, padded) else x

    return jax.tree.map(cut, tree)


def padded_height(height: int, mesh: Mesh) -> int:
    """Compute the height of the arrays that `shard_images` makes."""
    return height + -height % mesh.size


def image_shardings(tree: Any, height: int, mesh: Mesh) -> Any:
    """Make the shardings of a tree from `shard_images`.

    Args:
        tree: arrays, or only their shapes.
        height: of the images before they were padded, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        A tree of shardings, for ``in_shardings`` and ``out_shardings`` of `jax.jit`.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> jaxstyle.scaling.image_shardings(photo, 16, mesh).spec
        P('rows',)
    """
    padded = padded_height(height, mesh)

    def sharding(x: Array) -> NamedSharding:
        before = [None] * (x.ndim - 3)
        spec = (*before, AXIS) if is_image(x, padded) else ()
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(sharding, tree)


def is_image(x: Array | np.ndarray, height: int) -> bool:
    """Test whether an array is one or more RGB images of a height."""
    return x.ndim >= 3 and x.shape[-3] == height and x.shape[-1] == 3


# --- layouts --------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Images of a height in pixels, whose rows a mesh shares; on one device without.

    Between programs, rows are sharded evenly, with rows of zeros appended; within a
    program, and on the host, images are as high as they are.
    """

    height: int
    mesh: Mesh | None

    @property
    def devices(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    def shard(self, tree: Tree) -> Tree:
        """Pad and shard the images of a tree, within a program."""
        return tree if self.mesh is None else shard_images(tree, self.height, self.mesh)

    def unshard(self, tree: Tree) -> Tree:
        """Cut off the rows that `shard` appends, within a program."""
        if self.mesh is None:
            return tree
        return unshard_images(tree, self.height, self.mesh)

    def shardings(self, tree: Tree) -> Tree | None:
        """Make the shardings of a tree from `shard`, ``None`` for one device."""
        if self.mesh is None:
            return None
        return cast(Tree, image_shardings(tree, self.height, self.mesh))

    def put(self, tree: Tree) -> Tree:
        """Put a tree from the host on the devices, its images padded as by `shard`."""
        if self.mesh is None:
            return cast(Tree, jax.device_put(tree))
        below = padded_height(self.height, self.mesh) - self.height

        def pad(x: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
            images = np.asarray(x)
            if not is_image(images, self.height):
                return x
            widths = [(0, 0)] * images.ndim
            widths[-3] = (0, below)
            return np.pad(images, widths)

        padded = jax.tree.map(pad, tree)
        return cast(Tree, jax.device_put(padded, self.shardings(padded)))

    def fetch(self, tree: Tree) -> Tree:
        """Undo `put`; images that were not sharded may stay on their device."""
        if self.mesh is None:
            return tree
        padded = padded_height(self.height, self.mesh)

        def cut(x: np.ndarray) -> np.ndarray:
            return x[..., : self.height, :, :] if is_image(x, padded) else x

        return jax.tree.map(cut, jax.tree.map(np.asarray, tree))


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
