"""Agreement with an independent VGG-16 in PyTorch, on stored values.

scripts/make_golden.py made them and says how. Everything runs on plain kernels and on
those of `jaxstyle.vgg.prepare_for_cpu`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import Objective, Targets
from jaxstyle.vgg import VGG

Params = dict[str, Any]
Golden = dict[str, np.ndarray]

REMEDY = "if this change is meant, run: python scripts/make_golden.py SOURCE.onnx"

JOHNSON = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
GATYS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# As in scripts/make_golden.py: pooling, and the loss on normalized activations.
PROBLEMS = {
    "seed": ("max", Weights({"relu3_3": 0.5}, dict.fromkeys(JOHNSON, 1e7))),
    "average": ("average", Weights({"relu4_2": 1.0}, dict.fromkeys(GATYS, 1e3), 10.0)),
    "l2": ("l2", Weights({"relu2_2": 1.0}, {"relu1_1": 1e3, "relu4_2": 1e4}, 1.0)),
}

# Each takes seconds to compile, those in the Winograd domain most.
CASES = [("plain", "seed"), ("plain", "average"), ("plain", "l2"), ("winograd", "seed")]

KERNELS: dict[str, Callable[[Params], Params]] = {
    "plain": lambda params: params,
    "winograd": lambda params: dict(jaxstyle.vgg.prepare_for_cpu(params)),
}


class Solved(NamedTuple):
    """What the package finds for one of the problems."""

    features: dict[str, jax.Array]
    targets: Targets
    loss: jax.Array
    parts: dict[str, jax.Array]
    gradient: jax.Array


def with_recorded_means(raw: Params, golden: Golden) -> Params:
    """Return the network with the mean activations that the golden values had."""
    recorded = {
        name: raw[name]
        | {"mean_activation": jnp.full_like(raw[name]["bias"], golden[f"scale/{name}"])}
        for name in raw
        if name.startswith("conv")
    }
    return raw | recorded


def solve(params: Params, golden: Golden, problem: str) -> Solved:
    """Compute everything that is compared, in one program."""
    pooling, weights = PROBLEMS[problem]
    objective = Objective(extractor=VGG(pooling=pooling))

    @jax.jit
    def run(
        params: Params, content: jax.Array, style: jax.Array, image: jax.Array
    ) -> Solved:
        targets = jaxstyle.losses.make_targets(
            params, content, [style], weights, objective=objective
        )
        evaluate = jax.value_and_grad(
            lambda image: jaxstyle.losses.perceptual_loss(
                params, image, targets, weights
            ),
            has_aux=True,
        )
        (loss, parts), gradient = evaluate(image)
        features = jaxstyle.vgg.features(params, image, pooling=pooling)
        return Solved(features, targets, loss, parts, gradient)

    images = (golden[name] / np.float32(255) for name in ("content", "style", "image"))
    solved: Solved = run(params, *images)
    return solved


Solver = Callable[[str, str], Solved]


@pytest.fixture(scope="module")
def solver(raw: Params, golden: Golden) -> Solver:
    """Return what solves a case, each only once."""
    normalized = dict(jaxstyle.vgg.normalize(with_recorded_means(raw, golden)))
    return cache(
        lambda kernels, problem: solve(KERNELS[kernels](normalized), golden, problem)
    )


def sample_error(array: jax.Array, golden: Golden, name: str) -> float:
    """Return the largest error among the stored values, over the largest of these."""
    flat = np.asarray(array).ravel()
    expected = golden[f"{name}/values"]
    error = np.abs(flat[golden[f"places/{flat.size}"]] - expected)
    return float(error.max() / np.abs(expected).max())


def norm_error(array: jax.Array, golden: Golden, name: str) -> float:
    """Return the relative error of the norm."""
    expected = golden[f"{name}/norm"]
    return float(abs(np.linalg.norm(np.float64(array)) - expected) / expected)


# --- features -----------------------------------------------------------------------


@pytest.mark.parametrize(("kernels", "problem"), CASES)
def test_features_of_every_layer(
    solver: Solver, golden: Golden, kernels: str, problem: str
) -> None:
    pooling = PROBLEMS[problem][0]
    features = solver(kernels, problem).features
    assert len(features) == 11
    for layer, x in features.items():
        scaled = x * golden["scale/" + layer.replace("relu", "conv")]
        name = f"features/{pooling}/{layer}"
        assert sample_error(scaled, golden, name) < 1e-4, f"{layer}: {REMEDY}"
        assert norm_error(scaled, golden, name) < 1e-5, f"{layer}: {REMEDY}"


def test_float16_storage_costs_little_in_every_layer(
    solver: Solver, golden: Golden
) -> None:
    for layer, x in solver("plain", "seed").features.items():
        scaled = np.asarray(x * golden["scale/" + layer.replace("relu", "conv")])
        expected = golden[f"float32/{layer}/values"]
        error = scaled.ravel()[golden[f"places/{x.size}"]] - expected
        cost = np.linalg.norm(error) / np.linalg.norm(expected)
        assert 1e-5 < cost < 1e-3, f"{layer}: {REMEDY}"


@pytest.mark.parametrize("kernels", KERNELS)
def test_gram_matrices_of_the_style(
    solver: Solver, golden: Golden, kernels: str
) -> None:
    for layer, gram in solver(kernels, "seed").targets.style.items():
        assert sample_error(gram, golden, f"gram/{layer}") < 1e-4, f"{layer}: {REMEDY}"
        assert norm_error(gram, golden, f"gram/{layer}") < 1e-4, f"{layer}: {REMEDY}"


# --- losses -------------------------------------------------------------------------


def expected_parts(golden: Golden, problem: str) -> dict[str, float]:
    """Return the weighted parts of a problem's loss."""
    weights = PROBLEMS[problem][1]
    smoothness = float(golden[f"{problem}/total_variation"])
    return {
        "content": sum(
            float(weight * golden[f"{problem}/content/{layer}"])
            for layer, weight in weights.content.items()
        ),
        "style": sum(
            float(weight * golden[f"{problem}/style/{layer}"])
            for layer, weight in weights.style.items()
        ),
        "total_variation": float(weights.total_variation * smoothness),
    }


@pytest.mark.parametrize(("kernels", "problem"), CASES)
def test_losses(solver: Solver, golden: Golden, kernels: str, problem: str) -> None:
    solved = solver(kernels, problem)
    expected = expected_parts(golden, problem)
    assert solved.parts.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            solved.parts[name], value, rtol=1e-4, err_msg=f"{name}: {REMEDY}"
        )
    np.testing.assert_allclose(
        solved.loss, golden[f"{problem}/loss"], rtol=1e-4, err_msg=REMEDY
    )


@pytest.mark.parametrize(("kernels", "problem"), CASES)
def test_image_gradients(
    solver: Solver, golden: Golden, kernels: str, problem: str
) -> None:
    expected = golden[f"{problem}/gradient"]
    error = np.linalg.norm(solver(kernels, problem).gradient - expected)
    assert error < 1e-3 * np.linalg.norm(expected), REMEDY
