"""Style optimization in bfloat16 ends where it does in float32."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxstyle
from jaxstyle import Weights, load_image
from jaxstyle.losses import Execution, Objective, make_targets, perceptual_loss

Params = dict[str, Any]

EXAMPLES = Path(jaxstyle.__file__).parent / "examples"

WEIGHTS = Weights(
    {"relu3_1": 1.0}, dict.fromkeys(("relu1_1", "relu2_1", "relu3_1"), 1.0)
)

OBJECTIVE = Objective(style_loss="wasserstein")
FLOAT32, BFLOAT16 = Execution(), Execution(precision="bfloat16")


@pytest.fixture(scope="module")
def vgg(raw: Params) -> Params:
    """The network down to relu3_1."""
    return dict(jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu3_1"])))


@pytest.fixture(scope="module")
def pairs() -> tuple[jax.Array, jax.Array]:
    """Four photos and four paintings, parts of the examples, [4, 32, 32, 3] each."""
    names = ("astronaut", "chelsea", "coffee", "starry_night")
    cups, stars = (
        [load_image(EXAMPLES / f"{name}.jpg", longest_side=96) for name in names[part]]
        for part in (slice(3), slice(3, 4))
    )
    corners = [*product((0, 16, 32), (0, 20, 40, 60))]
    photos = [cups[i % 3][y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners)]
    paintings = [stars[0][y : y + 32, x : x + 32] for y, x in corners]
    return jnp.stack(photos[:4]), jnp.stack(paintings[:4])


@partial(jax.jit, static_argnames="execution")
def optimize(vgg: Params, photos: Any, paintings: Any, execution: Execution) -> Any:
    """Return a picture after 20 steps, and its loss in float32, for each pair."""

    def optimize_one(photo: jax.Array, painting: jax.Array) -> Any:
        picture, _ = jaxstyle.optimize_image(
            vgg,
            photo,
            [painting],
            weights=WEIGHTS,
            steps=20,
            objective=OBJECTIVE,
            execution=execution,
        )
        targets = make_targets(vgg, photo, [painting], WEIGHTS, objective=OBJECTIVE)
        return picture, perceptual_loss(vgg, picture, targets, WEIGHTS)[0]

    return jax.vmap(optimize_one)(photos, paintings)


def test_four_pairs_end_within_2_percent(
    vgg: Params, pairs: tuple[jax.Array, jax.Array]
) -> None:
    _, expected = optimize(vgg, *pairs, execution=FLOAT32)
    pictures, losses = optimize(vgg, *pairs, execution=BFLOAT16)
    assert pictures.dtype == jnp.float32
    assert (losses != expected).all()
    np.testing.assert_allclose(losses, expected, rtol=0.02)


def test_flat_images_stay_finite(vgg: Params) -> None:
    flat, black = jnp.full((1, 32, 32, 3), 0.5), jnp.zeros((1, 32, 32, 3))
    pictures, losses = optimize(vgg, flat, black, execution=BFLOAT16)
    assert jnp.isfinite(pictures).all()
    assert jnp.isfinite(losses).all()


def test_the_network_computes_in_the_precision(vgg: Params) -> None:
    def look(photo: jax.Array) -> Any:
        targets = make_targets(
            vgg, photo, [photo], WEIGHTS, objective=OBJECTIVE, execution=BFLOAT16
        )

        def loss_of(image: jax.Array) -> jax.Array:
            return perceptual_loss(vgg, image, targets, WEIGHTS, execution=BFLOAT16)[0]

        return targets, jax.value_and_grad(loss_of)(photo)

    targets, (loss, gradient) = jax.eval_shape(look, jnp.zeros((32, 32, 3)))
    assert targets.content["relu3_1"].dtype == jnp.bfloat16
    assert targets.style["relu3_1"].root.dtype == jnp.float32
    assert loss.dtype == gradient.dtype == jnp.float32
