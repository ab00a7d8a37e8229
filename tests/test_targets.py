"""Targets: blends of styles by layer, and every style loss."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import (
    STYLE_LOSSES,
    Moments,
    Objective,
    gram_matrix,
    make_targets,
    moments,
    perceptual_loss,
)
from jaxstyle.vgg import VGG, features

Params = dict[str, Any]

WEIGHTS = Weights({}, {"relu1_1": 2e2, "relu2_1": 1e2})
SHALLOW = Weights({}, {"relu1_1": 1e2})

every_style_loss = pytest.mark.parametrize("name", STYLE_LOSSES)


# --- several styles -----------------------------------------------------------------


def test_styles_are_blended_by_layer(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    """Equally in layers that are not named."""
    single = [make_targets(shallow, content, [s], WEIGHTS) for s in (style, content)]
    blend = make_targets(
        shallow,
        content,
        [style, content],
        WEIGHTS,
        style_weights={"relu1_1": [3.0, 1.0]},
    )
    for layer, share in {"relu1_1": 0.75, "relu2_1": 0.5}.items():
        a, b = (targets.style[layer] for targets in single)
        assert_close(blend.style[layer], share * a + (1 - share) * b)


@pytest.mark.parametrize(
    ("style_weights", "message"),
    [
        ({"relu1_1": [1.0, 1.0], "relu1_2": [1.0, 1.0]}, "for relu1_2, not a style"),
        ({"relu9_9": [1.0, 1.0], "conv": [1.0]}, "relu9_9, conv, not a style layer"),
        ({"relu1_1": [1.0]}, "got 1 style weights for 2 styles"),
        ({"relu1_1": [0.0, 0.0]}, "not all zero, got 0.0, 0.0"),
    ],
)
def test_wrong_style_weights_by_layer_are_refused(
    shallow: Params,
    content: jax.Array,
    style_weights: dict[str, list[float]],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make_targets(
            shallow, content, [content] * 2, WEIGHTS, style_weights=style_weights
        )
    assert "\n" not in str(error.value)


@every_style_loss
def test_a_blend_is_that_of_raw_moments(
    shallow: Params, content: jax.Array, style: jax.Array, name: str
) -> None:
    blend = make_targets(
        shallow,
        content,
        [style, content],
        SHALLOW,
        style_weights=[1, 3],
        objective=Objective(style_loss=name),
    )
    a, b = (moments(features(shallow, image)["relu1_1"]) for image in (style, content))
    both = Moments(0.25 * a.mean + 0.75 * b.mean, 0.25 * a.second + 0.75 * b.second)
    expected = STYLE_LOSSES[name].make_target(both)
    assert_close(blend.style["relu1_1"], expected, rtol=1e-4)


# --- style losses -------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_name(
    shallow: Params, content: jax.Array, noisy: jax.Array
) -> dict[str, tuple[float, float, jax.Array]]:
    """Of every style loss the value at the style, elsewhere, and the gradient there."""
    net = jaxstyle.vgg.truncate(shallow, ["relu1_1"])
    found = {}
    for name in STYLE_LOSSES:
        objective = Objective(style_loss=name)
        targets = make_targets(net, content, [content], SHALLOW, objective=objective)
        compiled = jax.jit(
            jax.value_and_grad(
                lambda image, targets: perceptual_loss(net, image, targets, SHALLOW)[0]
            )
        )
        here, _ = compiled(content, targets)
        there, gradient = compiled(noisy, targets)
        found[name] = (float(here), float(there), gradient)
    return found


@every_style_loss
def test_every_style_loss_draws_the_image(by_name: Any, name: str) -> None:
    here, there, gradient = by_name[name]
    assert np.isfinite(there)
    assert here < there
    assert bool(jnp.isfinite(gradient).all())
    assert float(jnp.abs(gradient).max()) > 1e-3


@pytest.mark.parametrize("name", sorted({*STYLE_LOSSES} - {"wasserstein"}))
def test_exact_style_losses_vanish_at_the_style(by_name: Any, name: str) -> None:
    here, there, _ = by_name[name]
    assert abs(here) < 1e-4 * there


def test_style_losses_differ(by_name: Any) -> None:
    values = sorted(there for _, there, _ in by_name.values())
    assert all(b > 1.001 * a for a, b in pairwise(values))


def test_an_unknown_style_loss_is_named_with_the_known_ones(
    shallow: Params, content: jax.Array, noisy: jax.Array
) -> None:
    objective = Objective(style_loss="sliced")
    message = f"no style loss 'sliced'; known are {', '.join(STYLE_LOSSES)}"
    with pytest.raises(ValueError, match=message):
        make_targets(shallow, content, [content], WEIGHTS, objective=objective)
    targets = make_targets(shallow, content, [content], WEIGHTS)
    with pytest.raises(ValueError, match=message):
        perceptual_loss(shallow, noisy, replace(targets, objective=objective), WEIGHTS)


@pytest.mark.parametrize("setting", ["pooling", "padding"])
def test_an_unknown_setting_of_the_network_is_refused(
    setting: str,
) -> None:
    odd: Any = {setting: "odd"}
    with pytest.raises(ValueError, match=f"no {setting} 'odd'; known are "):
        VGG(**odd)


def test_the_border_is_that_of_the_objective(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    """In the targets of content and style, and in the loss."""
    weights = Weights({"relu1_2": 1.0}, {"relu1_1": 1e2})
    objective = Objective(extractor=VGG(padding="replicate"))
    targets = make_targets(shallow, content, [style], weights, objective=objective)
    of_content, of_style, found = (
        features(shallow, image, padding="replicate")
        for image in (content, style, noisy)
    )
    assert_close(targets.content["relu1_2"], of_content["relu1_2"])
    assert_close(targets.style["relu1_1"], gram_matrix(of_style["relu1_1"]))
    _, parts = perceptual_loss(shallow, noisy, targets, weights)
    between = jaxstyle.losses.content_loss(found["relu1_2"], of_content["relu1_2"])
    assert_close(parts["content"], between)
    zero = make_targets(shallow, content, [style], weights)
    assert float(jnp.abs(zero.content["relu1_2"] - of_content["relu1_2"]).max()) > 0.1
