"""Windows onto images that are too large for memory: the same sums, part by part.

What a network computes at a position depends on the pixels within its reach. So a
window shows what the whole image does, except near those of its sides that are no sides
of the image. Windows overlap by so much that each position is right in one of them,
which owns it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import register_dataclass
from jaxtyping import Array, Bool, Float, Int

from jaxstyle.scaling.sharding import AXIS

Tree = TypeVar("Tree")


@register_dataclass
@dataclass(frozen=True)
class Window:
    """A part of an image, or, with a leading axis, all those that cover it.

    Attributes:
        corner: the row and the column where it begins, in pixels.
        bounds: what it owns: from which row to which, and from which column to which.
        size: its height and width, which is structure and not data.
    """

    corner: Int[Array, "*n 2"]
    bounds: Int[Array, "*n 2 2"]
    size: tuple[int, int] = field(metadata={"static": True})

    def cut(self, x: Array, *, stride: int = 1, axis: int = -3) -> Array:
        """Cut the window's part out of an array, whose height is the given axis."""
        starts, axes = self.corner // stride, (axis, axis + 1)
        for start, length, axis in zip(starts, self.size, axes, strict=True):
            x = jnp.asarray(lax.dynamic_slice_in_dim(x, start, length // stride, axis))
        return x

    def paste(
        self, x: Float[Array, "*n _h _w c"], part: Float[Array, "*n h w c"], stride: int
    ) -> Float[Array, "*n _h _w c"]:
        """Replace the part of an array that the window owns."""
        owned = self.owned(stride)[..., None]
        part = jnp.where(owned, part, self.cut(x, stride=stride))
        before = [0] * (x.ndim - 3)
        at = (*before, *self.corner // stride, 0)
        return jnp.asarray(lax.dynamic_update_slice(x, part, at))

    def owned(self, stride: int) -> Bool[Array, "h w"]:
        """Mark the positions, ``stride`` pixels apart, that the window owns."""
        return self._owned(0, stride)[:, None] & self._owned(1, stride)

    def _owned(self, side: int, stride: int) -> Bool[Array, " n"]:
        at = self.corner[side] // stride + jnp.arange(self.size[side] // stride)
        begin, end = self.bounds[side] // stride
        return jnp.logical_and(begin <= at, at < end)


def sum_windows(function: Callable[[Window], Tree], windows: Window) -> Tree:
    """Add up a function's results for all windows, one after the other.

    The gradient, too, takes the memory of one window at a time: each is evaluated once
    more for it.
    """
    shapes = _shapes_of(function, windows)
    nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    evaluate = jax.checkpoint(function, prevent_cse=False)

    def add(total: Tree, window: Window) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, total, evaluate(window)), None

    return lax.scan(add, nothing, windows)[0]


def map_windows(
    function: Callable[..., Tree],
    windows: Window,
    *shared: Any,
    mesh: Mesh | None = None,
) -> Tree:
    """Stack a function's results for all windows, one after the other on each device.

    Args:
        function: of a window, and of what is shared.
        windows: as many as a mesh has devices, or a multiple of that.
        *shared: what all devices get; what is computed on a mesh must be told here.
        mesh: of the devices that share the windows; a single device by default.
    """

    def visit(windows: Window, *shared: Any) -> Tree:
        return cast(Tree, lax.map(lambda window: function(window, *shared), windows))

    return _share(visit, mesh)(windows, *shared)


def join_windows(
    function: Callable[..., tuple[Array, Tree]],
    windows: Window,
    *shared: Any,
    size: tuple[int, int],
    stride: int,
    mesh: Mesh | None = None,
) -> tuple[Array, Tree]:
    """Compute a whole array by windows, one after the other on each device.

    Args:
        function: from a window, and what is shared, to the window's part of the array,
            ``[*n, h, w, c]``, with positions ``stride`` pixels apart, and anything
            else.
        windows: those that cover the image; for a mesh as in `map_windows`.
        *shared: as in `map_windows`.
        size: height and width of the image.
        stride: as above.
        mesh: as in `map_windows`; all of its devices get the array.

    Returns:
        The array, and everything else, stacked.
    """
    height, width = (side // stride for side in size)

    def visit(windows: Window, *shared: Any) -> tuple[Array, Tree]:
        def paste(whole: Array, window: Window) -> tuple[Array, Tree]:
            part, other = function(window, *shared)
            return window.paste(whole, part, stride), other

        part, _ = _shapes_of(lambda window: function(window, *shared), windows)
        *axes, _, _, channels = part.shape
        nothing = jnp.zeros((*axes, height, width, channels), part.dtype)
        whole, other = lax.scan(paste, nothing, windows)
        return jnp.asarray(whole)[None], other

    wholes, other = _share(visit, mesh)(windows, *shared)
    return wholes.sum(0), other


def _share(function: Callable[..., Tree], mesh: Mesh | None) -> Callable[..., Tree]:
    """Call a function on each device with its windows; stack the results."""
    if mesh is None:
        return function
    by_device, whole = PartitionSpec(AXIS), PartitionSpec()

    def call(windows: Window, *shared: Any) -> Tree:
        specs = by_device, *[whole] * len(shared)
        sharded = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=by_device, check_vma=False
        )
        return sharded(windows, *shared)

    return call


def _shapes_of(function: Callable[[Window], Tree], windows: Window) -> Tree:
    """Find the shapes of a function's results, which are the same for all windows."""
    shapes: Tree = jax.eval_shape(function, jax.tree.map(lambda x: x[0], windows))
    return shapes


# --- where windows lie --------------------------------------------------------------


def cover_image(
    size: tuple[int, int], *, largest: int, margin: int, stride: int
) -> Window:
    """Cover an image of (height, width) with stacked windows of ``largest`` sides.

    Within ``margin`` pixels of an inner side of a window positions are not right; the
    farthest are ``stride`` pixels apart. A ValueError says if all would be margin.
    """
    rows, columns = (
        _cover(length, largest=largest, margin=margin, stride=stride) for length in size
    )
    corners = product(rows.starts, columns.starts)
    bounds = product(pairwise(rows.bounds), pairwise(columns.bounds))
    return Window(
        jnp.array([*corners]), jnp.array([*bounds]), (rows.size, columns.size)
    )


def cover_rows(
    size: tuple[int, int], *, count: int, margin: int, stride: int
) -> Window:
    """Cover an image of (height, width) with ``count`` stacked windows of its width.

    They own equally many rows, except that the last ones may own fewer, or none. For
    the margin and the stride see `cover_image`.
    """
    height, width = size
    owned = stride * math.ceil(height / (stride * count))
    margin = stride * math.ceil(margin / stride)
    rows = min(height, owned + 2 * margin + stride)
    rows -= (rows - height) % stride
    bounds = [min(at * owned, height) for at in range(count + 1)]
    starts = [max(0, min(row - margin, height - rows)) for row in bounds[:-1]]
    return Window(
        jnp.array([(start, 0) for start in starts]),
        jnp.array([(own, (0, width)) for own in pairwise(bounds)]),
        (rows, width),
    )


class _Span(NamedTuple):
    """Windows along one side: their size, where each begins, and what each owns."""

    size: int
    starts: tuple[int, ...]
    bounds: tuple[int, ...]


def _cover(length: int, *, largest: int, margin: int, stride: int) -> _Span:
    """Place windows at multiples of the stride; the last ends the side."""
    if length <= largest:
        return _Span(length, (0,), (0, length))
    margin = stride * math.ceil(margin / stride)
    size = largest - (largest - length) % stride
    # What is left over at its end is too little for a position.
    step = size // stride * stride - 2 * margin
    if step <= 0:
        least = 2 * margin + 3 * stride
        raise ValueError(f"tiles must have sides of {least} or more, got {largest}")
    count = 1 + math.ceil((length - size) / step)
    starts = tuple(min(at * step, length - size) for at in range(count))
    return _Span(size, starts, (0, *(start + margin for start in starts[1:]), length))
