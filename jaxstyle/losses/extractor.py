"""What the loss needs of a network to compare features of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images, check_images
from jaxstyle.scaling.sharding import pad_and_shard_rows

ExtractorParams: TypeAlias = Mapping[str, Any]
"""A tree of arrays."""

Features: TypeAlias = dict[str, Float[Array, "*n _h _w _c"]]
"""Activations by layer."""

Block: TypeAlias = Callable[[ExtractorParams, Array, int], tuple[Array, Features]]
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
        the rows of features below must be zero, and have no effect on others.

        Args:
            params: the network's parameters; only their structure matters here.
            dtype: the precision to compute in; that of the images by default.
        """


def check_layers(
    extractor: Extractor, params: ExtractorParams, layers: Iterable[str]
) -> None:
    """Raise a ValueError that names each of ``layers`` that an extractor lacks."""
    known = extractor.layers(params)
    unknown = [layer for layer in dict.fromkeys(layers) if layer not in known]
    if unknown:
        raise ValueError(
            f"no layer {', '.join(unknown)} in this network; it has {', '.join(known)}"
        )


def compute_features(
    extractor: Extractor,
    params: ExtractorParams,
    images: Images,
    *,
    mesh: Mesh | None,
    dtype: DTypeLike | None,
) -> Features:
    """Compute the features of all layers, of whole images."""
    x, features = place_images(extractor, params, images, mesh), Features()
    for block in extractor.blocks(params, dtype=dtype):
        x, found = block(params, x, images.shape[-3])
        features |= found
    return features


def place_images(
    extractor: Extractor, params: ExtractorParams, images: Images, mesh: Mesh | None
) -> Images:
    """Check images, and let the devices of a mesh share their rows if there is one.

    Rows of zeros are then appended as needed.
    """
    stride = max(map(extractor.stride, extractor.layers(params)))
    check_images(images, smallest=stride)
    return images if mesh is None else pad_and_shard_rows(images, mesh, stride=stride)
