"""The loss of an image with its targets and its gradient, for comparisons."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxstyle import Weights
from jaxstyle.losses import Execution, Objective, make_targets, perceptual_loss
from jaxstyle.losses.extractor import DEFAULT_EXECUTION
from jaxstyle.losses.objective import DEFAULT_OBJECTIVE

Params = Mapping[str, Any]

SHALLOW = Weights({"relu1_2": 0.7}, {"relu1_1": 2.0, "relu2_1": 1.0})


def blots(seed: int, height: int, width: int) -> jax.Array:
    """Return an image of soft blots."""
    size = (height // 5, width // 5, 3)
    coarse = jax.random.uniform(jax.random.key(seed), size)
    return jnp.asarray(jax.image.resize(coarse, (height, width, 3), "linear"))


def evaluate(
    params: Params,
    images: jax.Array,
    photo: jax.Array,
    painting: jax.Array,
    *,
    objective: Objective = DEFAULT_OBJECTIVE,
    execution: Execution = DEFAULT_EXECUTION,
    weights: Weights = SHALLOW,
) -> Any:
    """Return the targets, the losses, their parts, and the gradient."""

    @jax.jit
    def run(
        params: Params, images: jax.Array, photo: jax.Array, painting: jax.Array
    ) -> Any:
        targets = make_targets(
            params,
            photo,
            [painting],
            weights,
            objective=objective,
            execution=execution,
        )

        def loss_of(images: jax.Array) -> tuple[jax.Array, Any]:
            losses, parts = perceptual_loss(
                params, images, targets, weights, execution=execution
            )
            return losses.sum(), (losses, parts)

        (_, found), gradient = jax.value_and_grad(loss_of, has_aux=True)(images)
        return targets.content, targets.style, found, gradient

    return run(params, images, photo, painting)
