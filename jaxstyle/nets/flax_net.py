"""The transform net as a Flax module, apart from what needs no Flax."""

from typing import Any

import flax.linen as nn

from jaxstyle.images.arrays import Images
from jaxstyle.nets.net_layers import layer_shapes, make_layers
from jaxstyle.nets.transform_net import (
    count_taps,
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
        upsampling: ``"nearest"`` or ``"bilinear"``.
        noise: the number of channels of noise beside the image.

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
    upsampling: str = "nearest"
    noise: int = 0

    @nn.compact
    def __call__(self, images: Images) -> Images:
        """Stylize images, ``[*n, h, w, 3]`` in [0, 1], as `jaxstyle.stylize` does."""
        constants = init_constants(self.negative_slope, self.upsampling, self.noise)
        layers = make_layers(
            width=self.width,
            norm=self.norm,
            blocks=self.blocks,
            taps=count_taps(constants),
        )
        params: dict[str, Any] = {
            name: self.param(name, draw_layers, shapes)
            for name, shapes in layer_shapes(layers, 3 + self.noise).items()
        }
        for name, value in constants.items():
            params[name] = self.param(name, lambda _, value: value, value)
        return stylize(params, images)
