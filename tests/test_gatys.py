"""Style optimization: single steps, many steps, and whole runs."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import Objective, Problem
from jaxstyle.optimize import State, init_state, make_step, run_steps
from jaxstyle.vgg import VGG

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 1.0}, {"relu1_1": 1e3, "relu2_1": 1e3}, 1.0)
CAPACITY = 30

OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "lbfgs": jaxstyle.optimize.lbfgs,
    "adam": jaxstyle.optimize.adam,
    "sgd of optax": lambda: optax.sgd(1.0),
    "lbfgs of optax, with line search": optax.lbfgs,
}


@pytest.fixture(scope="module")
def problem(shallow: Params, content: jax.Array, style: jax.Array) -> Problem:
    targets = jaxstyle.losses.make_targets(shallow, content, [style], WEIGHTS)
    return Problem(shallow, targets, WEIGHTS)


class Compiled(NamedTuple):
    """An optimizer, and its steps one at a time and many at once."""

    optimizer: optax.GradientTransformation
    step: Callable[..., tuple[State, dict[str, jax.Array]]]
    run: Callable[..., tuple[State, dict[str, jax.Array]]]


def compiled(optimizer: optax.GradientTransformation) -> Compiled:
    step = make_step(optimizer)
    run = partial(run_steps, step, capacity=CAPACITY)
    return Compiled(optimizer, jax.jit(step), jax.jit(run))


@cache
def compiled_by_name(name: str) -> Compiled:
    """Return an optimizer whose programs several tests share."""
    return compiled(OPTIMIZERS[name]())


def explode_after(count: int) -> optax.GradientTransformation:
    """Return a small descent whose update number ``count``, from 0, is not a number."""

    def update(updates: jax.Array, state: jax.Array, _: Any = None) -> Any:
        return jnp.where(state == count, jnp.nan, -1e-4 * updates), state + 1

    return optax.GradientTransformation(lambda _: jnp.zeros((), jnp.int32), update)


@cache
def compiled_to_explode(count: int) -> Compiled:
    """Return the steps of `explode_after`, which two tests share."""
    return compiled(explode_after(count))


# --- the first state ----------------------------------------------------------------


def test_the_first_state_knows_no_loss(noisy: jax.Array) -> None:
    state = init_state(noisy, jaxstyle.optimize.adam())
    assert state.step == 0
    assert state.kept.loss == jnp.inf
    assert_close([state.image, state.kept.image], [noisy, noisy], rtol=0)


@pytest.mark.parametrize("shape", [(2, 24, 32, 3), (24, 32), (24, 32, 4)])
def test_an_initial_image_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the initial image must .* got \("):
        init_state(jnp.zeros(shape), jaxstyle.optimize.adam())


def test_an_initial_image_in_8_bits_is_refused() -> None:
    with pytest.raises(TypeError, match="the initial image must hold floating-point"):
        init_state(jnp.zeros((24, 32, 3), jnp.uint8), jaxstyle.optimize.adam())


# --- steps --------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_loss_goes_down(problem: Problem, noisy: jax.Array, name: str) -> None:
    optimizer, _, run = compiled_by_name(name)
    state, history = run(init_state(noisy, optimizer), problem, 15)
    losses = history["loss"][:15]
    assert bool(jnp.isfinite(losses).all())
    assert state.kept.loss == losses.min()
    assert state.kept.loss < 0.7 * losses[0]


def test_a_step_evaluates_the_loss_where_the_state_is(
    problem: Problem, noisy: jax.Array
) -> None:
    optimizer, step, _ = compiled_by_name("adam")
    state, metrics = step(init_state(noisy, optimizer), problem)
    params, targets, weights = problem
    loss, parts = jaxstyle.losses.perceptual_loss(params, noisy, targets, weights)
    assert_close(metrics, {"loss": loss, **parts})
    assert state.step == 1
    assert state.kept.loss == metrics["loss"]
    assert_close(state.kept.image, noisy, rtol=0)
    assert float(jnp.abs(state.image - noisy).max()) == pytest.approx(0.02, rel=1e-3)


def test_a_step_has_the_objective_of_the_targets(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> None:
    params = jaxstyle.vgg.truncate(shallow, ["relu1_1"])
    weights = Weights({"relu1_1": 1.0}, {"relu1_1": 1e3})
    objective = Objective(extractor=VGG(padding="replicate"), style_loss="mean-std")
    targets = jaxstyle.losses.make_targets(
        params, content, [style], weights, objective=objective
    )
    optimizer = jaxstyle.optimize.adam()
    step = jax.jit(make_step(optimizer))
    problem = Problem(params, targets, weights)
    _, metrics = step(init_state(noisy, optimizer), problem)
    loss, parts = jaxstyle.losses.perceptual_loss(params, noisy, targets, weights)
    assert_close(metrics, {"loss": loss, **parts})


def test_optimizers_are_told_the_value_and_the_gradient(
    problem: Problem, noisy: jax.Array
) -> None:
    def update(updates: jax.Array, _: Any, image: jax.Array, **extra: Any) -> Any:
        told = extra["value"], extra["value_fn"](image), extra["grad"], updates
        return jnp.zeros_like(updates), told

    blank = (jnp.zeros(()), jnp.zeros(()), noisy, noisy)
    spy = optax.GradientTransformationExtraArgs(lambda _: blank, update)
    state, metrics = jax.jit(make_step(spy))(init_state(noisy, spy), problem)
    value, again, gradient, updates = state.optimizer_state
    assert_close([value, again], [metrics["loss"]] * 2, rtol=1e-6)
    assert_close(gradient, updates, rtol=0)


def test_the_best_image_is_kept_when_the_loss_rises(
    problem: Problem, noisy: jax.Array
) -> None:
    optimizer, _, run = compiled(
        jaxstyle.optimize.adam(learning_rate=0.5)
    )  # far too much
    state, history = run(init_state(noisy, optimizer), problem, 8)
    losses = history["loss"][:8]
    assert losses[-1] > losses.min()
    assert state.kept.loss == losses.min()
    params, targets, weights = problem
    loss, _ = jaxstyle.losses.perceptual_loss(
        params, state.kept.image, targets, weights
    )
    assert_close(loss, state.kept.loss)


def test_adam_keeps_pixels_in_range(problem: Problem, noisy: jax.Array) -> None:
    optimizer, step, _ = compiled_by_name("adam")
    state = init_state(jnp.round(noisy), optimizer)
    for _ in range(4):
        state, _metrics = step(state, problem)
        assert state.image.min() >= 0
        assert state.image.max() <= 1


# --- many steps ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
def test_many_steps_are_single_steps(
    problem: Problem, noisy: jax.Array, name: str
) -> None:
    optimizer, step, run = compiled_by_name(name)
    start = init_state(noisy, optimizer)
    state, losses = start, []
    for _ in range(6):
        state, metrics = step(state, problem)
        losses.append(metrics["loss"])
    end, history = run(start, problem, 6)
    assert end.step == state.step == 6
    assert_close(history["loss"][:6], jnp.stack(losses), rtol=1e-5)
    assert_close(
        [end.image, end.kept.image], [state.image, state.kept.image], rtol=1e-4
    )


def test_steps_that_were_not_made_are_nan(problem: Problem, noisy: jax.Array) -> None:
    optimizer, _, run = compiled_by_name("adam")
    state, history = run(init_state(noisy, optimizer), problem, 4)
    assert state.step == 4
    assert history.keys() == {"loss", "content", "style", "total_variation"}
    for metric in history.values():
        assert metric.shape == (CAPACITY,)
        assert bool(jnp.isfinite(metric[:4]).all())
        assert bool(jnp.isnan(metric[4:]).all())


def test_no_steps_change_nothing(problem: Problem, noisy: jax.Array) -> None:
    optimizer, _, run = compiled_by_name("adam")
    start = init_state(noisy, optimizer)
    state, history = run(start, problem, 0)
    assert_close(state, start, rtol=0)
    assert bool(jnp.isnan(history["loss"]).all())


def test_runs_can_be_continued(problem: Problem, noisy: jax.Array) -> None:
    optimizer, _, run = compiled_by_name("adam")
    start = init_state(noisy, optimizer)
    whole, history = run(start, problem, 7)
    halfway, first = run(start, problem, 3)
    end, second = run(halfway, problem, 4)
    assert_close(end, whole, rtol=0)
    losses = jnp.concatenate([first["loss"][:3], second["loss"][:4]])
    assert_close(losses, history["loss"][:7], rtol=0)


def test_the_same_run_gives_the_same_bits(problem: Problem, noisy: jax.Array) -> None:
    optimizer, _, run = compiled_by_name("adam")
    first, second = (run(init_state(noisy, optimizer), problem, 9) for _ in range(2))
    assert_close(first[0], second[0], rtol=0)
    np.testing.assert_array_equal(first[1]["loss"], second[1]["loss"])


def test_other_counts_weights_and_images_do_not_recompile(
    problem: Problem, noisy: jax.Array, content: jax.Array
) -> None:
    optimizer, traces = optax.sgd(1e-3), []
    inner = make_step(optimizer)

    def step(state: State, problem: Problem) -> Any:
        traces.append(state)
        return inner(state, problem)

    run = jax.jit(partial(run_steps, step, capacity=CAPACITY))
    run(init_state(noisy, optimizer), problem, 2)
    count = len(traces)
    other = Weights({"relu2_1": 3.0}, {"relu1_1": 2.0, "relu2_1": 1.0}, 0.0)
    run(init_state(content, optimizer), problem._replace(weights=other), 5)
    assert len(traces) == count


# --- losses that are not finite -----------------------------------------------------


def test_a_run_stops_at_a_loss_that_is_not_finite(
    problem: Problem, noisy: jax.Array
) -> None:
    last_good = 3
    optimizer, _, run = compiled_to_explode(last_good)
    state, history = run(init_state(noisy, optimizer), problem, 20)
    assert state.step == last_good + 2  # the update took effect one step later
    assert bool(jnp.isfinite(history["loss"][: last_good + 1]).all())
    assert bool(jnp.isnan(history["loss"][last_good + 1 :]).all())
    assert state.kept.loss == history["loss"][: last_good + 1].min()
    assert bool(jnp.isfinite(state.kept.image).all())


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_run_without_any_finite_loss_keeps_the_first_image(
    problem: Problem, noisy: jax.Array, weight: float
) -> None:
    optimizer, _, run = compiled_by_name("adam")
    broken = problem._replace(weights=WEIGHTS._replace(total_variation=weight))
    state, _ = run(init_state(noisy, optimizer), broken, 5)
    assert state.step == 1
    assert state.kept.loss == jnp.inf
    assert_close(state.kept.image, noisy, rtol=0)


def test_a_lane_that_is_not_finite_ends_alone(
    problem: Problem, noisy: jax.Array
) -> None:
    """The second lane explodes; a third has no steps to make."""
    optimizer, _, run = compiled_to_explode(3)
    run_lanes = jax.jit(jax.vmap(run, (0, None, 0)))
    init_lanes = jax.jit(jax.vmap(partial(init_state, optimizer=optimizer)))
    states = init_lanes(jnp.stack([noisy] * 3))
    early = jnp.array([-9, 0, 0], jnp.int32)  # the first one never comes to 3
    states = states._replace(optimizer_state=early)
    found, history = run_lanes(states, problem, jnp.array([7, 7, 0]))
    assert found.step.tolist() == [7, 5, 0]
    losses = np.asarray(history["loss"])
    assert np.isfinite(losses).sum(1).tolist() == [7, 4, 0]
    for lane, count in enumerate((7, 7)):
        start = init_state(noisy, optimizer)._replace(optimizer_state=early[lane])
        state, alone = run(start, problem, count)
        assert_close(losses[lane, :4], alone["loss"][:4])
        assert_close(found.kept.image[lane], state.kept.image)
        assert found.step[lane] == state.step
    again, _ = run_lanes(found, problem, jnp.array([1, 0, 0]))
    assert again.step.tolist() == [8, 5, 0]
    for lane in (1, 2):  # bit for bit as they were
        jax.tree.map(
            lambda a, b, lane=lane: np.testing.assert_array_equal(a[lane], b[lane]),
            again,
            found,
        )


# --- batches ------------------------------------------------------------------------


def test_a_batch_is_a_vmap(
    shallow: Params, content: jax.Array, noisy: jax.Array, style: jax.Array
) -> None:
    optimizer, step, _ = compiled_by_name("lbfgs")
    batch_step = jax.jit(jax.vmap(step, (0, Problem(None, 0, None))))  # type: ignore[arg-type]
    images = jnp.stack([noisy, content])

    def targets_of(content: jax.Array) -> Any:
        return jaxstyle.losses.make_targets(shallow, content, [style], WEIGHTS)

    contents = jnp.stack([content, noisy[::-1]])
    problems = Problem(shallow, jax.jit(jax.vmap(targets_of))(contents), WEIGHTS)
    states = jax.jit(jax.vmap(partial(init_state, optimizer=optimizer)))(images)
    for _ in range(2):
        states, _metrics = batch_step(states, problems)
    for i in range(2):
        problem = Problem(shallow, targets_of(contents[i]), WEIGHTS)
        state = init_state(images[i], optimizer)
        for _ in range(2):
            state, _metrics = step(state, problem)
        assert_close(states.kept.loss[i], state.kept.loss, rtol=1e-4)
        # Where rounding decides which ReLU is active, steps differ.
        assert_close(states.image[i], state.image, rtol=2e-3)
