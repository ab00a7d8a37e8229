"""Many steps of training in one program are single steps on the same batches."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses.perceptual import Metrics
from jaxstyle.nets import init_net
from jaxstyle.optimize import run_steps
from jaxstyle.training import loop

pytestmark = pytest.mark.usefixtures("plain_convolutions")

Params = dict[str, Any]
Album = tuple[jax.Array, jax.Array]

CAPACITY = 12

OPTIMIZER = optax.sgd(1e-4, momentum=0.9)

one_step = loop.make_step(OPTIMIZER)
take = partial(loop.take_batch, batch=2, size=16)


def step_on(
    state: loop.State, given: tuple[Album, loop.Problem]
) -> tuple[loop.State, Metrics]:
    album, problem = given
    return one_step(state, take(*album, state.step), problem)


@pytest.fixture(scope="module")
def album() -> Album:
    """Five photos, smooth rather than noisy, and a key."""
    small = jax.random.uniform(jax.random.key(0), (5, 4, 4, 3))
    large = jax.image.resize(small, (5, 18, 18, 3), "cubic")
    return (255 * jnp.clip(large, 0, 1)).astype(jnp.uint8), jax.random.key(1)


@pytest.fixture(scope="module")
def problem(shallow: Params, style: jax.Array) -> loop.Problem:
    weights = Weights({"relu2_1": 1.0}, {"relu1_1": 2e3, "relu1_2": 1e3}, 0.1)
    return loop.make_problem(shallow, [style], weights)


@pytest.fixture(scope="module")
def start() -> loop.State:
    net = init_net(jax.random.key(0), width=2, blocks=1)
    return loop.init_state(net, OPTIMIZER)


@pytest.fixture(scope="module")
def run(start: loop.State, album: Album, problem: loop.Problem) -> Any:
    """The compiled program, which reuses the memory of its state."""
    jitted = jax.jit(partial(run_steps, step_on, capacity=CAPACITY), donate_argnums=0)
    compiled = jitted.lower(start, (album, problem), jnp.int32(1)).compile()

    def call(state: loop.State, problem: loop.Problem, count: int) -> Any:
        copy, given = jax.tree.map(jnp.copy, state), (album, problem)
        return compiled(copy, given, jnp.int32(count))

    call.compiled = compiled  # type: ignore[attr-defined]
    return call


def test_many_steps_are_single_steps_on_the_batches(
    run: Any, start: loop.State, album: Album, problem: loop.Problem
) -> None:
    step, take_one = jax.jit(one_step), jax.jit(take)
    state, losses = start, []
    for number in range(7):
        state, metrics = step(state, take_one(*album, number), problem)
        losses.append(metrics)
    end, history = run(start, problem, 7)
    assert end.step == state.step == 7
    moved, expected = (
        ravel_pytree(jax.tree.map(jnp.subtract, at.params, start.params))[0]
        for at in (end, state)
    )
    assert_close(moved, expected, rtol=1e-3)
    assert history.keys() == losses[0].keys()
    for name, values in history.items():
        singly = np.stack([metrics[name] for metrics in losses])
        assert_close(values[:7], singly, rtol=1e-4)
        assert bool(jnp.isnan(values[7:]).all())
        assert len(values) == CAPACITY
    assert len(np.unique(history["content"][:7])) == 7


@pytest.mark.parametrize("parts", [(1, 1, 9), (5, 6), (10, 1), (11, 0)])
def test_how_they_are_divided_changes_nothing(
    run: Any, start: loop.State, problem: loop.Problem, parts: tuple[int, ...]
) -> None:
    whole, history = run(start, problem, 11)
    state, losses = start, []
    for count in parts:
        state, metrics = run(state, problem, count)
        losses.append(metrics["loss"][:count])
    assert_close(state, whole, rtol=0)
    np.testing.assert_array_equal(np.concatenate(losses), history["loss"][:11])


def test_a_loss_that_is_not_finite_ends_them(
    run: Any, start: loop.State, problem: loop.Problem
) -> None:
    broken = problem._replace(
        weights=jax.tree.map(lambda weight: weight * np.inf, problem.weights)
    )
    state, history = run(start, broken, 9)
    assert state.step == 1
    assert not bool(jnp.isfinite(history["loss"]).any())


def test_the_host_has_no_part_in_them(
    run: Any, start: loop.State, album: Album, problem: loop.Problem
) -> None:
    arguments = jax.device_put((start, (album, problem), jnp.int32(5)))
    arguments = jax.tree.map(jnp.copy, arguments)
    with jax.transfer_guard("disallow"):
        state, history = run.compiled(*arguments)
        history["loss"].block_until_ready()
    assert state.step == 5
    text = run.compiled.as_text()
    assert len(re.findall(r" while\(", text)) >= 1
    assert not re.findall(r" (infeed|outfeed|send|recv)\(|callback", text)


def test_the_memory_of_the_state_is_reused(run: Any, start: loop.State) -> None:
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(start))
    assert run.compiled.memory_analysis().alias_size_in_bytes >= size
