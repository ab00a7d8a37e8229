"""What a program adds by itself, in a few lines and without touching a module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from loss_checks import blots

import jaxstyle
from jaxstyle import Weights, training
from jaxstyle.cli.main import main

Params = Mapping[str, Any]


# --- a network ----------------------------------------------------------------------


def apply_curve(params: Params, images: jax.Array) -> jax.Array:
    """Mix the colors of each pixel, then bend them."""
    return jax.nn.sigmoid(images @ params["matrix"] + params["bias"])


def test_a_network_is_trained_saved_and_run_by_the_command(
    shallow: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = jaxstyle.nets.Network(apply=apply_curve)
    monkeypatch.setitem(jaxstyle.nets.NETWORKS, "curve", network)
    photo = blots(0, 24, 32)
    params: Params = {"matrix": jnp.eye(3), "bias": jnp.zeros(3)}
    weights = Weights({"relu1_1": 1.0}, {"relu1_2": 10.0})
    problem = training.make_problem(shallow, [blots(1, 24, 24)], weights)
    optimizer = optax.adam(0.03)
    step = jax.jit(
        training.make_step(optimizer, apply=lambda p, x: (apply_curve(p, x), p))
    )
    state = training.init_state(params, optimizer)
    losses = []
    for _ in range(20):
        photos = jnp.rint(255 * photo[None]).astype(jnp.uint8)
        state, metrics = step(state, photos, problem)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]
    style, source, output = (tmp_path / x for x in ("c.safetensors", "p.png", "o.png"))
    jaxstyle.save_style(state.params, style, metadata={"net": "curve"})
    jaxstyle.save_image(photo, source)
    command = ["stylize", str(source), "--style", str(style), "-o", str(output)]
    assert main(command) == 0
    expected = apply_curve(state.params, jnp.asarray(jaxstyle.load_image(source)))
    np.testing.assert_allclose(jaxstyle.load_image(output), expected, atol=1 / 255)
