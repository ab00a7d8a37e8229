"""Agreement with the multi-scale recipe in PyTorch, in float64, on stored values.

scripts/make_golden_wasserstein.py made them and says how. This package computes in
float32 here.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxstyle
from jaxstyle.kernels.factorizations import product
from jaxstyle.losses.objective import Objective, Weights
from jaxstyle.losses.style import (
    STYLE_LOSSES,
    Gaussian,
    StyleLoss,
    covariance,
)
from jaxstyle.losses.targets import make_targets
from jaxstyle.losses.terms import Moments, moments
from jaxstyle.optimize import Keeper, State, keep_average, steps
from jaxstyle.vgg import VGG

Params = dict[str, Any]
Golden = dict[str, np.ndarray]

PATH = Path(__file__).parent / "golden" / "wasserstein.npz"
REMEDY = "if this change is meant, run: python scripts/make_golden_wasserstein.py"

# As in scripts/make_golden_wasserstein.py.
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_WEIGHTS = dict(zip(LAYERS, (w / 341 for w in (256, 64, 16, 4, 1)), strict=True))
WEIGHTS = Weights({"relu4_2": 0.015}, STYLE_WEIGHTS, isotropic_variation=2.0)
STEPS = 20
AVERAGES = (1, 10, 20)


# --- the roots of the recipe --------------------------------------------------------


def iterate(change: Any, start: Any) -> Any:
    """Make the recipe's 12 iterations."""
    return jax.lax.fori_loop(0, 12, lambda _, pair: change(*pair), start)


@jax.custom_vjp
def plain_root(matrix: jax.Array) -> jax.Array:
    """Compute a root as the recipe does, without scales."""
    norm, eye = jnp.linalg.norm(matrix), jnp.eye(len(matrix), dtype=matrix.dtype)

    def change(y: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        t = (3 * eye - product(z, y)) / 2
        return product(y, t), product(t, z)

    return iterate(change, (matrix / norm, eye))[0] * jnp.sqrt(norm)


def plain_forward(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    root = plain_root(matrix)
    return root, root


def plain_backward(root: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    """Solve the equation of the root's gradient by as many iterations."""
    norm, eye = jnp.linalg.norm(root), jnp.eye(len(root), dtype=root.dtype)

    def change(a: jax.Array, q: jax.Array) -> tuple[jax.Array, jax.Array]:
        e = 3 * eye - product(a, a)
        commutator = product(a.mT, q) - product(q, a)
        return product(a, e) / 2, (product(q, e) - product(a.mT, commutator)) / 2

    return (iterate(change, (root / norm, g / norm))[1] / 2,)


plain_root.defvjp(plain_forward, plain_backward)


def compare_by_plain_roots(found: Moments, target: Gaussian) -> jax.Array:
    """Compute the recipe's distance."""
    sigma = covariance(found)
    overlap = jnp.trace(plain_root(product(product(target.root, sigma), target.root)))
    spread = jnp.trace(target.covariance) + jnp.trace(sigma) - 2 * overlap
    return jnp.square(found.mean - target.mean).mean() + spread / len(found.mean)


def make_plain_target(moments: Moments) -> Gaussian:
    """Compute the recipe's target."""
    sigma = covariance(moments)
    return Gaussian(moments.mean, sigma, plain_root(sigma))


RECIPE = StyleLoss(make_plain_target, compare_by_plain_roots)

OBJECTIVE = Objective(extractor=VGG(padding="replicate"), style_loss=RECIPE)

CASES = {
    "the recipe": (RECIPE, "wasserstein", 1e-4),
    "exact": (STYLE_LOSSES["wasserstein-exact"], "wasserstein-exact", 1e-4),
    "scaled iterations": (STYLE_LOSSES["wasserstein"], "wasserstein-exact", 5e-3),
}
"""What is compared with which stored distances, and how finely."""


@pytest.fixture(scope="module")
def recorded() -> Golden:
    """What the script stored."""
    with np.load(PATH) as file:
        return dict(file)


@pytest.fixture(scope="module")
def normalized(raw: Params, recorded: Golden) -> Params:
    """The shipped network, divided by the mean activations that the script had."""
    layers = {
        name: layer
        | {"mean_activation": jnp.full_like(layer["bias"], recorded[f"scale/{name}"])}
        for name, layer in raw.items()
        if name.startswith("conv")
    }
    return dict(jaxstyle.vgg.normalize(raw | layers))


@pytest.fixture(scope="module")
def images(recorded: Golden) -> tuple[jax.Array, jax.Array]:
    """The content, [36, 48, 3], and the style, [44, 40, 3]."""
    content, style = (
        jnp.asarray(recorded[name] / np.float32(255)) for name in ("content", "style")
    )
    return content, style


def relative_error(found: Any, expected: np.ndarray) -> float:
    """Return the norm of the difference over that of what is expected."""
    difference = np.linalg.norm(np.float64(found) - expected)
    return float(difference / np.linalg.norm(expected))


# --- one evaluation -----------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_distances_and_their_gradient(
    normalized: Params,
    images: tuple[jax.Array, jax.Array],
    recorded: Golden,
    case: str,
) -> None:
    (make_target, compare, _), name, tolerance = CASES[case]

    @jax.jit
    def solve(params: Params, content: jax.Array, style: jax.Array) -> Any:
        def distances(image: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            found = jaxstyle.vgg.features(params, image, padding="replicate")
            by_layer = {
                layer: compare(moments(found[layer]), targets[layer])
                for layer in LAYERS
            }
            total = sum(STYLE_WEIGHTS[layer] * by_layer[layer] for layer in LAYERS)
            return jnp.asarray(total), by_layer

        painted = jaxstyle.vgg.features(params, style, padding="replicate")
        targets = {layer: make_target(moments(painted[layer])) for layer in LAYERS}
        return jax.grad(distances, has_aux=True)(content)

    gradient, by_layer = solve(normalized, *images)
    for layer in LAYERS:
        np.testing.assert_allclose(
            by_layer[layer],
            recorded[f"{name}/{layer}"],
            rtol=tolerance,
            err_msg=f"{layer}: {REMEDY}",
        )
    error = relative_error(gradient, recorded[f"{name}/gradient"])
    assert error < 10 * tolerance, REMEDY


def test_both_roots_are_told_apart(recorded: Golden) -> None:
    """Their difference is what the comparison is finer than."""
    for layer in LAYERS[:3]:
        iterated, exact = (
            float(recorded[f"{name}/{layer}"])
            for name in ("wasserstein", "wasserstein-exact")
        )
        assert iterated > 1.01 * exact


# --- twenty steps -------------------------------------------------------------------


@pytest.fixture(scope="module")
def keeper() -> Keeper:
    return keep_average(0.99)


def widen(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(np.float64(x)), tree)


@pytest.fixture(scope="module")
def history(
    normalized: Params, images: tuple[jax.Array, jax.Array], keeper: Keeper
) -> tuple[list[float], list[State]]:
    """The loss before every step, and the state after it, in float64.

    Adam divides small gradients by their size, which makes of rounding in float32, each
    processor's own, up to a thousandth after so many steps.
    """
    with jax.enable_x64(True):
        content, style = widen(images)
        targets = jax.jit(
            lambda params, content, style: make_targets(
                params, content, [style], WEIGHTS, objective=OBJECTIVE
            )
        )(widen(normalized), content, style)
        problem = steps.Problem(widen(normalized), targets, WEIGHTS)
        optimizer = jaxstyle.optimize.adam()
        state = steps.init_state(content, optimizer, keeper=keeper)
        step = jax.jit(steps.make_step(optimizer, keeper=keeper))
        losses, states = [], []
        for _ in range(STEPS):
            state, metrics = step(state, problem)
            losses.append(float(metrics["loss"]))
            states.append(state)
    return losses, states


def test_losses_agree_step_by_step(
    history: tuple[list[float], list[State]], recorded: Golden
) -> None:
    losses, _ = history
    assert len(losses) == STEPS
    expected = recorded["adam/losses"]
    np.testing.assert_allclose(losses, expected, rtol=1e-6, err_msg=REMEDY)


def test_images_and_averages_agree(
    history: tuple[list[float], list[State]], recorded: Golden, keeper: Keeper
) -> None:
    _, states = history
    start = recorded["content"] / np.float32(255)
    found: dict[str, Any] = {"image": np.asarray(states[-1].image)}
    with jax.enable_x64(True):
        found |= {f"average/{n}": keeper.picture(states[n - 1].kept) for n in AVERAGES}
    for name, image in found.items():
        expected = recorded[f"adam/{name}"]
        assert relative_error(image, expected) < 1e-6, f"{name}: {REMEDY}"
        # How far they went from the start says more than where they are.
        moved = relative_error(np.asarray(image) - start, expected - start)
        assert moved < 1e-5, f"{name}: {REMEDY}"
