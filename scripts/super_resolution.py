"""Photos four times as large, by a net that the perceptual loss has trained.

An example of a network of one's own in the training loop of `jaxstyle.training`: net,
loss and data are this program's. It is the other half of Johnson et al.
(2016), "Perceptual losses for real-time style transfer and super-resolution", section
4.2: a residual net learns to undo a blur of sigma 1 and a bicubic reduction to a
quarter, by the squared distance of features in relu2_2, or by that of pixels.

It is made for a training of minutes, not days. Differences from the paper:

* The net adds to the bicubic enlargement, and at first adds nothing. The paper's
  paints all of the picture, and histogram matching then gives it the right colors.
* Repetition before convolutions (Odena et al., 2016) instead of transposed ones, 3x3
  kernels instead of 9x9, and no batch norm (Lim et al., 2017).
* VGG-16 pools by averages in training, and its mean activations are 1, which scales the
  loss.
* The reduction is that of `jax.image.resize`, which is antialiased, with a = -0.5.
* The step size falls to zero along a cosine. The paper keeps 1e-3.

The paper's nets paint a fine grid where they have learned by features. So did this one,
coarsely, with sub-pixel convolutions (Shi et al., 2016) and VGG's own maxima, whose
gradient reaches but one of four positions: after 1,600 steps periods of 2 and 4 pixels
rose 19 and 25 dB above their surroundings. As it is they rise 7 and 2 dB after 1,200,
and a faint weave can still be seen.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import jaxstyle

FACTOR = 4
"""How many times as large the net makes an image."""

LAYER = "relu2_2"
"""The layer whose features are compared in training."""

Params: TypeAlias = Mapping[str, Any]
Images: TypeAlias = Float[Array, "n h w 3"]
Small: TypeAlias = Float[Array, "n h/4 w/4 3"]
Losses: TypeAlias = Float[Array, " n"]


# --- images -------------------------------------------------------------------------


def shrink(images: Images) -> Small:
    """Blur images, and make them a quarter as large: what the net is to undo.

    Height and width must be multiples of `FACTOR`.
    """
    n, height, width, _ = images.shape
    margins = ((0, 0), (4, 4), (4, 4), (0, 0))
    blurred = blur(jnp.pad(images, margins, "symmetric"), sigma=1.0, reach=4)
    size = (n, height // FACTOR, width // FACTOR, 3)
    small: Small = jax.image.resize(blurred, size, "cubic")
    return small


def enlarge(small: Small) -> Images:
    """Make images four times as large by bicubic interpolation."""
    n, height, width, _ = small.shape
    size = (n, FACTOR * height, FACTOR * width, 3)
    images: Images = jax.image.resize(small, size, "cubic")
    return images


def blur(
    images: Float[Array, "n h w c"], *, sigma: float, reach: int
) -> Float[Array, "n h-2*reach w-2*reach c"]:
    """Average pixels under a Gaussian of 2 reach + 1 pixels a side, where it fits."""
    rows, columns = (
        _averages(size, sigma=sigma, reach=reach) for size in images.shape[1:3]
    )
    return jnp.einsum("yh,xw,nhwc->nyxc", rows, columns, images, precision="highest")


def _averages(size: int, *, sigma: float, reach: int) -> Float[Array, "h-2*reach h"]:
    """Return the weights of a Gaussian around each place where it fits."""
    distance = jnp.arange(size) - jnp.arange(reach, size - reach)[:, None]
    bell = jnp.exp(-0.5 * jnp.square(distance / sigma))
    bell = jnp.where(jnp.abs(distance) <= reach, bell, 0)
    return bell / bell.sum(1, keepdims=True)


# --- the net ------------------------------------------------------------------------


class SuperResolutionNet(nn.Module):
    """A residual net for the small image, then convolutions that enlarge."""

    width: int = 64
    blocks: int = 4

    @nn.compact
    def __call__(self, small: Small) -> Images:
        """Return images four times as large; they are not clipped."""
        x = nn.relu(nn.Conv(self.width, (3, 3))(small - 0.5))
        for _ in range(self.blocks):
            y = nn.relu(nn.Conv(self.width, (3, 3))(x))
            x = x + nn.Conv(self.width, (3, 3))(y)
        for width in (self.width // 2, self.width // 4):
            x = nn.relu(nn.Conv(width, (3, 3))(double(x)))
        detail = nn.Conv(3, (3, 3), kernel_init=nn.initializers.zeros)(x)
        return enlarge(small) + detail


def double(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Repeat every position in a block of 2x2."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


# --- losses -------------------------------------------------------------------------


def feature_loss(
    vgg: Params,
    images: Images,
    originals: Images,
    *,
    layer: str = LAYER,
    pooling: str = "average",
) -> Losses:
    """Return the mean squared difference between features of a layer."""
    vgg = jaxstyle.vgg.truncate(vgg, [layer])  # what is deeper would be traced in vain
    weights = jaxstyle.Weights(content={layer: 1.0}, style={})
    objective = jaxstyle.losses.Objective(extractor=jaxstyle.vgg.VGG(pooling=pooling))
    targets = jaxstyle.losses.make_targets(
        vgg, originals, [], weights, objective=objective
    )
    return jaxstyle.losses.perceptual_loss(vgg, images, targets, weights)[0]


def pixel_loss(_: Params, images: Images, originals: Images) -> Losses:
    """Return the mean squared difference between pixels."""
    return jnp.square(images - originals).mean((1, 2, 3))


LOSSES: Mapping[str, Callable[[Params, Images, Images], Losses]] = {
    "pixel": pixel_loss,
    "perceptual": feature_loss,
}
"""The losses by name."""


# --- training -----------------------------------------------------------------------


def init_params(key: Array, net: nn.Module) -> Params:
    """Draw the parameters of a net."""
    params: Params = jax.jit(net.init)(key, jnp.zeros((1, 8, 8, 3)))["params"]
    return params


def make_step(
    net: nn.Module, optimizer: optax.GradientTransformation, *, loss: str
) -> jaxstyle.training.Step:
    """Make the step ``step(state, photos, vgg) -> (state, metrics)`` of a training.

    Args:
        net: makes images four times as large.
        optimizer: any optax transformation.
        loss: a key of `LOSSES`.
    """

    def apply(params: Params, originals: Images) -> tuple[Images, Params]:
        images: Any = net.apply({"params": params}, shrink(originals))
        return images, params

    def measure(
        images: Images, originals: Images, vgg: Params
    ) -> dict[str, Float[Array, ""]]:
        return {"loss": LOSSES[loss](vgg, images, originals).mean()}

    return jaxstyle.training.make_step(optimizer, apply=apply, measure=measure)
