"""A film as a scan: the step from one frame of a shot to the next.

The state holds the parameters of a net or a painting, with the statistics of the shot
held (`jaxstyle.nets.hold`, `jaxstyle.transport.hold`), and the picture before.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxstyle.images.arrays import Image
from jaxstyle.video.motion import Motion, warp

SHARE = 0.5
"""The share of the picture before in the next one, where its motion can be trusted."""


class State(NamedTuple):
    """What a step knows of the frames before.

    Attributes:
        params: what paints a frame, with the statistics of the shot held.
        picture: the stylized frame before, ``[h, w, 3]``.
        begun: 0.0 before the first frame, 1.0 then.
    """

    params: Any
    picture: Image
    begun: Float[Array, ""]


Step: TypeAlias = Callable[[State, tuple[Image, Motion | None]], tuple[State, Image]]
"""A step of a scan over frames; see `make_step`."""


def init_state(params: Any, frame: Image) -> State:
    """Make the state before the first frame of a shot.

    Args:
        params: what paints a frame, with the statistics of the shot held, from
            `jaxstyle.nets.hold` or with `jaxstyle.transport.hold`.
        frame: any frame, for its size.

    Returns:
        The state for the step of `make_step`.

    Examples:
        >>> jaxstyle.video.init_state(net, photo).picture.shape
        (16, 16, 3)
    """
    return State(params, jnp.zeros_like(frame), jnp.zeros((), frame.dtype))


def make_step(
    apply: Callable[[Any, Image], Image], *, share: ArrayLike = SHARE
) -> Step:
    """Make the step from one frame of a shot to the next, for `jax.lax.scan`.

    Pure. The motion of a frame may be ``None``: then each frame is painted by itself,
    still by one fixed function for the whole shot.

    Args:
        apply: ``apply(params, frame) -> picture``, such as `jaxstyle.stylize`.
        share: as in `blend`.

    Returns:
        ``step(state, (frame, motion)) -> (state, picture)``, with pictures in [0, 1].

    Examples:
        >>> frames = jnp.stack([photo, jnp.roll(photo, 1, axis=1)])
        >>> flow = jnp.zeros((2, 16, 16, 2)).at[..., 1].set(-1)
        >>> trust = jnp.ones((2, 16, 16))
        >>> motions = jaxstyle.video.Motion(flow, trust, still=0 * trust)
        >>> step = jaxstyle.video.make_step(jaxstyle.stylize)
        >>> state = jaxstyle.video.init_state(jaxstyle.nets.hold(net, frames), photo)
        >>> state, pictures = jax.lax.scan(step, state, (frames, motions))
        >>> pictures.shape
        (2, 16, 16, 3)
    """

    def step(state: State, frame: tuple[Image, Motion | None]) -> tuple[State, Image]:
        image, motion = frame
        picture = jnp.clip(apply(state.params, image), 0, 1)
        if motion is not None:
            trust, still = (state.begun * x for x in (motion.trust, motion.still))
            motion = Motion(motion.flow, trust, still)
            picture = blend(picture, state.picture, motion, share=share)
        return State(state.params, picture, jnp.ones_like(state.begun)), picture

    return step


def blend(
    picture: Image, before: Image, motion: Motion, *, share: ArrayLike = SHARE
) -> Image:
    """Blend the picture before, moved along, into the picture of a frame.

    Strokes then go with what they paint, instead of staying where they are on the
    screen, and what is new appears at once. What stands still is kept as it was::

        (1 - w) picture + w warp(before)    with    w = max(share * trust, still)

    Args:
        picture: the stylized frame, in [0, 1], ``[h, w, 3]``.
        before: what this has returned for the frame before.
        motion: of the frame, from `match_flows`.
        share: the share of the picture before, from 0 to less than 1.

    Returns:
        The picture, in [0, 1].

    Examples:
        >>> flow, trust = jnp.zeros((16, 16, 2)), jnp.ones((16, 16))
        >>> motion = jaxstyle.video.Motion(flow, trust, still=0 * trust)
        >>> mixed = jaxstyle.video.blend(photo, 0 * photo, motion, share=0.25)
        >>> jnp.allclose(mixed, 0.75 * photo)
        Array(True, dtype=bool)
    """
    weight = jnp.maximum(share * motion.trust, motion.still)[..., None]
    warped = warp(before, motion.flow)
    return jnp.clip((1 - weight) * picture + weight * warped, 0, 1)
