"""The perceptual loss: targets, weights, several styles, batches."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses import (
    Objective,
    Targets,
    content_loss,
    gram_matrix,
    make_targets,
    perceptual_loss,
    style_loss,
    total_variation,
)
from jaxstyle.vgg import VGG, features

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 1.0}, {"relu1_1": 2e2, "relu1_2": 1e2}, 0.5)


@pytest.fixture(scope="module")
def targets(shallow: Params, content: jax.Array, style: jax.Array) -> Targets:
    return make_targets(shallow, content, [style], WEIGHTS)


evaluate = jax.jit(perceptual_loss)


@jax.jit
def gradient(
    params: Params, image: jax.Array, targets: Targets, weights: Weights
) -> jax.Array:
    loss = jax.grad(lambda image: perceptual_loss(params, image, targets, weights)[0])
    return jnp.asarray(loss(image))


# --- the sum ------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum_of_its_terms(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    of_content, of_style, found = (
        features(shallow, image) for image in (content, style, noisy)
    )
    expected = {
        "content": content_loss(found["relu2_1"], of_content["relu2_1"]),
        "style": sum(
            WEIGHTS.style[layer]
            * style_loss(gram_matrix(found[layer]), gram_matrix(of_style[layer]))
            for layer in WEIGHTS.style
        ),
        "total_variation": 0.5 * total_variation(noisy),
    }
    loss, parts = evaluate(
        shallow, noisy, make_targets(shallow, content, [style], WEIGHTS), WEIGHTS
    )
    assert_close(parts, expected)
    assert_close(loss, sum(parts.values()))
    assert all(part > 1e-2 for part in parts.values())


@pytest.mark.parametrize(
    ("weights", "part"),
    [
        (Weights({"relu1_2": 2.0}, {}), "content"),
        (Weights({}, {"relu2_1": 3.0}), "style"),
        (Weights({}, {}, 4.0), "total_variation"),
        (Weights({}, {}, 0.0, 4.0), "total_variation"),
        (Weights({}, {}, 0.0, 0.0, 4.0), "total_variation"),
    ],
)
def test_every_part_can_stand_alone(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    weights: Weights,
    part: str,
) -> None:
    loss, parts = evaluate(
        shallow, noisy, make_targets(shallow, content, [style], weights), weights
    )
    assert {name for name, value in parts.items() if value > 0} == {part}
    assert loss == parts[part]


def test_an_image_that_is_content_and_style_has_no_loss(
    shallow: Params, content: jax.Array, noisy: jax.Array
) -> None:
    weights = WEIGHTS._replace(total_variation=0.0)
    targets = make_targets(shallow, content, [content], weights)
    here, _ = evaluate(shallow, content, targets, weights)
    elsewhere, _ = evaluate(shallow, noisy, targets, weights)
    assert 0 <= here < 1e-9 * elsewhere


def test_another_pooling_is_another_loss(
    shallow: Params, content: jax.Array, noisy: jax.Array
) -> None:
    weights = Weights({"relu2_1": 1.0}, {})
    losses = []
    for pooling in ("max", "average", "l2"):
        objective = Objective(extractor=VGG(pooling=pooling))
        targets = make_targets(
            shallow, content, [content], weights, objective=objective
        )
        loss, _ = evaluate(shallow, noisy, targets, weights)
        losses.append(float(loss))
    assert len(set(losses)) == 3


# --- weights are data ---------------------------------------------------------------


def test_other_weights_do_not_recompile(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    traces = []

    @jax.jit
    def loss_of(weights: Weights) -> jax.Array:
        traces.append(weights)
        return perceptual_loss(shallow, noisy, targets, weights)[0]

    losses = [
        float(loss_of(Weights({"relu2_1": a}, {"relu1_1": b, "relu1_2": c}, d)))
        for a, b, c, d in [
            (1.0, 2.0, 3.0, 4.0),
            (0.5, 1.0, 1.5, 2.0),
            (0.0, 0.0, 0.0, 0.0),
        ]
    ]
    assert len(traces) == 1
    assert losses[1] == pytest.approx(losses[0] / 2)
    assert losses[2] == 0


def test_weights_may_differ_from_lane_to_lane(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    lanes = WEIGHTS._replace(total_variation=jnp.array([0.0, 1.0, 2.0]))
    nowhere: Any = jax.tree.map(lambda _: None, WEIGHTS)
    axes = nowhere._replace(total_variation=0)
    loss_of = jax.vmap(partial(perceptual_loss, shallow, noisy, targets), (axes,))
    losses, _ = jax.jit(loss_of)(lanes)
    steps = losses[1:] - losses[:-1]
    assert_close(steps, jnp.full(2, total_variation(noisy)), rtol=1e-3)


def test_the_gradient_to_a_weight_is_its_loss(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    def loss_of(weights: Weights) -> jax.Array:
        return perceptual_loss(shallow, noisy, targets, weights)[0]

    slopes = jax.jit(jax.grad(loss_of))(WEIGHTS)
    assert_close(slopes.total_variation, total_variation(noisy))
    _, parts = evaluate(shallow, noisy, targets, WEIGHTS)
    assert_close(slopes.content["relu2_1"], parts["content"])


# --- several styles -----------------------------------------------------------------


def test_the_gradient_of_a_blend_is_the_average_gradient(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    weights = Weights({}, WEIGHTS.style)
    styles = [style, content[:15, :17]]
    blend = make_targets(shallow, content, styles, weights, style_weights=[1, 3])
    single = [
        gradient(shallow, noisy, make_targets(shallow, content, [s], weights), weights)
        for s in styles
    ]
    expected = 0.25 * single[0] + 0.75 * single[1]
    assert_close(gradient(shallow, noisy, blend, weights), expected)
    assert float(jnp.abs(single[0] - single[1]).max()) > 0


def test_styles_count_equally_by_default(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    styles = [style, content]
    expected = make_targets(shallow, content, styles, WEIGHTS, style_weights=[7, 7])
    assert_close(make_targets(shallow, content, styles, WEIGHTS), expected, rtol=1e-6)


def test_a_style_of_no_weight_does_not_count(
    shallow: Params, content: jax.Array, style: jax.Array, targets: Targets
) -> None:
    blend = make_targets(
        shallow, content, [content, style], WEIGHTS, style_weights=[0, 2]
    )
    assert_close(blend, targets, rtol=1e-6)


@pytest.mark.parametrize(
    ("style_weights", "message"),
    [
        ([1.0], "got 1 style weights for 2 styles"),
        ([], "got 0 style weights for 2 styles"),
        ([1.0, -0.5], "none negative and not all zero, got 1.0, -0.5"),
        ([0.0, 0.0], "not all zero, got 0.0, 0.0"),
        ([1.0, float("nan")], "must be finite, .* got 1.0, nan"),
        ([float("nan"), 1.0], "must be finite, .* got nan, 1.0"),
        ([1.0, float("inf")], "must be finite, .* got 1.0, inf"),
    ],
)
def test_wrong_style_weights_are_refused(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    style_weights: list[float],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        make_targets(
            shallow, content, [style, style], WEIGHTS, style_weights=style_weights
        )


def test_a_style_is_needed(shallow: Params, content: jax.Array) -> None:
    with pytest.raises(ValueError, match="at least one style image is needed"):
        make_targets(shallow, content, [], WEIGHTS)


def test_content_alone_needs_no_style(
    shallow: Params, content: jax.Array, noisy: jax.Array
) -> None:
    weights = Weights({"relu1_2": 2.0}, {})
    targets = make_targets(shallow, content, [], weights)
    assert targets.style == {}
    found, parts = perceptual_loss(shallow, noisy, targets, weights)
    activations = [features(shallow, image)["relu1_2"] for image in (noisy, content)]
    assert_close(found, 2 * content_loss(*activations))
    assert parts["style"] == 0


def test_style_weights_without_styles_are_refused(
    shallow: Params, content: jax.Array
) -> None:
    weights = Weights({"relu1_2": 1.0}, {})
    with pytest.raises(ValueError, match="style weights for relu1_1, not a style"):
        make_targets(shallow, content, [], weights, style_weights={"relu1_1": [1.0]})


def test_all_unknown_layers_are_named(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    weights = Weights({"relu3_3": 1.0}, {"conv1_1": 1.0, "relu1_1": 1.0})
    message = "no layer relu3_3, conv1_1 in .* it has relu1_1, relu1_2, relu2_1"
    with pytest.raises(ValueError, match=message):
        make_targets(shallow, content, [style], weights)


# --- batches ------------------------------------------------------------------------


def test_a_batch_is_its_images_one_by_one(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    contents, images = jnp.stack([content, noisy]), jnp.stack([noisy, content[::-1]])
    targets = make_targets(shallow, contents, [style], WEIGHTS)
    whole = evaluate(shallow, images, targets, WEIGHTS)
    assert whole[0].shape == (2,)
    for i in range(2):
        alone = make_targets(shallow, contents[i], [style], WEIGHTS)
        expected = evaluate(shallow, images[i], alone, WEIGHTS)
        assert_close(jax.tree.map(lambda x, i=i: x[i], whole), expected)
    over_images = partial(make_targets, shallow, styles=[style], weights=WEIGHTS)
    lanes = jax.vmap(
        lambda image, content: perceptual_loss(
            shallow, image, over_images(content), WEIGHTS
        )
    )
    assert_close(jax.jit(lanes)(images, contents), whole)


def test_every_image_may_have_its_own_styles(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    styles = jnp.stack([style, style[::-1, ::-1] ** 2])
    images = jnp.stack([noisy, noisy])
    targets = make_targets(shallow, content, [styles], WEIGHTS)
    losses, _ = evaluate(shallow, images, targets, WEIGHTS)
    alone = make_targets(shallow, content, [styles[1]], WEIGHTS)
    assert_close(losses[1], evaluate(shallow, noisy, alone, WEIGHTS)[0])


def test_batch_axes_nest(shallow: Params, noisy: jax.Array, targets: Targets) -> None:
    images = jnp.broadcast_to(noisy, (2, 1, *noisy.shape))
    loss, parts = evaluate(shallow, images, targets, WEIGHTS)
    assert loss.shape == (2, 1)
    assert all(part.shape == (2, 1) for part in parts.values())


# --- wrong targets ------------------------------------------------------------------


def test_targets_of_another_size_are_refused(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    with pytest.raises(ValueError, match="another size"):
        perceptual_loss(shallow, noisy[:-4], targets, WEIGHTS)


def test_layers_without_targets_are_named(
    shallow: Params, noisy: jax.Array, targets: Targets
) -> None:
    weights = Weights({"relu1_2": 1.0}, {"relu2_1": 1.0})
    with pytest.raises(ValueError, match="no target for relu1_2, relu2_1"):
        perceptual_loss(shallow, noisy, targets, weights)
