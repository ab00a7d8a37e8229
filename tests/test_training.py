"""The pure training loop: one step, its metrics, and what it learns."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.cli.train.training_programs import REPEATABLE
from jaxstyle.losses import Objective, make_targets, perceptual_loss
from jaxstyle.nets.transform_net import init_net, stylize, stylize_in_training
from jaxstyle.training import loop
from jaxstyle.vgg import VGG

pytestmark = pytest.mark.usefixtures("plain_convolutions")

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 1.0}, {"relu1_1": 2e3, "relu1_2": 1e3}, 0.1, 0.2)


@pytest.fixture(scope="module")
def photos() -> jax.Array:
    """Three photographs as 8-bit pixels, smooth rather than noisy."""
    small = jax.random.uniform(jax.random.key(0), (3, 4, 5, 3))
    large = jax.image.resize(small, (3, 16, 20, 3), "cubic")
    return (255 * jnp.clip(large, 0, 1)).astype(jnp.uint8)


@pytest.fixture(scope="module")
def problem(shallow: Params, style: jax.Array) -> loop.Problem:
    return loop.make_problem(shallow, [style], WEIGHTS)


@pytest.fixture(scope="module")
def net() -> Params:
    return init_net(jax.random.key(0), width=2, blocks=1)


OPTIMIZER = optax.adam(1e-2)

first_step = jax.jit(loop.make_step(OPTIMIZER))


def run(
    net: Params,
    photos: jax.Array,
    problem: loop.Problem,
    *,
    step: loop.Step = first_step,
    steps: int = 1,
) -> tuple[loop.State, list[dict[str, float]]]:
    state, history = loop.init_state(net, OPTIMIZER), []
    for _ in range(steps):
        state, metrics = step(state, photos, problem)
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history


def expected_loss(
    net: Params, photos: jax.Array, problem: loop.Problem, style: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    images = photos / jnp.float32(255)
    targets = make_targets(problem.params, images, [style], problem.weights)
    stylized = stylize(net, images)
    return perceptual_loss(problem.params, stylized, targets, problem.weights)


def test_the_metrics_are_the_mean_loss_and_its_parts(
    net: Params, photos: jax.Array, problem: loop.Problem, style: jax.Array
) -> None:
    _, [metrics] = run(net, photos, problem)
    loss, parts = jax.jit(expected_loss)(net, photos, problem, style)
    for name, values in {"loss": loss, **parts}.items():
        assert metrics[name] == pytest.approx(float(values.mean()), rel=1e-4)
        assert metrics[name] > 1e-3
    assert set(metrics) == {"loss", *parts, "gradient_norm"}


def test_evaluate_gives_the_same_loss(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    _, [metrics] = run(net, photos, problem)
    found = jax.jit(loop.evaluate)(net, photos, problem)
    assert set(found) == set(metrics) - {"gradient_norm"}
    assert_close(found, {name: metrics[name] for name in found})


def test_a_step_follows_the_gradient(
    net: Params, photos: jax.Array, problem: loop.Problem, style: jax.Array
) -> None:
    state, [metrics] = run(net, photos, problem)

    def objective(net: Params) -> jax.Array:
        return expected_loss(net, photos, problem, style)[0].mean()

    gradient = jax.device_get(jax.jit(jax.grad(objective))(net))
    norm = float(jax.jit(optax.tree.norm)(gradient))
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    share_of_the_newest = 0.1
    mean = jax.device_get(optax.tree.get(state.optimizer_state, "mu"))
    seen = jax.tree.map(lambda x: x / np.float32(share_of_the_newest), mean)
    difference = jax.tree.map(np.subtract, seen, gradient)
    assert jax.jit(optax.tree.norm)(difference) < 1e-4 * norm

    @jax.jit
    def update(net: Params, seen: Params) -> Params:
        updates, _ = OPTIMIZER.update(seen, OPTIMIZER.init(net), net)
        return optax.apply_updates(net, updates)

    assert_close(state.params, update(net, seen), rtol=1e-4)


def test_the_loss_goes_down(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    state, history = run(net, photos, problem, steps=60)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert int(state.step) == 60


def test_constants_stay_as_they_are(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    state, _ = run(net, photos, problem, steps=3)
    for name in ("input", "output", "negative_slope"):
        assert_close(state.params[name], net[name], rtol=0)


def test_batch_norm_keeps_running_statistics(
    photos: jax.Array, problem: loop.Problem
) -> None:
    net = init_net(jax.random.key(0), width=2, blocks=1, norm="batch")
    state, _ = run(net, photos, problem)
    _, kept = jax.jit(stylize_in_training)(net, photos / jnp.float32(255))
    for statistic in ("mean", "variance"):
        assert_close(state.params["norm1"][statistic], kept["norm1"][statistic])
        assert bool((kept["norm1"][statistic] != net["norm1"][statistic]).all())


def test_bfloat16_gives_about_the_same_loss_in_float32(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    _, [metrics] = run(net, photos, problem)
    in_half = jax.jit(loop.make_step(OPTIMIZER, dtype=jnp.bfloat16))
    state, [half] = run(net, photos, problem, step=in_half)
    assert half["loss"] == pytest.approx(metrics["loss"], rel=0.02)
    assert half["loss"] != metrics["loss"]
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(state.params)}
    assert dtypes == {np.dtype(np.float32)}


class Refusing(VGG):
    """An extractor that cannot be used unnoticed."""

    def blocks(self, params: Any, *, dtype: Any = None) -> Any:
        raise ValueError("refused")


def test_the_extractor_is_that_of_the_objective(
    net: Params, photos: jax.Array, problem: loop.Problem, style: jax.Array
) -> None:
    objective = Objective(extractor=Refusing())
    with pytest.raises(ValueError, match="refused"):
        loop.make_problem(
            problem.params,
            [style],
            WEIGHTS,
            objective=objective,
        )
    unknown = problem._replace(targets=replace(problem.targets, objective=objective))
    with pytest.raises(ValueError, match="refused"):
        jax.eval_shape(loop.evaluate, net, photos, unknown)
    step = loop.make_step(OPTIMIZER)
    with pytest.raises(ValueError, match="refused"):
        jax.eval_shape(step, loop.init_state(net, OPTIMIZER), photos, unknown)


def test_several_styles_are_blended(
    shallow: Params, style: jax.Array, content: jax.Array
) -> None:
    first, second, both = (
        loop.make_problem(shallow, styles, WEIGHTS, style_weights=shares).targets.style
        for styles, shares in [
            ([style], None),
            ([content], None),
            ([style, content], [3.0, 1.0]),
        ]
    )
    for layer in WEIGHTS.style:
        expected = 0.75 * first[layer] + 0.25 * second[layer]
        assert_close(both[layer], expected)


def test_an_unknown_layer_is_named(shallow: Params, style: jax.Array) -> None:
    weights = Weights({"relu9_9": 1.0}, {"relu1_1": 1.0})
    with pytest.raises(ValueError, match="no layer relu9_9"):
        loop.make_problem(shallow, [style], weights)


def test_content_is_seen_no_deeper_than_its_layer(
    net: Params, photos: jax.Array, raw: Params, style: jax.Array
) -> None:
    """Style layers below it cost one pass over the stylized images only."""
    counts = {}
    for layer in ("relu1_1", "relu2_2"):
        weights = Weights({layer: 1.0}, {"relu3_1": 1.0})
        problem = loop.make_problem(raw, [style], weights)
        evaluate = jax.jit(loop.evaluate).trace(net, photos, problem)
        text = evaluate.lower(lowering_platforms=("cuda",)).as_text()
        counts[layer] = text.count("stablehlo.convolution(")
    convolutions_of_the_net = 8
    assert counts["relu1_1"] == convolutions_of_the_net + 5 + 1
    assert counts["relu2_2"] == convolutions_of_the_net + 5 + 4


def test_stability_is_what_noise_in_the_photos_changes(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    images = photos / jnp.float32(255)
    run, key = jax.jit(stylize), jax.random.key(3)
    stylized = run(net, images)
    change = jax.jit(loop.stability_loss)(net, images, stylized, key)
    noise = jax.random.uniform(key, images.shape, minval=-loop.NOISE, maxval=loop.NOISE)
    assert float(jnp.abs(noise).max()) > 0.9 * loop.NOISE
    expected = jnp.square(run(net, images + noise) - stylized).mean()
    assert float(change) == pytest.approx(float(expected), rel=1e-4)
    assert float(change) > 0


def test_a_weight_on_stability_makes_nets_steadier(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    steady_step = jax.jit(loop.make_step(OPTIMIZER, stability=1e5))
    plain, history = run(net, photos, problem, steps=30)
    steady, steadier = run(net, photos, problem, step=steady_step, steps=30)
    assert history[0]["content"] == pytest.approx(steadier[0]["content"])
    first = steadier[0]
    parts = ("content", "style", "total_variation", "stability")
    assert first["loss"] == pytest.approx(sum(first[part] for part in parts))
    images = photos / jnp.float32(255)

    @jax.jit
    def change(params: Params) -> jax.Array:
        key = jax.random.key(7)
        return loop.stability_loss(params, images, stylize(params, images), key)

    assert change(steady.params) < 0.5 * change(plain.params)


def test_noise_differs_from_step_to_step_and_comes_again(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    still = optax.sgd(0.0)
    step = jax.jit(loop.make_step(still, stability=1.0))
    state = loop.init_state(net, still)
    second, first_metrics = step(state, photos, problem)
    _, second_metrics = step(second, photos, problem)
    _, again = step(second, photos, problem)
    assert first_metrics["stability"] != second_metrics["stability"]
    assert second_metrics["stability"] == again["stability"]


def test_no_gradient_is_scattered_on_gpus(
    net: Params, photos: jax.Array, problem: loop.Problem
) -> None:
    """Such sums have no fixed order, or none that can be compiled."""
    state = loop.init_state(net, OPTIMIZER)
    traced = jax.jit(loop.make_step(OPTIMIZER)).trace(state, photos, problem)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "convolution" in text
    assert "scatter" not in text


def test_compilers_know_what_makes_programs_repeatable() -> None:
    (options,) = REPEATABLE.values()
    jax.jit(jnp.sin).lower(1.0).compile(options)
