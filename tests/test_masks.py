"""Masks that targets refuse, and those of yes and no."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses import Targets, make_targets, perceptual_loss

Params = dict[str, Any]

WEIGHTS = Weights({}, {"relu1_1": 2e2, "relu2_1": 1e2})
SHALLOW = Weights({}, {"relu1_1": 1e2})


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"masks": [jnp.ones((24, 32))]}, "got 1 masks for 2 styles"),
        ({"masks": []}, "got 0 masks for 2 styles"),
        (
            {"masks": [jnp.ones((24, 32)), jnp.ones((32, 24))]},
            r"masks must be of their images' size, got \(32, 24\) for \(24, 32\)",
        ),
        ({"masks": [jnp.ones((24, 32, 1))] * 2}, r"got \(24, 32, 1\) for \(24, 32\)"),
        ({"style_masks": [None]}, "got 1 style masks for 2 styles"),
        (
            {"style_masks": [None, jnp.ones((20, 28))]},
            r"style masks must be of their .* got \(20, 28\) for \(24, 32\)",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    shallow: Params, content: jax.Array, masks: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make_targets(shallow, content, [content] * 2, WEIGHTS, **masks)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["masks", "style_masks"])
def test_masks_in_8_bits_are_refused(
    shallow: Params, content: jax.Array, kind: str
) -> None:
    masks: Any = {kind: [jnp.full((24, 32), 255, jnp.uint8)]}
    message = r"masks must .* \[0, 1\], got uint8; divide 8-bit masks by 255"
    with pytest.raises(TypeError, match=message):
        make_targets(shallow, content, [content], WEIGHTS, **masks)


def test_masks_may_be_yes_and_no(
    shallow: Params, content: jax.Array, style: jax.Array, left: jax.Array
) -> None:
    found, expected = (
        make_targets(shallow, content, [style], SHALLOW, masks=[mask])
        for mask in (left > 0, left)
    )
    assert_close(found, expected, rtol=0)


def test_an_image_of_another_size_than_the_masks_is_refused(
    shallow: Params, content: jax.Array, left: jax.Array
) -> None:
    targets: Targets = make_targets(shallow, content, [content], SHALLOW, masks=[left])
    message = r"than the masks of the targets: relu1_1 is \(20, 32\), expected \(24, 32"
    with pytest.raises(ValueError, match=message):
        perceptual_loss(shallow, content[:20], targets, SHALLOW)
