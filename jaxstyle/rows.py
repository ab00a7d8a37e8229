"""Images that are too large for one device: several devices divide their rows.

The compiler then lets convolutions exchange the rows at the seams, and adds up sums. It
does so for any shapes, but evenly, and without gathering anything, only where every
device has whole strides of rows: so rows are appended that count for nothing.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

Tree = TypeVar("Tree")

AXIS = "rows"


def make_row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh of devices that divide the rows of images among them.

    Args:
        devices: which ones, and in which order; all by default.
    """
    return Mesh(np.array(jax.devices() if devices is None else devices), (AXIS,))


def divide_rows(
    x: Float[Array, "*n h w c"], mesh: Mesh, *, stride: int = 1
) -> Float[Array, "*n _h w c"]:
    """Divide the rows of an array among devices, each with whole strides of them.

    Rows of zeros are appended as needed.

    Args:
        x: any image or layer.
        mesh: from `make_row_mesh`.
        stride: of what number the rows of a device are to be a multiple.
    """
    widths = [(0, 0)] * x.ndim
    widths[-3] = (0, -x.shape[-3] % (stride * mesh.size))
    return lay_rows(jnp.pad(x, widths), mesh)


def lay_rows(x: Float[Array, "*n h w c"], mesh: Mesh) -> Float[Array, "*n h w c"]:
    """Let devices divide the rows of an array, as evenly as its height allows."""
    free = PartitionSpec.UNCONSTRAINED
    spec = PartitionSpec(*[free] * (x.ndim - 3), AXIS, None, None)  # type: ignore[no-untyped-call]
    return _constrain(x, NamedSharding(mesh, spec))


def lay_whole(x: Array, mesh: Mesh) -> Array:
    """Let each device hold all of an array."""
    return _constrain(x, NamedSharding(mesh, PartitionSpec()))  # type: ignore[no-untyped-call]


def _constrain(x: Array, sharding: NamedSharding) -> Array:
    constrain: Any = lax.with_sharding_constraint
    return jnp.asarray(constrain(x, sharding))


# --- trees of images ----------------------------------------------------------------


def divide_images(tree: Tree, height: int, mesh: Mesh) -> Tree:
    """Apply `divide_rows` to all arrays ``[*n, height, w, 3]`` of a tree.

    It is for what goes from program to program, such as the state of an optimisation,
    since arguments and results can be divided only evenly.
    """

    def divide(x: Array) -> Array:
        return divide_rows(x, mesh) if _is_image(x, height) else x

    divided: Tree = jax.tree.map(divide, tree)
    return divided


def join_images(tree: Tree, height: int, mesh: Mesh) -> Tree:
    """Undo `divide_images`: leave out the rows below the height."""
    padded = divided_height(height, mesh)

    def cut(x: Array) -> Array:
        return lay_rows(x[..., :height, :, :], mesh) if _is_image(x, padded) else x

    cut_tree: Tree = jax.tree.map(cut, tree)
    return cut_tree


def divided_height(height: int, mesh: Mesh) -> int:
    """Return the height of the arrays that `divide_images` makes."""
    return height + -height % mesh.size


def image_shardings(tree: Any, height: int, mesh: Mesh) -> Any:
    """Return where the arrays of a tree lie that `divide_images` has made."""
    padded = divided_height(height, mesh)

    def sharding(x: Array) -> NamedSharding:
        before = [None] * (x.ndim - 3)
        spec = (*before, AXIS) if _is_image(x, padded) else ()
        return NamedSharding(mesh, PartitionSpec(*spec))  # type: ignore[no-untyped-call]

    return jax.tree.map(sharding, tree)


def _is_image(x: Array, height: int) -> bool:
    return x.ndim >= 3 and x.shape[-3] == height and x.shape[-1] == 3
