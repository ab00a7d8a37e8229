"""Lanes: pictures side by side, made by one program.

A tree of arrays for several lanes has an axis more in each array, the first. A single
lane has none, so that one picture is made as if there were no lanes.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")
Item = TypeVar("Item")


def over_lanes(
    function: Callable[..., Any], lanes: int, *, in_axes: Any = 0
) -> Callable[..., Any]:
    """Return a function of so many lanes, from one of a single lane."""
    return function if lanes == 1 else jax.vmap(function, in_axes)


def stack(trees: Sequence[Tree]) -> Tree:
    """Put trees of one structure and of arrays of the same shapes side by side."""
    first, *others = trees
    if not others:
        return first
    stacked: Tree = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    return stacked


def split(tree: Tree, lanes: int) -> list[Tree]:
    """Return the trees of lanes that are side by side."""
    if lanes == 1:
        return [tree]
    return [jax.tree.map(itemgetter(lane), tree) for lane in range(lanes)]


def stack_shapes(tree: Tree, lanes: int) -> Tree:
    """Return the shapes of so many trees like one, side by side."""
    shapes: Tree = jax.eval_shape(lambda *trees: stack(trees), *[tree] * lanes)
    return shapes


def map_distinct(function: Callable[[Item], Tree], items: Sequence[Item]) -> list[Tree]:
    """Return what a function makes of items; the same object is not computed twice."""
    made = {key: function(item) for key, item in {id(x): x for x in items}.items()}
    return [made[id(item)] for item in items]
