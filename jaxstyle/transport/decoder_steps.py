"""Training of the decoder: passes of stylization, each level by what it should reach.

``step(state, photos, painting, vgg) -> (state, metrics)`` is pure, as elsewhere in the
package.

Source: Huang & Belongie (2017), "Arbitrary style transfer in real-time with adaptive
instance normalization", with the optimal transport for their normalization, the
Wasserstein distance for their style loss, and the levels of Li et al. (2017),
"Universal style transfer via feature transforms", one after the other. What is trained
is what `jaxstyle.transport.stylize` does: decoded are changes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxstyle.kernels.gaussians import transport_map
from jaxstyle.losses.style import exact_gaussian_target, exact_wasserstein_loss
from jaxstyle.losses.terms import moments
from jaxstyle.transport.decoder import Maps, Params, decode, decode_levels
from jaxstyle.transport.encoder import LEVELS, ORDER, encode, encode_photos
from jaxstyle.transport.paintings import fit_level, with_noise

Photos: TypeAlias = UInt8[Array, "n h w 3"]

Metrics: TypeAlias = dict[str, Float[Array, ""]]

FEATURES_WEIGHT = 0.15
"""The weight of the error of features, which alone would forbid nearly all change."""

PIXELS_WEIGHT = 0.25
"""The weight of the error of images that come back from their features."""

CLIPPED_WEIGHT = 30.0
"""The weight of squared distances of pixels from [0, 1]."""

LEAK = 0.1
"""The slope of clipping outside [0, 1], for gradients to pass."""


class State(NamedTuple):
    """Where the training stands.

    Attributes:
        params: the decoder's.
        optimizer_state: the optimizer's.
        step: the number of steps so far.
    """

    params: Params
    optimizer_state: optax.OptState
    step: Int[Array, ""]


def make_optimizer(
    steps: int, *, rate: float = 3e-4, warmup: int = 20
) -> optax.GradientTransformation:
    """Make the optimizer: Adam, whose rate rises linearly and falls by a cosine.

    Gradients are clipped to a norm that nearly all exceed: so each photo and painting
    counts about the same.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0, rate, warmup, max(steps, warmup + 1), rate / 50
    )
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))


def init_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    """Make the state before the first step of a decoder."""
    return State(params, optimizer.init(params), jnp.zeros((), jnp.int32))


def train_pass(
    state: State,
    photos: Photos,
    painting: UInt8[Array, "_h _w 3"],
    vgg: Mapping[str, Any],
    *,
    optimizer: optax.GradientTransformation,
) -> tuple[State, Metrics]:
    """Improve a decoder by one batch of photos and a painting.

    Args:
        state: where to start.
        photos: 8-bit RGB, whose height and width are multiples of 8.
        painting: 8-bit RGB.
        vgg: normalized parameters.
        optimizer: that of the state.

    Returns:
        The new state, and the parts of `pass_loss`.
    """

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        parts = pass_loss(params, photos, painting, vgg)
        return sum(parts.values(), jnp.zeros(())), parts

    gradients, metrics = jax.grad(loss_of, has_aux=True)(state.params)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer_state)
    params = optax.apply_updates(state.params, updates)
    return State(params, optimizer_state, state.step + 1), metrics


def pass_loss(
    params: Params,
    photos: Photos,
    painting: UInt8[Array, "_h _w 3"],
    vgg: Mapping[str, Any],
) -> Metrics:
    """Compute what a pass of stylization misses at each of its levels.

    At each level above relu1_1, in their `ORDER`, the features F of the images are
    moved to M, with the distribution of the painting's; that of the whole batch is
    their own, for small crops have too few positions. The images change by the
    difference of what M and F decode to, and are encoded again. The loss of a level is
    the sum of

    * `FEATURES_WEIGHT` times the squared error of these features against M, relative to
      the variance of M;
    * the Wasserstein distances to the painting at this level, those below it and those
      yet to come, relative to those of the photos;
    * `PIXELS_WEIGHT` times the squared error of what F decodes to, relative to the
      variance of the images;
    * `CLIPPED_WEIGHT` times the squared distance of pixels from [0, 1].

    No gradient passes from a level to the one before. Block 1 stays as it is: nothing
    surpasses its closed form.

    Args:
        params: the decoder's.
        photos: as in `train_pass`.
        painting: as in `train_pass`.
        vgg: normalized parameters.

    Returns:
        The parts, named ``level{k}/{part}``.
    """
    params = {**params, "block1": lax.stop_gradient(params["block1"])}
    images = photos / jnp.float32(255)
    features = encode(vgg, images)
    goals = encode(vgg, painting[None] / jnp.float32(255))
    before = {name: style_distance(features[name], goals[name]) for name in LEVELS}
    parts: Metrics = {}
    for visit, level in enumerate(ORDER[:-1]):
        layer = LEVELS[level - 1]
        source = features[layer]
        moved = lax.stop_gradient(move_batch(source, goals[layer]))
        both = jnp.concatenate([moved, source])
        found = decode(params, both, level=level, size=images.shape[1:3])
        new, old = jnp.split(found, 2)
        painted = images + new - old
        inside = jnp.clip(painted, 0, 1)
        again = encode(
            vgg, inside + LEAK * (painted - inside), deepest=max(ORDER[visit:])
        )
        own = {
            "features": FEATURES_WEIGHT * _relative_error(again[layer], moved),
            "pixels": PIXELS_WEIGHT * _relative_error(old, images),
            "clipped": CLIPPED_WEIGHT * jnp.square(painted - inside).mean(),
        }
        for name, maps in again.items():
            own[name] = style_distance(maps, goals[name]) / before[name]
        parts |= {f"level{level}/{part}": value for part, value in own.items()}
        images, features = lax.stop_gradient((inside, again))
    return parts


def move_batch(features: Maps, target: Maps) -> Maps:
    """Move the features of a batch, as one distribution, to that of others."""
    source, goal = (
        with_noise(fit_level(_join_positions(x))) for x in (features, target)
    )
    linear = transport_map(source.covariance, goal.covariance)
    return (features - source.mean) @ linear + goal.mean


def style_distance(features: Maps, target: Maps) -> Float[Array, ""]:
    """Compute the Wasserstein distance between distributions over all positions."""
    found, goal = (moments(_join_positions(x)) for x in (features, target))
    return exact_wasserstein_loss(found, exact_gaussian_target(goal))


def _join_positions(x: Maps) -> Float[Array, "1 s c"]:
    return x.reshape(1, -1, x.shape[-1])


def _relative_error(x: Array, target: Array) -> Float[Array, ""]:
    """Compute the squared error relative to the variance over all positions."""
    deviation = target - target.mean((0, 1, 2))
    return jnp.square(x - target).mean() / jnp.square(deviation).mean()


# --- measurements -------------------------------------------------------------------


def reconstruct(
    params: Params, vgg: Mapping[str, Any], photos: Photos
) -> tuple[Float[Array, "k n h w 3"], Float[Array, "k n"], Float[Array, "k n 2"]]:
    """Decode photos from each level.

    Returns:
        From level 1 to 4: the pictures, clipped; their PSNR in dB; and of the first
        block alone the squared error and the squared deviation from the mean.
    """
    maps = encode_photos(vgg, photos)
    pictures, ratios, errors = [], [], []
    for level in range(1, len(LEVELS) + 1):
        found = decode_levels(params, maps[level], level=level, size=photos.shape[1:3])
        pictures.append(jnp.clip(found[-1], 0, 1))
        error = jnp.square(pictures[-1] - maps[0]).mean((1, 2, 3))
        ratios.append(-10 * jnp.log10(error))
        target = maps[level - 1]
        deviation = target - target.mean((0, 1, 2))
        parts = [jnp.square(x).mean((1, 2, 3)) for x in (found[0] - target, deviation)]
        errors.append(jnp.stack(parts, -1))
    return jnp.stack(pictures), jnp.stack(ratios), jnp.stack(errors)
