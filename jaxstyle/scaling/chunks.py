"""Many steps in one program, with no transfer to the host in between."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int


class Counted(Protocol):
    """A tree of arrays that counts its steps."""

    @property
    def step(self) -> Int[Array, ""]:
        """The number of steps."""


State = TypeVar("State", bound=Counted)

Metrics: TypeAlias = dict[str, Float[Array, "*n"]]
"""What a step measures, by name."""


def repeat_step(
    step: Callable[..., tuple[State, Metrics]],
    state: State,
    *arguments: Any,
    count: ArrayLike,
    capacity: int,
) -> tuple[State, Metrics]:
    """Run up to ``count`` steps, stopping at a loss that is not finite.

    A step is ``step(state, *arguments) -> (state, metrics)``.

    The count, at most ``capacity``, is data: one compiled program serves all counts.
    ``loss`` is among the metrics, which are ``[capacity]`` each, and NaN for steps that
    did not run. Those that ran are the difference in ``state.step``.
    """
    _, shapes = jax.eval_shape(step, state, *arguments)
    history = jax.tree.map(lambda s: jnp.full((capacity, *s.shape), jnp.nan), shapes)
    first = state.step

    def goes_on(carry: tuple[State, Metrics, Array]) -> Array:
        state, _, loss = carry
        return (state.step - first < count) & jnp.isfinite(loss)

    def advance(carry: tuple[State, Metrics, Array]) -> tuple[State, Metrics, Array]:
        state, history, _ = carry
        new, metrics = step(state, *arguments)
        at = state.step - first
        # A scatter, as by ``at[].set``, is slow in deterministic programs on GPUs.
        put = partial(lax.dynamic_update_index_in_dim, index=at, axis=0)
        values = jax.tree.map(lambda x, old: x.astype(old.dtype), metrics, history)
        history = jax.tree.map(put, history, values)
        return new, history, metrics["loss"]

    start = (state, history, jnp.zeros((), shapes["loss"].dtype))
    state, history, _ = lax.while_loop(goes_on, advance, start)
    return state, history
