"""Stylization in one pass: features of a photo are given a painting's distribution.

The picture is encoded to one of four levels, relu1_1 to relu4_1, the optimal transport
between normal distributions moves its features to the painting's mean and covariance,
and decoders lead back to pixels, from where the next level goes on::

    F = E_k(x)
    x <- clip(x + D_k(T_k(F)) - D_k(F))

with the encoder E_k, the decoder D_k from level k to pixels, and the map T_k with its
strength. What is decoded is the *change*: whatever a decoder cannot tell is kept from
the picture before, and with a strength of zero nothing changes at all.

Source: Li et al. (2017), "Universal style transfer via feature transforms", who whiten
and color, and decode features instead of changes. The map is that of Mroueh (2019),
"Wasserstein style transfer", and Lu et al. (2019), "A closed-form solution to universal
style transfer". To decode differences is not in these papers. Li et al. go down from
relu5_1; here relu3_1 comes first, then relu4_1, relu2_1 and relu1_1. The picture is
then nearer to the painting with less change of the photo, and relu5_1, which costs as
much as all others together, distorts faces.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image, Images, check_image, check_images
from jaxstyle.kernels.borders import Sizes, inside, reflect
from jaxstyle.kernels.gaussians import Gaussian, join_gaussians, transport_map
from jaxstyle.losses.targets import pool_masks
from jaxstyle.scaling.windows import (
    Window,
    cover_image,
    cover_rows,
    join_windows,
    map_windows,
)
from jaxstyle.transport.decoder import Maps, block_reach, decode
from jaxstyle.transport.encoder import (
    LEVELS,
    ORDER,
    SMALLEST_SIDE,
    encode,
    level_stride,
)
from jaxstyle.transport.paintings import (
    Painting,
    check_mask,
    check_target,
    check_transport,
    fit_level,
    with_noise,
)
from jaxstyle.vgg.network import VGG, VGGParams


class Region(NamedTuple):
    """A part of images that is painted like a painting of its own.

    Attributes:
        painting: from `jaxstyle.transport.describe`, or what `hold` makes of it.
        mask: the part, ``[h, w]`` in [0, 1]. Those of all regions should nowhere add
            up to more than 1.
    """

    painting: "Painting | Mapping[str, Move]"
    mask: Float[Array, "h w"]


class Move(NamedTuple):
    """How features of one distribution move to have another: ``(x - b) A + a``.

    Attributes:
        linear: A, ``[*n, c, c]``.
        before: b, the mean before, ``[*n, c]``.
        after: a, the mean after, ``[*n, c]``.
    """

    linear: Float[Array, "*n c c"]
    before: Float[Array, "*n c"]
    after: Float[Array, "*n c"]


Target: TypeAlias = Painting | Mapping[str, Move] | Sequence[Region]
"""What images are painted like: a painting, or several in regions; from `hold`, held
moves towards them."""

_Mask: TypeAlias = Float[Array, "*n h w"] | None
"""How much each position counts; ``None`` if all count the same."""


def stylize(
    params: Mapping[str, Any],
    images: Images,
    target: Target,
    *,
    strength: ArrayLike = 1.0,
) -> Images:
    """Paint images like a painting, or like several in regions, in one pass.

    Pure, under `jax.jit`, `jax.vmap` over images and paintings, and `jax.grad`. Not
    jitted: jit what calls it. Distributions are those of each image alone. Convolutions
    are in the precision of the images, distributions and maps in float32 or better.

    The features of a region are moved from their own distribution to that of its
    painting. A mask is averaged over the pixels of each position of a level, and
    movements are added with it as a weight: soft edges stay soft, and where no mask
    covers an image, it stays as it is.

    Source: the module's; for regions, the guidance channels of Gatys et al. (2017),
    "Controlling perceptual factors in neural style transfer", there for optimization.

    Args:
        params: from `jaxstyle.load_transport`.
        images: RGB in [0, 1], ``[*n, h, w, 3]``, of 16x16 pixels or more.
        target: from `jaxstyle.transport.describe`, for all images, or with leading
            axes that broadcast against theirs; or regions.
        strength: how far features are moved, from 0, the photo, to 1: one number, or
            four, from relu1_1 to relu4_1.

    Returns:
        Images of the same shape and precision, not clipped.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: a shape is wrong, or an image is too small.

    Examples:
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> stylize = jax.jit(jaxstyle.transport.stylize)
        >>> stylize(transport, photo, target).shape
        (16, 16, 3)
        >>> same = stylize(transport, photo, target, strength=0)
        >>> jnp.allclose(same, photo, atol=1e-5)
        Array(True, dtype=bool)

        Only the left half:

        >>> left = jnp.zeros((16, 16)).at[:, :8].set(1)
        >>> stylize(transport, photo, [jaxstyle.transport.Region(target, left)]).shape
        (16, 16, 3)
    """
    check_images(images, smallest=SMALLEST_SIDE)
    x = images
    for level in _levels(params, images, target, strength):
        x = jnp.clip(x, 0, 1)
        features = level.encode(x)
        moves = level.fit(level.measure(features, level.masks))
        x = level.paint(x, features, moves, level.masks)
    return x


def hold(
    params: Mapping[str, Any],
    images: Float[Array, "n h w 3"],
    target: Target,
    *,
    strength: ArrayLike = 1.0,
) -> Target:
    """Fit the moves of features to all images together, and hold them.

    `stylize` towards what this returns is one fixed function of an image: where nothing
    changes from one frame of a film to the next, nothing changes in the picture. With
    one image it paints that image as towards the target itself. Images go through the
    levels one after the other, so that their number needs no memory.

    Args:
        params: from `jaxstyle.load_transport`.
        images: RGB in [0, 1], ``[n, h, w, 3]``, such as some frames of a shot.
        target: from `jaxstyle.transport.describe`, without leading axes, or regions.
        strength: as in `stylize`, to which the same must be given.

    Returns:
        A target for `stylize`, `stylize_tiled` and `stylize_sharded`.

    Raises:
        TypeError: the images are not floating-point.
        ValueError: a shape is wrong, or an image is too small.

    Examples:
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> frames = jnp.stack([photo, photo[::-1]])
        >>> held = jax.jit(jaxstyle.transport.hold)(transport, frames, target)
        >>> jaxstyle.transport.stylize(transport, frames, held).shape
        (2, 16, 16, 3)
    """
    check_images(images, smallest=SMALLEST_SIDE)
    if images.ndim != 4:
        raise ValueError(f"expected a batch of images [n, h, w, 3], got {images.shape}")
    x = images
    held: dict[str, Sequence[Move]] = {}
    for level in _levels(params, images, target, strength):
        x = jnp.clip(x, 0, 1)
        held[LEVELS[level.number - 1]] = moves = level.fit_all(x)
        x = lax.map(level._replace(targets=moves).paint_alone, x)
    if isinstance(target, Mapping):
        return {layer: moves[0] for layer, moves in held.items()}
    return [
        Region({layer: moves[index] for layer, moves in held.items()}, region.mask)
        for index, region in enumerate(target)
    ]


def stylize_padded(
    params: Mapping[str, Any],
    images: Float[Array, "n h w 3"],
    target: Painting,
    sizes: Sizes,
    *,
    strength: ArrayLike = 1.0,
) -> Float[Array, "n h w 3"]:
    """Stylize images that fill the upper left of their arrays, as `stylize` does.

    The sides of arrays are multiples of 8; ``sizes`` are the true heights and widths.
    What lies beyond does not matter, and means nothing in the result.
    """
    x = images
    for level in _levels(params, images, target, strength):
        level = level._replace(sizes=sizes)
        x = jnp.clip(reflect(x, sizes), 0, 1)
        features = level.encode(x)
        counted = inside(features, sizes // level_stride(level.number))
        moves = level.fit(level.measure(features, [counted.astype(jnp.float32)]))
        x = level.paint(x, features, moves, level.masks)
    return x


# --- levels -------------------------------------------------------------------------


class _Level(NamedTuple):
    """What is done at a level; masks are those of the level's resolution.

    Targets are all distributions, or all moves that are held.
    """

    number: int
    params: Mapping[str, Any]
    targets: Sequence[Gaussian | Move]
    masks: Sequence[_Mask]
    strength: Float[Array, ""]
    sizes: Sizes | None = None

    def encode(self, x: Images) -> Maps:
        """Compute the features of images."""
        encoder = self.params["encoder"]
        features = encode(encoder, x, deepest=self.number, sizes=self.sizes)
        return features[LEVELS[self.number - 1]]

    def cut_masks(self, window: Window) -> list[_Mask]:
        """Cut the window's part out of the masks."""
        step = level_stride(self.number)
        return [
            None if mask is None else window.cut(mask, stride=step, axis=-2)
            for mask in self.masks
        ]

    @property
    def is_held(self) -> bool:
        """Whether no distribution is needed."""
        return all(isinstance(target, Move) for target in self.targets)

    def measure(self, x: Maps, masks: Sequence[_Mask]) -> list[Gaussian]:
        """Compute the distribution of features in each region, if it is needed."""
        return [] if self.is_held else [fit_level(x, mask) for mask in masks]

    def fit(self, sources: Sequence[Gaussian]) -> list[Move]:
        """Compute the moves from distributions to those of the paintings."""
        held = [target for target in self.targets if isinstance(target, Move)]
        goals = [target for target in self.targets if isinstance(target, Gaussian)]
        return held or list(map(_fit_move, sources, goals))

    def fit_all(self, images: Float[Array, "n h w 3"]) -> list[Move]:
        """Compute the moves from the distributions of all images together."""
        parts = lax.map(lambda x: self.measure(self.encode(x), self.masks), images)
        counts = jnp.ones(len(images))
        return self.fit([join_gaussians(each, counts) for each in parts])

    def move(self, x: Maps, moves: Sequence[Move], masks: Sequence[_Mask]) -> Maps:
        """Move features."""
        changes = [
            change if mask is None else mask[..., None] * change
            for mask, change in zip(masks, map(_changer(x), moves), strict=True)
        ]
        return (x + self.strength * reduce(jnp.add, changes)).astype(x.dtype)

    def paint_alone(self, x: Images) -> Images:
        """Do to images all that is done at a level whose moves are held."""
        return self.paint(x, self.encode(x), self.fit([]), self.masks)

    def paint(
        self,
        x: Images,
        features: Maps,
        moves: Sequence[Move],
        masks: Sequence[_Mask],
    ) -> Images:
        """Add to images what the decoder makes of the change of their features."""
        moved, size = self.move(features, moves, masks), x.shape[-3:-1]

        def decode_level(features: Maps) -> Images:
            decoder = self.params["decoder"]
            return decode(
                decoder, features, level=self.number, size=size, sizes=self.sizes
            )

        # One after the other, by one program: less to compile, and less memory.
        new, old = lax.map(decode_level, jnp.stack([moved, features]))
        return x + new - old


def _fit_move(source: Gaussian, target: Gaussian) -> Move:
    source, target = with_noise(source), with_noise(target)
    linear = transport_map(source.covariance, target.covariance)
    return Move(linear, source.mean, target.mean)


def _changer(x: Maps) -> Callable[[Move], Maps]:
    """Compute by how much a move changes features."""

    def change(move: Move) -> Maps:
        centered = x - move.before[..., None, None, :]
        moved = jnp.einsum(
            "...hwi,...ij->...hwj", centered, move.linear, precision="highest"
        )
        return moved + move.after[..., None, None, :] - x

    return change


def _levels(
    params: Mapping[str, Any], images: Images, target: Target, strength: ArrayLike
) -> Iterator[_Level]:
    """Yield the levels in their order."""
    regions: Sequence[tuple[Painting | Mapping[str, Move], _Mask]]
    check_target(target)
    regions = [(target, None)] if isinstance(target, Mapping) else list(target)
    check_transport(params)
    for _, mask in regions:
        if mask is not None:
            check_mask(mask, images)
    strengths = jnp.broadcast_to(jnp.asarray(strength, jnp.float32), len(LEVELS))
    for number in ORDER:
        layer = LEVELS[number - 1]
        yield _Level(
            number,
            params,
            [painting[layer] for painting, _ in regions],
            [
                None if mask is None else pool_masks(mask, level_stride(number))
                for _, mask in regions
            ],
            strengths[number - 1],
        )


# --- windows ------------------------------------------------------------------------


def stylize_tiled(
    params: Mapping[str, Any],
    image: Image,
    target: Target,
    *,
    tile: int,
    strength: ArrayLike = 1.0,
) -> Image:
    """Stylize as `stylize` does, except for rounding, in little memory.

    For each level, windows of the image are encoded once for its distribution, which is
    known only when all have been seen, and once more to be painted.

    Args:
        params: from `jaxstyle.load_transport`.
        image: RGB in [0, 1], ``[h, w, 3]``, of 16x16 pixels or more.
        target: from `jaxstyle.transport.describe`, or regions.
        tile: the longest side of a window, in pixels.
        strength: as in `stylize`.

    Returns:
        The image, not clipped.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: the shape is wrong, or the image or the tile is too small.

    Examples:
        >>> large = jnp.tile(photo, (18, 2, 1))
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> run = jax.jit(jaxstyle.transport.stylize_tiled, static_argnames="tile")
        >>> run(transport, large, target, tile=176).shape
        (288, 32, 3)
    """
    cover = partial(cover_image, largest=tile)
    return _stylize_windows(params, image, target, strength, cover=cover, mesh=None)


def stylize_sharded(
    params: Mapping[str, Any],
    image: Image,
    target: Target,
    *,
    mesh: Mesh,
    strength: ArrayLike = 1.0,
) -> Image:
    """Stylize as `stylize` does, except for rounding, with rows shared by devices.

    Each device computes the features of a band of rows, twice as in `stylize_tiled`,
    and has all pixels of the image.

    Args:
        params: from `jaxstyle.load_transport`.
        image: RGB in [0, 1], ``[h, w, 3]``, of 16x16 pixels or more.
        target: from `jaxstyle.transport.describe`, or regions.
        mesh: from `jaxstyle.scaling.make_row_mesh`.
        strength: as in `stylize`.

    Returns:
        The image, not clipped.

    Raises:
        TypeError: the image is not floating-point.
        ValueError: the shape is wrong, or the image is too small.

    Examples:
        >>> mesh = jaxstyle.scaling.make_row_mesh()
        >>> target = jaxstyle.transport.describe(transport, painting)
        >>> run = jax.jit(jaxstyle.transport.stylize_sharded, static_argnames="mesh")
        >>> jax.eval_shape(run, transport, photo, target, mesh=mesh).shape
        (16, 16, 3)
    """
    cover = partial(cover_rows, count=mesh.size)
    return _stylize_windows(params, image, target, strength, cover=cover, mesh=mesh)


def _stylize_windows(
    params: Mapping[str, Any],
    image: Image,
    target: Target,
    strength: ArrayLike,
    *,
    cover: Callable[..., Window],
    mesh: Mesh | None,
) -> Image:
    check_image(image, smallest=SMALLEST_SIDE)
    x, (height, width, _) = image, image.shape
    for level in _levels(params, image, target, strength):
        windows = cover(
            (height, width),
            margin=_reach(params["encoder"], level.number),
            stride=level_stride(level.number),
        )
        x = _paint_windows(level, jnp.clip(x, 0, 1), windows, mesh)
    return x


def _reach(encoder: VGGParams, level: int) -> int:
    """Count the pixels around its own that a painted pixel depends on."""
    below = map(block_reach, range(1, level + 1))
    return VGG().reach(encoder, LEVELS[level - 1]) + sum(below)


def _paint_windows(
    level: _Level, x: Image, windows: Window, mesh: Mesh | None
) -> Image:
    stride = level_stride(level.number)

    def measure(window: Window, x: Image) -> list[tuple[Array, Gaussian]]:
        counts = window.owned(stride).astype(jnp.float32)
        masks = [
            counts if mask is None else counts * mask
            for mask in level.cut_masks(window)
        ]
        found = level.measure(level.encode(window.cut(x)), masks)
        return list(zip([mask.sum() for mask in masks], found, strict=True))

    parts = [] if level.is_held else map_windows(measure, windows, x, mesh=mesh)
    moves = level.fit([join_gaussians(found, counts) for counts, found in parts])

    def paint(window: Window, x: Image, moves: Sequence[Move]) -> tuple[Image, None]:
        pixels, masks = window.cut(x), level.cut_masks(window)
        return level.paint(pixels, level.encode(pixels), moves, masks), None

    height, width, _ = x.shape
    size = height, width
    return join_windows(paint, windows, x, moves, size=size, stride=1, mesh=mesh)[0]
