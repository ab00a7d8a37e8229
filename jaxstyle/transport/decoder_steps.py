"""Training of the decoder: each block alone, then all of them as one chain.

Both are ``step(state, photos, vgg) -> (state, metrics)``, pure, as elsewhere in the
package. What a step trains is static: some blocks, or the chain from a level on.

Source: Li et al. (2017), "Universal style transfer via feature transforms", and Chiu &
Gurari (2022), "PhotoWCT2". Differences: every block is fitted to VGG's own features,
all blocks at once on one batch; a chain is trained afterwards, by the same losses as in
the papers, from a level that each step draws.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from jaxstyle.transport.decoder import Params, decode, decode_block
from jaxstyle.transport.encoder import LEVELS, encode

Photos: TypeAlias = UInt8[Array, "n h w 3"]

Metrics: TypeAlias = dict[str, Float[Array, ""]]

FEATURE_WEIGHT = 0.01
"""The weight of features in the loss of a chain, beside that of pixels, which is 1."""


class State(NamedTuple):
    """Where the training stands.

    Attributes:
        params: the decoder's.
        moments: the optimizer's own, for each block.
        step: the number of steps so far.
    """

    params: Params
    moments: Mapping[str, Any]
    step: Int[Array, ""]


class Schedule(NamedTuple):
    """How large steps are: a cosine, with a linear start.

    Attributes:
        steps: how many there are in all.
        first: the learning rate at the start of the cosine.
        last: that at its end.
        warmup: the steps of the linear start.
    """

    steps: int
    first: float = 5e-4
    last: float = 1e-5
    warmup: int = 100

    def learning_rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Return the learning rate of a step."""
        wave = (1 + jnp.cos(jnp.pi * step / self.steps)) / 2
        start = jnp.minimum(1, (step + 1) / self.warmup)
        return start * (self.last + (self.first - self.last) * wave)


OPTIMIZER = optax.scale_by_adam()
"""Of each block, which may rest while others are trained."""


def init_state(params: Params) -> State:
    """Return the state before the first step of a decoder."""
    moments = {block: OPTIMIZER.init(own) for block, own in params.items()}
    return State(params, moments, jnp.zeros((), jnp.int32))


# --- each block alone ---------------------------------------------------------------


def train_blocks(
    state: State,
    maps: Sequence[Array],
    chosen: Int[Array, " n"],
    *,
    levels: Sequence[int],
    schedule: Schedule,
) -> tuple[State, Metrics]:
    """Improve blocks on one batch, each on the true features of its level.

    The loss of a block is the mean squared error in normalized activations, of block 1
    in pixels. No block sees another's result, so their sum has no weights: Adam does
    not depend on the scale of a gradient.

    Args:
        state: where to start.
        maps: from `encode_photos`.
        chosen: which of the photos make the batch.
        levels: those whose blocks are trained.
        schedule: of the learning rate.

    Returns:
        The new state, and the loss of each block.
    """

    def loss_of(trained: Params) -> tuple[Array, Metrics]:
        parts = {}
        for level in levels:
            features, target = (maps[i][chosen] for i in (level, level - 1))
            size = target.shape[1:3]
            found = decode_block(trained, features, level=level, size=size)
            parts[f"block{level}"] = jnp.square(found - target).mean()
        return sum(parts.values(), jnp.zeros(())), parts

    return _update(state, loss_of, levels, schedule)


def encode_photos(vgg: Mapping[str, Any], photos: Photos) -> list[Array]:
    """Return pixels in [0, 1], and the features of all levels from low to high."""
    images = photos / jnp.float32(255)
    features = encode(vgg, images)
    return [images, *(features[layer] for layer in LEVELS)]


# --- the chain ----------------------------------------------------------------------


def train_chain(
    state: State,
    photos: Photos,
    vgg: Mapping[str, Any],
    *,
    level: int,
    schedule: Schedule,
) -> tuple[State, Metrics]:
    """Improve the blocks from a level down to pixels on one batch, as one chain.

    The loss is the mean squared error in pixels, and `FEATURE_WEIGHT` times that in the
    features of the level, which the decoded image is encoded to again.

    Args:
        state: where to start.
        photos: 8-bit RGB, whose height and width are multiples of 16.
        vgg: normalized parameters.
        level: where the chain starts.
        schedule: of the learning rate.

    Returns:
        The new state, and the parts of the loss.
    """
    layer = LEVELS[level - 1]
    images = photos / jnp.float32(255)
    features = encode(vgg, images)[layer]

    def loss_of(trained: Params) -> tuple[Array, Metrics]:
        decoded = decode(trained, features, level=level, size=images.shape[1:3])
        again = encode(vgg, decoded)[layer]
        parts = {
            f"pixels{level}": jnp.square(decoded - images).mean(),
            f"features{level}": jnp.square(again - features).mean(),
        }
        pixels, activations = parts.values()
        return pixels + FEATURE_WEIGHT * activations, parts

    return _update(state, loss_of, range(1, level + 1), schedule)


def draw_level(levels: Sequence[int], *, seed: int, step: int) -> int:
    """Return the level at which the chain of a step starts."""
    return int(np.random.default_rng([seed, 2, step]).choice(levels))


# --- steps --------------------------------------------------------------------------


def _update(
    state: State, loss_of: Any, levels: Sequence[int], schedule: Schedule
) -> tuple[State, Metrics]:
    """Make one step of Adam with some blocks; the others stay as they are."""
    names = [f"block{level}" for level in levels]
    trained = {name: state.params[name] for name in names}
    gradients, metrics = jax.grad(loss_of, has_aux=True)(trained)
    rate = schedule.learning_rate(state.step)
    params, moments = dict(state.params), dict(state.moments)
    for name in names:
        updates, moments[name] = OPTIMIZER.update(gradients[name], moments[name])
        updates = optax.tree.scale(-rate, updates)
        params[name] = optax.apply_updates(trained[name], updates)
    return State(params, moments, state.step + 1), metrics
