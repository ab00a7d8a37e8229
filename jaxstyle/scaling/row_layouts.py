"""How the images of a program's arguments lie: on one device, or sharded by rows.

Between programs, rows are sharded evenly, with rows of zeros appended (see
`jaxstyle.scaling.sharding`); within a program, and on the host, images are as high as
they are.
"""

from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxstyle.scaling.sharding import (
    image_shardings,
    is_image,
    padded_height,
    shard_images,
    unshard_images,
)

Tree = TypeVar("Tree")


class Layout:
    """Images of one height on one device, as they are."""

    mesh: Mesh | None = None
    devices = 1

    def shard(self, tree: Tree) -> Tree:
        """Shard the images of a tree, within a program."""
        return tree

    def unshard(self, tree: Tree) -> Tree:
        """Undo `shard`, within a program."""
        return tree

    def shardings(self, tree: Tree) -> Tree | None:
        """Make the shardings of a tree from `shard`, ``None`` for one device."""
        return None

    def put(self, tree: Tree) -> Tree:
        """Put a tree from the host on the devices, as `shard` does."""
        placed: Tree = jax.device_put(tree)
        return placed

    def fetch(self, tree: Tree) -> Tree:
        """Undo `put`; images that were not sharded may stay on their device."""
        return tree


class ShardedLayout(Layout):
    """Images whose rows are sharded over the devices of a mesh.

    Args:
        height: of the images, in pixels.
        mesh: from `jaxstyle.scaling.make_row_mesh`.
    """

    def __init__(self, height: int, mesh: Mesh) -> None:
        self.height, self.rows = height, mesh
        self.mesh, self.devices = mesh, mesh.size

    def shard(self, tree: Tree) -> Tree:
        """Pad and shard the images of a tree, within a program."""
        return shard_images(tree, self.height, self.rows)

    def unshard(self, tree: Tree) -> Tree:
        """Cut off the rows that `shard` appends, within a program."""
        return unshard_images(tree, self.height, self.rows)

    def shardings(self, tree: Tree) -> Tree | None:
        """Make the shardings of a tree from `shard`."""
        shardings: Tree = image_shardings(tree, self.height, self.rows)
        return shardings

    def put(self, tree: Tree) -> Tree:
        """Pad the images of a tree on the host, and put it on the devices."""
        below = padded_height(self.height, self.rows) - self.height
        padded: Tree = jax.tree.map(
            lambda x: _append_rows(x, below) if is_image(x, self.height) else x, tree
        )
        placed: Tree = jax.device_put(padded, self.shardings(padded))
        return placed

    def fetch(self, tree: Tree) -> Tree:
        """Bring a tree to the host, without the rows that were appended."""
        padded = padded_height(self.height, self.rows)
        whole: Tree = jax.tree.map(
            lambda x: x[..., : self.height, :, :] if is_image(x, padded) else x,
            jax.tree.map(np.asarray, tree),
        )
        return whole


def make_layout(height: int, mesh: Mesh | None) -> Layout:
    """Choose the layout of images of a height: sharded, if there is a mesh."""
    return Layout() if mesh is None else ShardedLayout(height, mesh)


def _append_rows(x: ArrayLike, count: int) -> np.ndarray:
    """Append ``count`` rows of zeros to images on the host."""
    images = np.asarray(x)
    widths = [(0, 0)] * images.ndim
    widths[-3] = (0, count)
    return np.pad(images, widths)
