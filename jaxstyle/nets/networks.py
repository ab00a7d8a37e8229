"""The kinds of networks that ``jaxstyle stylize`` runs, by name.

A style file names its network in its metadata, under ``net``; without a name it is a
transform net. A network of your own needs one entry in `NETWORKS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxstyle.images.arrays import Image, Images
from jaxstyle.nets.padded import stylize_padded, stylize_sharded
from jaxstyle.nets.tiled import stylize_tiled
from jaxstyle.nets.transform_net import SMALLEST_SIDE, hold, stylize
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
            ``padded(params, images, sizes)``, with the true heights and widths. The
            sides of arrays are multiples of 64.
        sharded: the same on several devices, like `jaxstyle.nets.stylize_sharded`.
        tiled: the same in little memory, like `jaxstyle.nets.stylize_tiled`.
        hold: ``hold(params, images) -> params``, with the statistics of these images
            held, like `jaxstyle.nets.hold`; without it, a net has none.

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
    hold: Callable[[Any, Images], Any] | None = None

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
        hold=hold,
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
