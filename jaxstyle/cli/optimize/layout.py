"""Where the images of ``jaxstyle optimize`` lie: on one device, or divided among some.

What goes from program to program is divided evenly, with rows of zeros appended (see
`jaxstyle.scaling.sharding`); within a program, and on the host, images are as high as
they are.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxstyle.losses.perceptual import Problem
from jaxstyle.scaling.sharding import (
    image_shardings,
    is_image,
    padded_height,
    replicated,
    shard_images,
    sharded_first_axis,
    unshard_images,
)


class Layout(NamedTuple):
    """How the images of a scale lie.

    Attributes:
        height: of the images, in pixels.
        mesh: the devices that divide their rows; none for images that lie on one.
    """

    height: int
    mesh: Mesh | None = None

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return 1 if self.mesh is None else self.mesh.size

    @property
    def undivided(self) -> "Layout":
        """How the same images lie as a whole."""
        return Layout(self.height)

    # --- within programs ---

    def divide(self, tree: Any) -> Any:
        """Let the devices divide the images of a tree evenly."""
        if self.mesh is None:
            return tree
        return shard_images(tree, self.height, self.mesh)

    def join(self, tree: Any) -> Any:
        """Leave out the rows that `divide` has appended."""
        if self.mesh is None:
            return tree
        return unshard_images(tree, self.height, self.mesh)

    # --- between programs: where arrays lie, None for the one device ---

    def of_images(self, tree: Any) -> Any:
        """Return where the arrays of a divided tree lie."""
        if self.mesh is None:
            return None
        return image_shardings(tree, self.height, self.mesh)

    def of_problem(self, problem: Problem) -> Any:
        """Return where the arrays of a problem lie: content divided, the rest whole."""
        if self.mesh is None:
            return None
        whole, divided = replicated(self.mesh), sharded_first_axis(self.mesh)
        places: Problem = jax.tree.map(lambda _: whole, problem)
        content = jax.tree.map(lambda _: divided, problem.targets.content)
        return places._replace(targets=replace(places.targets, content=content))

    # --- from and to the host ---

    def fetch(self, tree: Any) -> Any:
        """Return a divided tree with whole images, without what was appended."""
        if self.mesh is None:
            return tree
        padded = padded_height(self.height, self.mesh)
        return jax.tree.map(
            lambda x: x[..., : self.height, :, :] if is_image(x, padded) else x,
            jax.tree.map(np.asarray, tree),
        )

    def put_problem(self, problem: Problem) -> Problem:
        """Return a problem on the devices."""
        if self.mesh is None:
            return problem
        placed: Problem = jax.device_put(problem, self.of_problem(problem))
        return placed

    def put(self, tree: Any) -> Any:
        """Return a tree of whole images on the devices."""
        if self.mesh is None:
            return jax.device_put(tree)
        below = padded_height(self.height, self.mesh) - self.height
        padded = jax.tree.map(
            lambda x: _append_rows(x, below) if is_image(x, self.height) else x, tree
        )
        return jax.device_put(padded, self.of_images(padded))


def _append_rows(x: jax.typing.ArrayLike, count: int) -> np.ndarray:
    """Return an array of images on the host, with so many rows of zeros below."""
    images = np.asarray(x)
    widths = [(0, 0)] * images.ndim
    widths[-3] = (0, count)
    return np.pad(images, widths)
