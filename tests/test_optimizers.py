"""Optimizers of pixels, on objectives that take no network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle.optimize.optimizers import OPTIMIZERS, in_spectral_basis, stay_in_range

SIZES = [(8, 8), (7, 9), (6, 11), (9, 4), (2, 1), (1, 1)]

Objective = Callable[[jax.Array], jax.Array]


def make_image(height: int, width: int, *, seed: int = 0) -> jax.Array:
    generator = np.random.default_rng(seed)
    return jnp.asarray(generator.normal(size=(height, width, 3)).astype(np.float32))


def filter_spectrum(image: jax.Array, exponent: float) -> np.ndarray:
    """Apply the basis by the whole complex spectrum, in float64."""
    height, width, _ = image.shape
    longest = max(height, width)
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    cycles = np.maximum(longest * np.hypot(down, across), 1)
    gain = (3 * cycles / longest)[..., None] ** exponent
    spectrum = np.fft.fft2(np.float64(image), axes=(0, 1))
    filtered = np.fft.ifft2(spectrum * gain, axes=(0, 1))
    np.testing.assert_allclose(filtered.imag, 0, atol=1e-12)
    return filtered.real.astype(np.float32)


def first_update(
    optimizer: optax.GradientTransformation, gradient: jax.Array, image: jax.Array
) -> jax.Array:
    @jax.jit
    def update(gradient: jax.Array, image: jax.Array) -> jax.Array:
        return jnp.asarray(optimizer.update(gradient, optimizer.init(image), image)[0])

    return jnp.asarray(update(gradient, image))


def run(
    optimizer: optax.GradientTransformation,
    objective: Objective,
    image: jax.Array,
    *,
    steps: int,
) -> tuple[jax.Array, jax.Array]:
    """Return the last image and the value before each step."""
    with_extra = optax.with_extra_args_support(optimizer)

    @jax.jit
    def descend(image: jax.Array) -> Any:
        def step(carry: Any, _: None) -> Any:
            image, state = carry
            value, gradient = jax.value_and_grad(objective)(image)
            updates, state = with_extra.update(
                gradient, state, image, value=value, grad=gradient, value_fn=objective
            )
            return (optax.apply_updates(image, updates), state), value

        start = image, with_extra.init(image)
        (image, _), values = jax.lax.scan(step, start, length=steps)
        return image, values

    image, values = descend(image)
    return image, values


def blurred_distance(target: jax.Array) -> Objective:
    """Return an objective whose curvature differs by a factor of 1,000."""
    height, width, _ = target.shape
    curvature = jnp.logspace(0, -3, height * width * 3).reshape(target.shape)
    return lambda image: (curvature * jnp.square(image - target)).sum()


# --- the spectral basis -------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_gradient_step_is_filtered_twice(height: int, width: int) -> None:
    image, gradient = make_image(height, width), make_image(height, width, seed=1)
    optimizer = in_spectral_basis(optax.sgd(0.5), exponent=0.4)
    updates = first_update(optimizer, gradient, image)
    assert_close(updates, -0.5 * filter_spectrum(gradient, -0.8))


@pytest.mark.parametrize("exponent", [-0.5, 0.25])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_way_into_the_basis_is_undone_exactly(
    height: int, width: int, exponent: float
) -> None:
    """An inner update by the image itself comes out as the image."""
    echo = optax.GradientTransformation(
        lambda _: optax.EmptyState(), lambda _, state, image: (image, state)
    )
    optimizer = in_spectral_basis(echo, exponent=exponent)
    image = make_image(height, width)
    assert_close(first_update(optimizer, image, image), image)


@pytest.mark.parametrize("inner", [optax.adam(0.1), optax.lbfgs(1.0, linesearch=None)])
def test_the_exponent_0_changes_nothing(inner: optax.GradientTransformation) -> None:
    target = make_image(6, 7)
    image = make_image(6, 7, seed=1)
    objective = blurred_distance(target)
    plain, _ = run(inner, objective, image, steps=6)
    in_basis, _ = run(in_spectral_basis(inner, exponent=0.0), objective, image, steps=6)
    assert_close(in_basis, plain, rtol=1e-4)


def test_coarse_structure_moves_further() -> None:
    optimizer = in_spectral_basis(optax.sgd(1.0), exponent=0.5)
    moves = []
    for cycles in (1, 4, 16):
        row = np.cos(2 * np.pi * cycles * np.arange(32, dtype=np.float32) / 32)
        wave = jnp.asarray(np.tile(row[:, None, None], (1, 32, 3)))
        moves.append(np.abs(first_update(optimizer, wave, wave)).max())
    assert moves[0] == pytest.approx(4 * moves[1], rel=1e-4)
    assert moves[1] == pytest.approx(4 * moves[2], rel=1e-4)


def test_white_noise_keeps_about_its_size() -> None:
    gradient = make_image(48, 64)
    optimizer = in_spectral_basis(optax.sgd(1.0), exponent=0.25)
    updates = first_update(optimizer, gradient, gradient)
    assert 0.7 < float(updates.std() / gradient.std()) < 1.4


def test_the_inner_optimizer_sees_only_the_basis() -> None:
    image, gradient = make_image(6, 7), make_image(6, 7, seed=1)

    def update(updates: jax.Array, _: Any, z: jax.Array, **extra: Any) -> Any:
        return updates, (updates, z, extra["grad"], extra["value_fn"](z))

    blank = (image, image, image, jnp.zeros(()))
    spy = optax.GradientTransformationExtraArgs(lambda _: blank, update)
    optimizer = in_spectral_basis(spy, exponent=0.5)
    _, seen = optimizer.update(
        gradient,
        optimizer.init(image),
        image,
        grad=gradient,
        value_fn=lambda image: (image**3).sum(),
    )
    slope = filter_spectrum(gradient, -0.5)
    point = filter_spectrum(image, 0.5)
    assert_close(seen[:3], (slope, point, slope))
    assert_close(seen[3], (image**3).sum())


def test_line_searches_work_in_the_basis() -> None:
    target = make_image(6, 7)
    optimizer = in_spectral_basis(optax.lbfgs(), exponent=0.25)
    image = jnp.zeros_like(target)
    _, values = run(optimizer, blurred_distance(target), image, steps=40)
    assert bool((jnp.diff(values) <= 1e-6).all())
    assert values[-1] < 1e-3 * values[0]


# --- L-BFGS -------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.25])
def test_lbfgs_gets_further_than_gradient_descent(exponent: float) -> None:
    target = 0.1 * make_image(8, 9)
    objective, start = blurred_distance(target), jnp.zeros_like(target)
    _, values = run(
        jaxstyle.optimize.lbfgs(exponent=exponent), objective, start, steps=60
    )
    descents = [
        run(optax.sgd(rate), objective, start, steps=60)[1].min()
        for rate in (0.25, 0.5, 0.9)
    ]
    assert values.min() < 0.1 * min(descents)


def test_lbfgs_takes_back_what_ends_above_the_first_loss() -> None:
    """On a wall that its first step runs into, however high."""
    target = jnp.full((4, 5, 3), 0.5)

    def wall(image: jax.Array) -> jax.Array:
        distance = jnp.abs(image - target)
        return (distance + 1e4 * jnp.square(jnp.maximum(distance - 0.5, 0))).sum()

    start = jnp.zeros_like(target)
    _, values = run(jaxstyle.optimize.lbfgs(), wall, start, steps=30)
    above = values > values[0]
    assert not bool((above[1:] & above[:-1]).all())
    assert float(values[-1]) < 0.5 * float(values[0])


@pytest.mark.parametrize("curvature", [1e-4, 1.0, 1e4])
def test_lbfgs_is_back_below_the_start_after_any_step(curvature: float) -> None:
    """Where the gradient grows less, and then more, than the first step has shown."""
    target = make_image(5, 6)

    def steep(image: jax.Array) -> jax.Array:
        return curvature * (jnp.abs(image - target) ** 4).sum()

    start = jnp.zeros_like(target)
    _, values = run(jaxstyle.optimize.lbfgs(), steep, start, steps=60)
    assert bool(jnp.isfinite(values).all())
    assert float(values.min()) < 1e-3 * float(values[0])
    assert float(values[-1]) <= float(values[0])


def test_lbfgs_stays_where_nothing_pulls() -> None:
    image = make_image(4, 5)
    zero = jnp.zeros_like(image)
    assert_close(first_update(jaxstyle.optimize.lbfgs(), zero, image), zero)


def test_lbfgs_evaluates_once_a_step() -> None:
    """It takes no function to search along."""
    image = make_image(4, 5)
    updates = first_update(jaxstyle.optimize.lbfgs(), image, image)
    assert bool(jnp.isfinite(updates).all())


def test_lbfgs_remembers_as_many_steps_as_asked() -> None:
    state = jax.eval_shape(
        jaxstyle.optimize.lbfgs(memory_size=3).init, make_image(4, 5)
    )
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert shapes.count((3, 4, 5, 3)) == 2


def test_lbfgs_works_under_vmap() -> None:
    target = make_image(5, 6)
    starts = jnp.stack([make_image(5, 6, seed=seed) for seed in (1, 2)])
    objective = blurred_distance(target)
    optimizer = jaxstyle.optimize.lbfgs()
    images, _ = jax.vmap(lambda x: run(optimizer, objective, x, steps=5))(starts)
    alone, _ = run(optimizer, objective, starts[1], steps=5)
    assert_close(images[1], alone, rtol=1e-4)


# --- Adam and the range -------------------------------------------------------------


def test_adam_is_adam() -> None:
    """Three steps in the middle of the range, against the formula."""
    start = jnp.full((2, 3, 3), 0.5)
    gradients = [make_image(2, 3, seed=seed) for seed in range(3)]
    optimizer, image = jaxstyle.optimize.adam(learning_rate=0.01), start
    state = optimizer.init(image)
    expected = np.asarray(start, np.float64)
    first, second = np.zeros_like(expected), np.zeros_like(expected)
    for t, gradient in enumerate(gradients, start=1):
        updates, state = optimizer.update(gradient, state, image)
        image = optax.apply_updates(image, updates)
        first = 0.9 * first + 0.1 * np.float64(gradient)
        second = 0.99 * second + 0.01 * np.float64(gradient) ** 2
        slope = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
        expected = expected - 0.01 * slope
    assert_close(image, jnp.asarray(np.float32(expected)))


def test_updates_are_cut_to_the_range() -> None:
    image = jnp.array([0.0, 0.2, 0.5, 1.0, 1.0]).reshape(5, 1, 1) * jnp.ones(3)
    updates = jnp.array([-1.0, 0.3, 2.0, 0.1, -0.4]).reshape(5, 1, 1) * jnp.ones(3)
    cut, _ = stay_in_range().update(updates, optax.EmptyState(), image)
    expected = jnp.array([0.0, 0.3, 0.5, 0.0, -0.4]).reshape(5, 1, 1) * jnp.ones(3)
    assert_close(cut, expected, rtol=1e-6)


def test_the_range_is_that_of_an_image() -> None:
    with pytest.raises(ValueError, match="stay_in_range needs the image"):
        stay_in_range().update(jnp.zeros((1, 1, 3)), optax.EmptyState())


# --- all ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_by_name_lower_an_objective(name: str) -> None:
    target = jax.nn.sigmoid(make_image(6, 7))
    _, values = run(
        OPTIMIZERS[name](), blurred_distance(target), jnp.zeros((6, 7, 3)), steps=20
    )
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_by_name_accept_what_a_step_tells_them(name: str) -> None:
    image = make_image(4, 5)
    optimizer = OPTIMIZERS[name]()

    def update(image: jax.Array) -> Any:
        told = {"value": jnp.sum(image), "grad": image, "value_fn": jnp.sum}
        return optimizer.update(image, optimizer.init(image), image, **told)[0]

    updates = jax.eval_shape(update, image)
    assert updates.shape == image.shape
    assert updates.dtype == image.dtype
