"""Feature extractors: what the loss needs of them, and how they are executed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, Params, check_images
from jaxstyle.scaling.sharding import pad_and_shard_rows
from jaxstyle.scaling.windows import Window, cover_image

ExtractorParams: TypeAlias = Params
"""A tree of arrays."""

Features: TypeAlias = dict[str, Float[Array, "*n _h _w _c"]]
"""Activations by layer."""

Block: TypeAlias = Callable[[ExtractorParams, Any, int], tuple[Any, Features]]
"""``block(params, x, rows) -> (x, features)``, of images or of the block before."""


class Extractor(Protocol):
    """A network of which the loss compares features, such as `jaxstyle.vgg.VGG`.

    It is structure, and so hashable; its parameters are data, and are passed to it. It
    has layers, each with a name and a stride: of an image of ``h`` x ``w`` pixels a
    layer has ``h // stride`` x ``w // stride`` positions.

    Examples:
        Colors, averaged over squares of 8x8 pixels:

        >>> class Colors:
        ...     def layers(self, params):
        ...         return ("colors",)
        ...     def stride(self, layer):
        ...         return 8
        ...     def reach(self, params, layer):
        ...         return 0
        ...     def blocks(self, params, *, dtype=None):
        ...         return [self.average]
        ...     def average(self, params, x, rows):
        ...         *n, h, w, c = x.shape
        ...         squares = x.reshape(*n, h // 8, 8, w // 8, 8, c)
        ...         x = params["scale"] * squares.mean((-4, -2))
        ...         return x, {"colors": x}
        >>> objective = jaxstyle.losses.Objective(extractor=Colors())
        >>> params, weights = {"scale": 2.0}, jaxstyle.Weights({}, {"colors": 1.0})
        >>> targets = jaxstyle.losses.make_targets(
        ...     params, photo, [painting], weights, objective=objective
        ... )
        >>> targets.style["colors"].shape
        (3, 3)
    """

    def layers(self, params: ExtractorParams) -> Sequence[str]:
        """Name the layers that these parameters can compute, in order."""

    def stride(self, layer: str) -> int:
        """Count the pixels from one position of a layer to the next."""

    def reach(self, params: ExtractorParams, layer: str) -> int | None:
        """Count the pixels around its own that a position depends on, at most.

        None if it depends on the whole image, which cannot be tiled then.
        """

    def blocks(
        self, params: ExtractorParams, *, dtype: DTypeLike | None = None
    ) -> Sequence[Block]:
        """Divide the network into blocks, each of which goes on from the one before.

        A block is ``block(params, x, rows) -> (x, features)``. The first takes images,
        the others the ``x`` that the block before has returned. Of the images only the
        first ``rows`` rows count, which matters if devices share the rows of an image:
        the rows of features below must be zero, and have no effect on others. The
        precision is ``dtype``, by default that of the images.
        """


PRECISIONS = ("float32", "bfloat16")
"""What a network may compute in."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How features are computed: in which precision, on which devices, in which parts.

    The loss and its gradient are the same, except for rounding. Targets that were made
    in one way serve evaluations in any other, except that those made on a mesh have
    rows appended, and serve on the same mesh only.

    Attributes:
        precision: what the network computes in, ``"float32"`` or ``"bfloat16"``; the
            precision of the images by default. Moments, losses and the gradient to
            float32 images are in float32 in any case.
        remat: whether the gradient computes each block of the network a second time,
            instead of keeping its activations: the same numbers, for less memory and
            a third more time. Tiles do so without it.
        mesh: devices that share the rows of an image, from
            `jaxstyle.scaling.make_row_mesh`; by default nothing is said of devices.
        tile: the largest side, in pixels, of the tiles in which features are computed,
            one after the other, for less memory and more time; the whole image by
            default.

    Examples:
        Under `jax.jit` it is a static argument, like the objective:

        >>> tiled = jaxstyle.losses.Execution(tile=512)
        >>> targets = jaxstyle.losses.make_targets(vgg, photo, [painting], weights)
        >>> loss_of = jaxstyle.losses.perceptual_loss
        >>> loss_of = jax.jit(loss_of, static_argnames="execution")
        >>> loss, _ = loss_of(vgg, photo, targets, weights, execution=tiled)
        >>> jnp.allclose(loss, loss_of(vgg, photo, targets, weights)[0])
        Array(True, dtype=bool)
    """

    precision: str | None = None
    remat: bool = False
    mesh: Mesh | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        """Raise a ValueError for an unknown precision, and for tiles with a mesh."""
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"no precision {self.precision!r}; known are {', '.join(PRECISIONS)}"
            )
        if self.tile is not None and self.mesh is not None:
            raise ValueError("tile and mesh do not go together; leave out one of them")


DEFAULT_EXECUTION = Execution()
"""Whole images at once, in their own precision."""


class BoundExtractor(NamedTuple):
    """An extractor with its parameters, and how it is executed."""

    extractor: Extractor
    params: ExtractorParams
    execution: Execution

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raise a ValueError that names each of ``layers`` that there is not."""
        known = self.extractor.layers(self.params)
        unknown = [layer for layer in dict.fromkeys(layers) if layer not in known]
        if unknown:
            raise ValueError(
                f"no layer {', '.join(unknown)} in this network; "
                f"it has {', '.join(known)}"
            )

    def blocks(self) -> Sequence[Block]:
        """Divide the network into blocks, in the precision of the execution."""
        return self.extractor.blocks(self.params, dtype=self.execution.precision)

    def place(self, images: Images) -> Images:
        """Check images and shard their rows if there is a mesh, appending zeros."""
        mesh = self.execution.mesh
        stride = max(map(self.extractor.stride, self.extractor.layers(self.params)))
        check_images(images, smallest=stride)
        if mesh is None:
            return images
        return pad_and_shard_rows(images, mesh, stride=stride)

    def features(self, images: Images) -> Features:
        """Compute the features of all layers, of whole images."""
        x, features = self.place(images), Features()
        for block in self.blocks():
            x, found = block(self.params, x, images.shape[-3])
            features |= found
        return features

    def shapes(self, images: Images) -> dict[str, jax.ShapeDtypeStruct]:
        """Find out the shapes and dtypes of the features of whole images."""

        def features(params: ExtractorParams, images: Images) -> Features:
            return self._replace(params=params).features(images)

        return dict(jax.eval_shape(features, self.params, images))

    def cover(self, images: Images, layers: Collection[str]) -> Window:
        """Cover images by tiles in which all positions of these layers are right."""
        assert self.execution.tile is not None
        reaches = {x: self.extractor.reach(self.params, x) for x in layers}
        if unlimited := [layer for layer, reach in reaches.items() if reach is None]:
            raise ValueError(
                f"tiles need features of limited reach, and {', '.join(unlimited)} "
                "depends on the whole image; leave out the tile"
            )
        height, width = images.shape[-3:-1]
        return cover_image(
            (height, width),
            largest=self.execution.tile,
            margin=max((reach or 0 for reach in reaches.values()), default=0),
            stride=max(map(self.extractor.stride, layers), default=1),
        )
