"""Images that are too large for one device: several devices divide their rows.

The compiler then lets convolutions exchange the rows at the seams, and adds up sums. It
does so for any shapes, but evenly, and without gathering anything, only where every
device has whole strides of rows: so rows are appended that count for nothing.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

AXIS = "rows"


def make_row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh of devices that divide the rows of images among them.

    Args:
        devices: which ones, and in which order; all by default.

    Returns:
        A mesh of one axis, ``rows``.

    Examples:
        >>> jaxstyle.scaling.make_row_mesh(jax.devices()[:1]).size
        1
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
    return _constrain(x, everywhere(mesh))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Return where an array lies that each device holds whole."""
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def by_first_axis(mesh: Mesh) -> NamedSharding:
    """Return where an array lies whose first axis devices divide."""
    return NamedSharding(mesh, PartitionSpec(AXIS))  # type: ignore[no-untyped-call]


def _constrain(x: Array, sharding: NamedSharding) -> Array:
    constrain: Any = lax.with_sharding_constraint
    return jnp.asarray(constrain(x, sharding))


# --- trees of images ----------------------------------------------------------------


def divide_images(tree: Any, height: int, mesh: Mesh) -> Any:
    """Let devices divide the rows of all images of a tree, evenly.

    It is for what goes from program to program, such as the state of an optimization:
    arguments and results can be divided only evenly.
    So rows of zeros are appended, which `join_images` leaves out again.

    Args:
        tree: any arrays; those of the shape ``[*n, height, w, 3]`` are images.
        height: of the images, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        The same tree, its images with as many rows on each device.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> tree = jaxstyle.scaling.divide_images({"image": photo}, 16, mesh)
        >>> jax.tree.map(jnp.shape, jaxstyle.scaling.join_images(tree, 16, mesh))
        {'image': (16, 16, 3)}
    """

    def divide(x: Array) -> Array:
        return divide_rows(x, mesh) if is_image(x, height) else x

    return jax.tree.map(divide, tree)


def join_images(tree: Any, height: int, mesh: Mesh) -> Any:
    """Undo `divide_images`: leave out the rows below the height.

    Args:
        tree: what `divide_images` has made.
        height: of the images, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        The tree with images ``[*n, height, w, 3]``, divided as evenly as they can be.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> tree = jaxstyle.scaling.divide_images(photo, 16, mesh)
        >>> jaxstyle.scaling.join_images(tree, 16, mesh).shape
        (16, 16, 3)
    """
    padded = divided_height(height, mesh)

    def cut(x: Array) -> Array:
        return lay_rows(x[..., :height, :, :], mesh) if is_image(x, padded) else x

    return jax.tree.map(cut, tree)


def divided_height(height: int, mesh: Mesh) -> int:
    """Return the height of the arrays that `divide_images` makes."""
    return height + -height % mesh.size


def image_shardings(tree: Any, height: int, mesh: Mesh) -> Any:
    """Return where the arrays of a tree lie that `divide_images` has made.

    Args:
        tree: arrays, or only their shapes.
        height: of the images before they were divided, in pixels.
        mesh: from `make_row_mesh`.

    Returns:
        A tree of shardings, for ``in_shardings`` and ``out_shardings`` of `jax.jit`.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh(jax.devices()[:1])
        >>> jaxstyle.scaling.image_shardings(photo, 16, mesh).spec
        P('rows',)
    """
    padded = divided_height(height, mesh)

    def sharding(x: Array) -> NamedSharding:
        before = [None] * (x.ndim - 3)
        spec = (*before, AXIS) if is_image(x, padded) else ()
        return NamedSharding(mesh, PartitionSpec(*spec))  # type: ignore[no-untyped-call]

    return jax.tree.map(sharding, tree)


def is_image(x: Array, height: int) -> bool:
    """Return whether an array of a tree is one or more images of a height."""
    return x.ndim >= 3 and x.shape[-3] == height and x.shape[-1] == 3
