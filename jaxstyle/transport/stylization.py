"""Stylization in one pass: features of a photo are given a painting's distribution.

At each level, from relu5_1 to relu1_1, the optimal transport between normal
distributions moves the photo's features to the painting's mean and covariance. Decoders
lead from one level to the next::

    f5 = F5
    g_k = T_k(f_k)                                     the map, with its strength
    f_{k-1} = relu(F_{k-1} + D_k(g_k) - D_k(F_k))      pixels at the end

with the photo's features F_k and the decoder's blocks D_k. What is decoded is the
*change*: whatever a decoder cannot tell is that of the photo, and with a strength of
zero nothing changes at all.

Source: Li et al. (2017), "Universal style transfer via feature transforms", who whiten
and color, and decode and encode again at each level; with one encoding, Chiu & Gurari
(2022), "PhotoWCT2". The map is that of Mroueh (2019), "Wasserstein style transfer", and
Lu et al. (2019), "A closed-form solution to universal style transfer". To decode
differences is not in these papers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax, nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image, Images, check_image, check_images
from jaxstyle.kernels.gaussians import Gaussian, join_gaussians, transport_map
from jaxstyle.losses.targets import pool_masks
from jaxstyle.scaling.windows import Window, cover_image, join_windows
from jaxstyle.transport.decoder import Maps, block_reach, decode_block
from jaxstyle.transport.encoder import LEVELS, SMALLEST_SIDE, encode, level_stride
from jaxstyle.transport.paintings import (
    Painting,
    check_mask,
    fit_level,
    with_noise,
)
from jaxstyle.vgg.network import VGG

LOWEST_KEPT = 3
"""The lowest level whose features are kept whole if the others come in tiles."""


class Region(NamedTuple):
    """A part of images that is painted like a painting of its own.

    Attributes:
        painting: from `jaxstyle.transport.describe`.
        mask: the part, ``[h, w]`` in [0, 1]. Those of all regions should nowhere add
            up to more than 1.
    """

    painting: Painting
    mask: Float[Array, "h w"]


Target: TypeAlias = Painting | Sequence[Region]
"""What images are painted like: a painting, or several in regions."""

_Mask: TypeAlias = Float[Array, "h w"] | None
"""How much each position counts; ``None`` if all count the same."""


def stylize(
    params: Mapping[str, Any],
    images: Images,
    target: Target,
    *,
    strength: ArrayLike = 1.0,
) -> Images:
    """Paint images like a painting, or like several in regions, in one pass.

    Pure, under `jax.jit`, `jax.vmap` over images and paintings, and `jax.grad`.
    Distributions are those of each image alone. Convolutions are in the precision of
    the images, distributions and maps in float32 or better.

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
            five, from relu1_1 to relu5_1.

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
    maps = [images, *encode(params["encoder"], images).values()]
    x = maps[-1]
    for level in _levels(params, images, target, strength):
        masks = level.masks
        moved = level.move(x, level.measure(x, masks), masks)
        x = level.decode(moved, maps)
    return x


# --- levels -------------------------------------------------------------------------


class _Level(NamedTuple):
    """What is done at a level; masks are those of the level's resolution."""

    number: int
    decoder: Mapping[str, Any]
    targets: Sequence[Gaussian]
    masks: Sequence[_Mask]
    strength: Float[Array, ""]

    def cut_masks(self, window: Window) -> list[_Mask]:
        """Cut the window's part out of the masks."""
        step = level_stride(self.number)
        return [
            None if mask is None else window.cut(mask, stride=step, axis=-2)
            for mask in self.masks
        ]

    def measure(self, x: Maps, masks: Sequence[_Mask]) -> list[Gaussian]:
        """Compute the distribution of features in each region."""
        return [fit_level(x, mask) for mask in masks]

    def move(
        self, x: Maps, sources: Sequence[Gaussian], masks: Sequence[_Mask]
    ) -> Maps:
        """Move features from distributions to those of the paintings."""
        changes = [
            change if mask is None else mask[..., None] * change
            for mask, change in zip(
                masks, map(_changer(x), sources, self.targets), strict=True
            )
        ]
        return (x + self.strength * reduce(jnp.add, changes)).astype(x.dtype)

    def decode(self, moved: Maps, maps: Sequence[Maps]) -> Maps:
        """Add to the photo's features below what the decoder makes of the change."""
        below = maps[self.number - 1]
        size = below.shape[-3:-1]

        def decode(features: Maps) -> Maps:
            return decode_block(self.decoder, features, level=self.number, size=size)

        # One after the other, by one program: less to compile, and less memory.
        new, old = lax.map(decode, jnp.stack([moved, maps[self.number]]))
        changed = below + new - old
        return changed if self.number == 1 else nn.relu(changed)


def _changer(x: Maps) -> Callable[[Gaussian, Gaussian], Maps]:
    """Compute by how much features of one distribution move to have another."""

    def change(source: Gaussian, target: Gaussian) -> Maps:
        source, target = with_noise(source), with_noise(target)
        linear = transport_map(source.covariance, target.covariance)
        centered = x - source.mean[..., None, None, :]
        moved = jnp.einsum(
            "...hwi,...ij->...hwj", centered, linear, precision="highest"
        )
        return moved + target.mean[..., None, None, :] - x

    return change


def _levels(
    params: Mapping[str, Any], images: Images, target: Target, strength: ArrayLike
) -> Iterator[_Level]:
    """Yield the levels from relu5_1 to relu1_1."""
    regions: Sequence[tuple[Painting, _Mask]]
    regions = [(target, None)] if isinstance(target, Mapping) else list(target)
    for _, mask in regions:
        if mask is not None:
            check_mask(mask, images)
    strengths = jnp.broadcast_to(jnp.asarray(strength, jnp.float32), len(LEVELS))
    for number in range(len(LEVELS), 0, -1):
        layer = LEVELS[number - 1]
        yield _Level(
            number,
            params["decoder"],
            [painting[layer] for painting, _ in regions],
            [
                None if mask is None else pool_masks(mask, level_stride(number))
                for _, mask in regions
            ],
            strengths[number - 1],
        )


# --- tiles --------------------------------------------------------------------------


def stylize_tiled(
    params: Mapping[str, Any],
    image: Image,
    target: Target,
    *,
    tile: int,
    strength: ArrayLike = 1.0,
) -> Image:
    """Stylize as `stylize` does, except for rounding, in little memory.

    Windows of the image are encoded and decoded one after the other, for each level
    anew: its distribution is known only when all have been seen. The only features that
    are kept whole are those of a level or two from relu3_1 on, at a quarter of the
    image's height and width or less.

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
        >>> run(transport, large, target, tile=272).shape
        (288, 32, 3)
    """
    check_image(image, name="the image")
    check_images(image, smallest=SMALLEST_SIDE)
    sweep = _Sweep(params["encoder"], image, tile)
    part: _Part = _highest
    for level in _levels(params, image, target, strength):
        if level.number >= LOWEST_KEPT:
            whole = sweep.store(part, level.number)
            sources = level.measure(whole, level.masks)
            part = _cut(level.move(whole, sources, level.masks), level)
        else:
            part = _then_move(part, sweep.measure(part, level), level)
        part = _then_decode(part, level)
    return sweep.store(part, 0)


_Part: TypeAlias = Callable[[Window, Sequence[Maps]], Maps]
"""Computes features in a window, given what the photo is there, level by level."""


def _highest(_: Window, maps: Sequence[Maps]) -> Maps:
    return maps[-1]


def _cut(whole: Maps, level: _Level) -> _Part:
    return lambda window, _: window.cut(whole, stride=level_stride(level.number))


def _then_move(part: _Part, sources: Sequence[Gaussian], level: _Level) -> _Part:
    def moved(window: Window, maps: Sequence[Maps]) -> Maps:
        masks = level.cut_masks(window)
        return level.move(part(window, maps), sources, masks)

    return moved


def _then_decode(part: _Part, level: _Level) -> _Part:
    return lambda window, maps: level.decode(part(window, maps), maps)


class _Sweep(NamedTuple):
    """All windows of an image, one after the other."""

    encoder: Mapping[str, Any]
    image: Image
    tile: int

    def measure(self, part: _Part, level: _Level) -> list[Gaussian]:
        """Compute the distribution of features in each region."""

        def visit(_: None, window: Window) -> tuple[None, list[tuple[Array, Gaussian]]]:
            x = self.look(part, window)
            counts = window.owned(level_stride(level.number)).astype(jnp.float32)
            masks = [
                counts if mask is None else counts * mask
                for mask in level.cut_masks(window)
            ]
            sums = [mask.sum() for mask in masks]
            return None, list(zip(sums, level.measure(x, masks), strict=True))

        found = lax.scan(visit, None, self.windows(level.number))[1]
        return [join_gaussians(parts, counts) for counts, parts in found]

    def store(self, part: _Part, level: int) -> Maps:
        """Compute the features of a level; level 0 is pixels."""
        windows, (height, width, _) = self.windows(level), self.image.shape

        def visit(window: Window) -> tuple[Array, None]:
            return self.look(part, window), None

        return join_windows(visit, windows, (height, width), level_stride(level))[0]

    def look(self, part: _Part, window: Window) -> Maps:
        """Compute features in a window."""
        pixels = window.cut(self.image)
        return part(window, [pixels, *encode(self.encoder, pixels).values()])

    def windows(self, level: int) -> Window:
        """Cover the image with windows in which the features of a level are right."""
        highest = max(LOWEST_KEPT, min(level + 1, len(LEVELS)))
        margin = VGG().reach(self.encoder, LEVELS[highest - 1])
        margin += sum(map(block_reach, range(level + 1, highest + 1)))
        height, width, _ = self.image.shape
        return cover_image(
            (height, width),
            largest=self.tile,
            margin=margin,
            stride=level_stride(highest),
        )
