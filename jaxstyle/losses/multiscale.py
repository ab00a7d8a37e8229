"""Features of an image at several sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Images
from jaxstyle.losses.extractor import Block, Extractor, ExtractorParams, Features

_Carry: TypeAlias = tuple[Images, Array]
"""An image at the last size, and where its extractor stands."""


@dataclass(frozen=True)
class Multiscale:
    """An extractor of an image, of the image at half its size, and so on.

    Halving averages squares of 2x2 pixels, so that fine texture is gone from smaller
    sizes, and the style there is that of large strokes and areas. A last row or column
    without a neighbor is left out.

    Attributes:
        extractor: what computes the features at each size.
        scales: the number of sizes. The layers of the second are called
            ``relu1_1@2``, those of the third ``relu1_1@4``, after their reduction.

    Examples:
        >>> extractor = jaxstyle.losses.Multiscale(jaxstyle.vgg.VGG(), scales=2)
        >>> extractor.layers(vgg)[-2:], extractor.stride("relu2_1@2")
        (('relu1_2@2', 'relu2_1@2'), 4)
    """

    extractor: Extractor
    scales: int

    def layers(self, params: ExtractorParams) -> tuple[str, ...]:
        """Name the layers, those of the image at its own size first."""
        names = self.extractor.layers(params)
        return tuple(at_scale(x, scale) for scale in range(self.scales) for x in names)

    def stride(self, layer: str) -> int:
        """Count the pixels from one position of a layer to the next."""
        name, reduction = _split(layer)
        return reduction * self.extractor.stride(name)

    def reach(self, params: ExtractorParams, layer: str) -> int | None:
        """Count the pixels around its own that a position depends on, at most."""
        name, reduction = _split(layer)
        reach = self.extractor.reach(params, name)
        return None if reach is None else reduction * reach

    def blocks(
        self, params: ExtractorParams, *, dtype: DTypeLike | None = None
    ) -> Sequence[Block]:
        """Divide the network into blocks, size by size."""
        first, *others = self.extractor.blocks(params, dtype=dtype)
        blocks: list[Block] = []
        for scale in range(self.scales):
            blocks.append(partial(_start, first, scale))
            blocks.extend(partial(_go_on, block, scale) for block in others)
        return blocks


def at_scale(layer: str, scale: int) -> str:
    """Name a layer of an image that was halved ``scale`` times."""
    return f"{layer}@{2**scale}" if scale else layer


def halve(images: Images) -> Images:
    """Average squares of 2x2 pixels; a last row or column without a neighbor is cut."""
    *n, h, w, c = images.shape
    even: Float[Array, "*n h w c"] = images[..., : h // 2 * 2, : w // 2 * 2, :]
    return even.reshape(*n, h // 2, 2, w // 2, 2, c).mean((-4, -2))


def _split(layer: str) -> tuple[str, int]:
    name, _, reduction = layer.partition("@")
    return name, int(reduction or 1)


def _start(
    block: Block, scale: int, params: ExtractorParams, x: Any, rows: int
) -> tuple[_Carry, Features]:
    """Apply the first block to images, or to what the last size left, halved."""
    images = x if scale == 0 else halve(x[0])
    return _apply(block, scale, params, images, images, rows)


def _go_on(
    block: Block, scale: int, params: ExtractorParams, x: _Carry, rows: int
) -> tuple[_Carry, Features]:
    return _apply(block, scale, params, *x, rows)


def _apply(
    block: Block,
    scale: int,
    params: ExtractorParams,
    images: Images,
    x: Array,
    rows: int,
) -> tuple[_Carry, Features]:
    x, found = block(params, x, rows // 2**scale)
    named = {at_scale(layer, scale): y for layer, y in found.items()}
    return (images, x), named
