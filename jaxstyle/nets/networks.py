"""The transform net as a Flax module, and the networks that ``jaxstyle stylize`` runs.

A style file names its network in its metadata, under ``net``; without a name it is a
transform net. A network of your own needs one entry in `NETWORKS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from jaxstyle.images.arrays import Image, Images
from jaxstyle.nets.net_layers import layer_shapes, make_layers
from jaxstyle.nets.padded import stylize_padded, stylize_sharded
from jaxstyle.nets.tiled import stylize_tiled
from jaxstyle.nets.transform_net import (
    SMALLEST_SIDE,
    draw_layers,
    init_constants,
    stylize,
)


class TransformNet(nn.Module):
    """The net of `jaxstyle.stylize` as a Flax module.

    Its ``params`` are the tree that `jaxstyle.nets.init_net` returns, with other random
    numbers: those of `jaxstyle.load_style` fit, and those trained here can be given to
    `jaxstyle.stylize` and `jaxstyle.save_style`. Batch norm normalizes by its running
    moments, which `jaxstyle.training.make_step` moves.

    Source: that of `jaxstyle.stylize`.

    Attributes:
        width: as in `jaxstyle.nets.init_net`, like those that follow.
        norm: ``"affine"``, ``"instance"`` or ``"batch"``.
        blocks: the number of residual blocks.
        negative_slope: of the leaky ReLU that ends each residual branch.

    Examples:
        >>> model = jaxstyle.nets.TransformNet(width=8)
        >>> variables = model.init(jax.random.key(0), photo)
        >>> model.apply(variables, photo).shape
        (16, 16, 3)
    """

    width: int = 32
    norm: str = "affine"
    blocks: int = 5
    negative_slope: float = 1.0

    @nn.compact
    def __call__(self, images: Images) -> Images:
        """Stylize images, ``[*n, h, w, 3]`` in [0, 1], as `jaxstyle.stylize` does."""
        layers = make_layers(width=self.width, norm=self.norm, blocks=self.blocks)
        params: dict[str, Any] = {
            name: self.param(name, draw_layers, shapes)
            for name, shapes in layer_shapes(layers, 3).items()
        }
        for name, value in init_constants(self.negative_slope).items():
            params[name] = self.param(name, lambda _, value: value, value)
        return stylize(params, images)


# --- networks by name ----------------------------------------------------------------
from jaxstyle.scaling.memory import Strategy

TRANSFORM = "transform"
"""The name of the network of style files that name none."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A kind of network: pure functions of its parameters and of RGB images in [0, 1].

    A network without one of the optional functions is run on whole images, by one
    device, in batches of images of equal size.

    Attributes:
        apply: ``apply(params, images) -> images``, for images ``[n, h, w, 3]`` of any
            size, like `jaxstyle.stylize`.
        smallest_side: the least height and width of images, in pixels.
        padded: the same for images that lie in larger arrays,
            ``padded(params, images, sizes)``, with the true heights and widths.
        sharded: the same on several devices, like `jaxstyle.nets.stylize_sharded`.
        tiled: the same in little memory, like `jaxstyle.nets.stylize_tiled`.

    Examples:
        >>> negative = jaxstyle.nets.Network(apply=lambda params, images: 1 - images)
        >>> negative.tiled is None
        True
    """

    apply: Callable[[Any, Images], Images]
    smallest_side: int = 1
    padded: Callable[..., Images] | None = None
    sharded: Callable[..., Images] | None = None
    tiled: Callable[..., Image] | None = None

    def supports(self, strategy: Strategy) -> bool:
        """Test whether there is a function for a strategy."""
        if strategy.devices > 1:
            return self.sharded is not None
        return strategy.tile is None or self.tiled is not None

    def run(
        self, params: Any, images: Images, sizes: Any, strategy: Strategy
    ) -> Images:
        """Stylize images by a strategy that is supported; only the whole takes several.

        The sizes are those of `padded`, or ``None`` if images fill their arrays.
        """
        if strategy.mesh is not None and self.sharded is not None:
            return self.sharded(params, images[0], mesh=strategy.mesh)[None]
        if strategy.tile is not None and self.tiled is not None:
            return self.tiled(params, images[0], tile=strategy.tile)[None]
        if sizes is not None and self.padded is not None:
            return self.padded(params, images, sizes)
        return self.apply(params, images)


NETWORKS: dict[str, Network] = {
    TRANSFORM: Network(
        apply=stylize,
        smallest_side=SMALLEST_SIDE,
        padded=stylize_padded,
        sharded=stylize_sharded,
        tiled=stylize_tiled,
    )
}
"""The networks by name; add yours before you call ``jaxstyle.cli.main.main``."""


def find_network(metadata: Mapping[str, str]) -> Network:
    """Look up the network that a style file's metadata name, or raise a ValueError."""
    name = metadata.get("net", TRANSFORM)
    if name not in NETWORKS:
        raise ValueError(
            f"no network {name!r}; known are {', '.join(NETWORKS)}; register others in "
            "jaxstyle.nets.NETWORKS"
        )
    return NETWORKS[name]
