"""What a program adds by itself, in a few lines and without touching a module."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.sweep import find_variants
from jaxstyle.cli.options import (
    add_options,
    describe_config,
    read_config,
    read_options,
)
from jaxstyle.losses.fields import fraction, option
from jaxstyle.optimize.presets import PRESETS, OptimizeConfig

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


# --- an option of optimize ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OwnConfig(OptimizeConfig):
    """The settings of ``jaxstyle optimize``, and one more, in one line."""

    sharpness: float = option(0.5, "more edges", parse=fraction, sweep=True)


OWN_PRESETS = {
    name: read_config(OwnConfig, describe_config(preset))
    for name, preset in PRESETS.items()
} | {"sharp": OwnConfig(loss=PRESETS["seed"].loss, sharpness=1.0)}


@dataclass(frozen=True, kw_only=True)
class OwnOptions(OptimizeOptions):
    """The options of ``jaxstyle optimize`` with the new settings."""

    config: OwnConfig = field(
        default=OWN_PRESETS["default"], metadata={"presets": OWN_PRESETS}
    )


def parse_own(*words: str) -> OwnOptions:
    """Parse words as ``jaxstyle optimize`` parses them."""
    add_options(parser := argparse.ArgumentParser(), OwnOptions)
    inputs = ("a.jpg", "b.jpg", "-o", "out.png")
    return read_options(OwnOptions, vars(parser.parse_args([*inputs, *words])))


def test_a_new_option_of_optimize_is_one_line() -> None:
    assert parse_own().config.sharpness == 0.5
    assert parse_own("--preset", "sharp").config.sharpness == 1
    assert parse_own("--preset", "sharp", "--sharpness", "0.2").config.sharpness == 0.2
    assert describe_config(parse_own("--sharpness", "0.2").config)["sharpness"] == 0.2


def test_a_new_option_is_swept() -> None:
    variants = find_variants(parse_own("--sweep", "sharpness=0,0.25"))
    assert [describe_config(each.config)["sharpness"] for each in variants] == [
        0,
        0.25,
    ]
    assert [variant.output for variant in variants] == [
        "out.sharpness=0.png",
        "out.sharpness=0.25.png",
    ]


def test_a_new_option_has_help_and_is_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse_own("--help")
    assert "more edges (default: 0.5, sharp: 1)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parse_own("--sharpness", "2")
    line = "argument --sharpness: expected a number from 0 to 1, got '2'"
    assert line in capsys.readouterr().err
