"""Features that serve several steps: encoding takes longer than a step with them.

Crops come in groups, which are encoded once. The steps of a group go over its crops
several times, each time in another order. Source: Choi et al. (2019), "Faster neural
network training with data echoing", who repeat what comes out of any slow part.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8


class Plan(NamedTuple):
    """How crops are shared among steps.

    Attributes:
        batch: the crops of a step.
        batches: how many batches make a group.
        echo: how often a group is gone over.
        seed: of the orders.
    """

    batch: int
    batches: int = 4
    echo: int = 4
    seed: int = 0

    def group(self, step: int) -> int:
        """Return the number of the group of a step."""
        return step // (self.batches * self.echo)

    def chosen(self, step: int) -> Int[np.ndarray, " batch"]:
        """Return which crops of its group a step takes."""
        turn, place = divmod(step, self.batches)
        order = np.random.default_rng([self.seed, 3, turn])
        mixed = order.permutation(self.batch * self.batches)
        return mixed[place * self.batch : (place + 1) * self.batch]


class Replay:
    """The features of the group that is in use."""

    def __init__(
        self,
        plan: Plan,
        draw: Callable[[int], UInt8[np.ndarray, "n h w 3"]],
        encode: Callable[[UInt8[np.ndarray, "n h w 3"]], Sequence[jax.Array]],
    ) -> None:
        """Take what draws the crops of a number, and what encodes them."""
        self._plan, self._draw, self._encode = plan, draw, encode
        self._group, self._maps = -1, [jnp.zeros(())]

    def maps(self, step: int) -> list[jax.Array]:
        """Return the features of the group of a step, from pixels on."""
        group = self._plan.group(step)
        if group != self._group:
            first = group * self._plan.batches
            self._maps = []  # before the next ones take memory
            parts = [
                self._encode(self._draw(number))
                for number in range(first, first + self._plan.batches)
            ]
            self._maps = [jnp.concatenate(maps) for maps in zip(*parts, strict=True)]
            self._group = group
        return self._maps
