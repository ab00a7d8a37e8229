"""Targets of regions: what is drawn where, to which style."""

from collections.abc import Callable
from functools import partial
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
    Objective,
    gram_matrix,
    make_targets,
    moments,
    perceptual_loss,
    style_loss,
)
from jaxstyle.vgg import features

Params = dict[str, Any]
Loss = Callable[..., tuple[Any, Any]]

WEIGHTS = Weights({}, {"relu1_1": 2e2, "relu2_1": 1e2})
SHALLOW = Weights({}, {"relu1_1": 1e2})


@pytest.fixture(scope="module")
def painting(style: jax.Array) -> jax.Array:
    """The painting as large as the photograph, [24, 32, 3]."""
    return jnp.pad(style, ((2, 2), (2, 2), (0, 0)), "symmetric")


@pytest.fixture(scope="module")
def evaluate() -> Loss:
    """The loss and its gradient to the image, compiled."""
    return jax.jit(
        jax.value_and_grad(
            lambda image, params, targets, weights: perceptual_loss(
                params, image, targets, weights
            )[0]
        )
    )


def window(*cut: slice) -> jax.Array:
    """Return a mask of a part of the photograph, [24, 32]."""
    return jnp.zeros((24, 32)).at[cut].set(1)


def test_a_mask_of_ones_is_no_mask(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    evaluate: Loss,
) -> None:
    plain = make_targets(shallow, content, [style], WEIGHTS)
    masked = make_targets(
        shallow, content, [style], WEIGHTS, masks=[jnp.ones((24, 32))]
    )
    found = evaluate(noisy, shallow, masked, WEIGHTS)
    assert_close(found, evaluate(noisy, shallow, plain, WEIGHTS), rtol=1e-4)


@pytest.mark.parametrize("layer", WEIGHTS.style)
def test_the_loss_of_a_region_is_that_of_its_features(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    evaluate: Loss,
    layer: str,
) -> None:
    """Pooling windows start at even pixels, as the region does."""
    stride = jaxstyle.vgg.layers.stride(layer)
    weights = Weights({}, {layer: 1e2})
    mask = window(slice(4, 14), slice(8, 32))
    targets = make_targets(shallow, content, [style], weights, masks=[mask])
    loss, _ = evaluate(noisy, shallow, targets, weights)
    region = features(shallow, noisy)[layer]
    region = region[4 // stride : 14 // stride, 8 // stride :]
    wanted = gram_matrix(features(shallow, style)[layer])
    share = 10 * 24 / (24 * 32)
    assert_close(loss, 1e2 * share * style_loss(gram_matrix(region), wanted), rtol=1e-4)


@pytest.mark.parametrize("layer", WEIGHTS.style)
@pytest.mark.parametrize("regions", [False, True])
def test_a_style_mask_restricts_what_counts_of_a_style(
    shallow: Params, content: jax.Array, style: jax.Array, layer: str, regions: bool
) -> None:
    stride = jaxstyle.vgg.layers.stride(layer)
    mask = jnp.zeros((20, 28)).at[:12, 6:20].set(1)
    targets = make_targets(
        shallow,
        content,
        [style],
        WEIGHTS,
        masks=[jnp.ones((24, 32))] if regions else None,
        style_masks=[mask],
    )
    found = features(shallow, style)[layer]
    expected = gram_matrix(found[: 12 // stride, 6 // stride : 20 // stride])
    target = targets.style[layer]
    assert_close(target[0] if regions else target, expected)
    assert float(jnp.abs(expected - gram_matrix(found)).max()) > 1e-3


def test_style_masks_may_be_given_for_some_styles(
    shallow: Params, content: jax.Array, style: jax.Array
) -> None:
    upper = jnp.zeros((20, 28)).at[:10].set(1)
    cases: list[tuple[list[jax.Array], Any]] = [
        ([style, content], [upper, None]),
        ([style], [upper]),
        ([content], None),
    ]
    blend, first, second = (
        make_targets(shallow, content, styles, WEIGHTS, style_masks=masks).style
        for styles, masks in cases
    )
    for layer in WEIGHTS.style:
        assert_close(blend[layer], (first[layer] + second[layer]) / 2)


def test_exchanging_styles_exchanges_what_the_halves_are_drawn_to(
    shallow: Params,
    content: jax.Array,
    painting: jax.Array,
    left: jax.Array,
    evaluate: Loss,
) -> None:
    """An image made of halves of the styles has its loss at the seam only."""
    image = jnp.where(left[..., None] > 0, content, painting)
    masks = [left, 1 - left]

    def loss_of(styles: list[jax.Array], style_masks: list[jax.Array]) -> float:
        targets = make_targets(
            shallow, content, styles, WEIGHTS, masks=masks, style_masks=style_masks
        )
        return float(evaluate(image, shallow, targets, WEIGHTS)[0])

    right_way = loss_of([content, painting], masks)
    wrong_way = loss_of([painting, content], masks[::-1])
    assert 0 < right_way < 0.05 * wrong_way


def test_halves_are_drawn_to_their_own_styles(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    left: jax.Array,
    evaluate: Loss,
) -> None:
    """The gradient of two regions is the sum of the gradients of each alone."""
    masks = [left, 1 - left]

    def gradient(styles: list[jax.Array], masks: list[jax.Array]) -> jax.Array:
        targets = make_targets(shallow, content, styles, WEIGHTS, masks=masks)
        return jnp.asarray(evaluate(noisy, shallow, targets, WEIGHTS)[1])

    both = gradient([style, content], masks)
    parts = [gradient([style], masks[:1]), gradient([content], masks[1:])]
    assert_close(both, sum(parts), rtol=1e-4)
    exchanged = gradient([content, style], masks)
    assert float(jnp.abs(exchanged - both).max()) > 0.1 * float(jnp.abs(both).max())


def test_outside_all_masks_no_style_draws(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    evaluate: Loss,
) -> None:
    """Beyond the 4 pixels that relu2_1 sees around the windows of its region."""
    masks = [window(slice(0, 24), slice(0, 8))]
    targets = make_targets(shallow, content, [style], WEIGHTS, masks=masks)
    _, gradient = evaluate(noisy, shallow, targets, WEIGHTS)
    by_column = jnp.abs(gradient).max((0, 2))
    np.testing.assert_array_equal(by_column[12:], 0)
    assert float(by_column[:12].min()) > 0


def test_outside_all_masks_content_is_kept(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    weights = WEIGHTS._replace(content={"relu1_2": 1.0})
    masks = [window(slice(0, 24), slice(0, 8))]
    parts = [
        perceptual_loss(shallow, noisy, targets, weights)[1]["content"]
        for targets in (
            make_targets(shallow, content, [style], weights, masks=masks),
            make_targets(shallow, content, [style], weights),
        )
    ]
    assert parts[0] == parts[1]
    assert parts[0] > 0


def test_soft_edges_stay_soft(shallow: Params) -> None:
    """Masks are averaged over pooling windows; what does not fill one is left out."""
    ramp = jnp.linspace(0, 1, 11)[None, :] * jnp.linspace(1, 0.5, 7)[:, None]
    image = jnp.zeros((7, 11, 3))
    masks: Any = jax.jit(
        lambda mask: make_targets(shallow, image, [image], WEIGHTS, masks=[mask]).masks
    )(ramp)
    assert_close(masks["relu1_1"], ramp[None])
    windows = np.array(ramp)[:6, :10].reshape(3, 2, 5, 2).mean((1, 3))
    assert_close(masks["relu2_1"], jnp.asarray(windows)[None])


def test_a_faint_mask_draws_faintly(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    evaluate: Loss,
) -> None:
    losses = [
        evaluate(noisy, shallow, targets, WEIGHTS)[0]
        for targets in (
            make_targets(
                shallow, content, [style], WEIGHTS, masks=[jnp.full((24, 32), value)]
            )
            for value in (1.0, 0.25)
        )
    ]
    assert_close(losses[1], 0.25 * losses[0])


def test_style_weights_count_in_regions_too(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    left: jax.Array,
    evaluate: Loss,
) -> None:
    """Shares of 3/4 and 1/4 are 3/2 and 1/2 of what equal ones are."""

    def loss_of(styles: list[jax.Array], masks: list[jax.Array], **how: Any) -> Any:
        targets = make_targets(shallow, content, styles, SHALLOW, masks=masks, **how)
        return evaluate(noisy, shallow, targets, SHALLOW)[0]

    masks = [left, 1 - left]
    alone = [loss_of([style], masks[:1]), loss_of([content], masks[1:])]
    both = loss_of([style, content], masks)
    assert_close(both, alone[0] + alone[1])
    expected = 1.5 * alone[0] + 0.5 * alone[1]
    for style_weights in ([3, 1], {"relu1_1": [3, 1]}):
        found = loss_of([style, content], masks, style_weights=style_weights)
        assert_close(found, expected)


def test_an_empty_region_draws_nothing(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    left: jax.Array,
    evaluate: Loss,
) -> None:
    targets = make_targets(
        shallow, content, [style, content], SHALLOW, masks=[left, jnp.zeros((24, 32))]
    )
    alone = make_targets(shallow, content, [style], SHALLOW, masks=[left])
    expected = evaluate(noisy, shallow, alone, SHALLOW)
    assert_close(evaluate(noisy, shallow, targets, SHALLOW), expected, rtol=1e-4)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_every_style_loss_has_regions(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array, name: str
) -> None:
    net = jaxstyle.vgg.truncate(shallow, ["relu1_1"])
    objective = Objective(style_loss=name)
    target_of, compare, _ = STYLE_LOSSES[name]
    masks = [window(slice(0, 10), slice(0, 16)), window(slice(10, 24), slice(16, 32))]
    styles = [style, content]
    targets = make_targets(
        net, content, styles, SHALLOW, masks=masks, objective=objective
    )
    loss, _ = jax.jit(perceptual_loss)(net, noisy, targets, SHALLOW)
    found = features(net, noisy)["relu1_1"]
    expected = sum(
        100
        * mask.mean()
        * compare(
            moments(found, mask), target_of(moments(features(net, image)["relu1_1"]))
        )
        for mask, image in zip(masks, styles, strict=True)
    )
    assert_close(loss, expected, rtol=1e-3)


def test_the_regions_of_a_batch_are_those_of_its_images(
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
    left: jax.Array,
) -> None:
    images, contents = jnp.stack([noisy, content]), jnp.stack([content, noisy])
    make = partial(
        make_targets,
        shallow,
        styles=[style, content],
        weights=SHALLOW,
        masks=[left, 1 - left],
    )
    evaluate = jax.jit(perceptual_loss)
    whole, _ = evaluate(shallow, images, make(contents), SHALLOW)
    assert whole.shape == (2,)
    for index in (0, 1):
        targets = make(contents[index])
        alone, _ = evaluate(shallow, images[index], targets, SHALLOW)
        assert_close(whole[index], alone)
