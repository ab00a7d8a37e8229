"""What a program adds by itself, in a few lines and without touching a module."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from loss_checks import blots, evaluate
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights, training
from jaxstyle.cli.main import main, parse
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.sweep import find_variants
from jaxstyle.cli.options import (
    add_options,
    describe_config,
    read_options,
)
from jaxstyle.losses import (
    STYLE_LOSSES,
    Execution,
    Objective,
    StyleLoss,
    make_targets,
)
from jaxstyle.losses.config import fraction, option
from jaxstyle.optimize.presets import PRESETS, OptimizeConfig
from jaxstyle.scaling import make_row_mesh

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
    name: OwnConfig(
        **{each.name: getattr(preset, each.name) for each in fields(preset)}
    )
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


# --- a feature extractor ------------------------------------------------------------


class Averages:
    """Colors, mixed by a matrix after they are averaged over squares."""

    def layers(self, params: Params) -> tuple[str, ...]:
        return "fine", "coarse"

    def stride(self, layer: str) -> int:
        return {"fine": 2, "coarse": 8}[layer]

    def reach(self, params: Params, layer: str) -> int | None:
        return 0

    def blocks(self, params: Params, *, dtype: Any = None) -> list[Any]:
        return [partial(self.average, "fine", 2), partial(self.average, "coarse", 4)]

    def average(
        self, layer: str, side: int, params: Params, x: jax.Array, rows: int
    ) -> Any:
        *n, h, w, c = x.shape
        h, w = h // side, w // side
        squares = x[..., : h * side, : w * side, :].reshape(*n, h, side, w, side, c)
        inside = jnp.arange(h)[:, None, None] < rows // self.stride(layer)
        mixed = jnp.where(inside, squares.mean((-4, -2)) @ params[layer], 0)
        return mixed, {layer: mixed}


MIXED = Weights({"coarse": 1.0}, {"fine": 1.0, "coarse": 0.5})


@pytest.fixture(scope="module")
def matrices() -> Params:
    """Parameters of Averages."""
    keys = dict(
        zip(("fine", "coarse"), jax.random.split(jax.random.key(0)), strict=True)
    )
    shapes = {"fine": (3, 5), "coarse": (5, 4)}
    return {layer: jax.random.normal(keys[layer], shapes[layer]) for layer in keys}


@pytest.mark.parametrize(
    "execution",
    [Execution(tile=24), Execution(remat=True), Execution(mesh=make_row_mesh())],
    ids=["tiled", "rematerialized", "sharded"],
)
def test_an_extractor_is_executed_in_every_way(
    matrices: Params, execution: Execution
) -> None:
    photo, painting = blots(0, 45, 61), blots(1, 50, 33)
    run = partial(
        evaluate,
        *(matrices, photo[::-1], photo, painting),
        objective=Objective(extractor=Averages()),
        weights=MIXED,
    )
    _, *expected = run()
    _, *found = run(execution=execution)
    assert jnp.abs(expected[-1]).max() > 0
    assert_close(found, expected)


def test_an_extractor_serves_to_optimize(matrices: Params) -> None:
    optimize = jax.jit(
        partial(
            jaxstyle.optimize_image,
            weights=MIXED,
            steps=8,
            objective=Objective(extractor=Averages()),
        )
    )
    _, metrics = optimize(matrices, blots(0, 45, 61), [blots(1, 50, 33)])
    assert metrics["loss"][-1] < 0.8 * metrics["loss"][0]


def test_layers_that_an_extractor_lacks_are_named(matrices: Params) -> None:
    objective, weights = Objective(extractor=Averages()), Weights({"relu1_1": 1.0}, {})
    with pytest.raises(ValueError, match=r"no layer relu1_1 in .* it has fine, coarse"):
        make_targets(matrices, blots(0, 45, 61), [], weights, objective=objective)


class Unlimited(Averages):
    """Features that are said to depend on the whole image."""

    def reach(self, params: Params, layer: str) -> None:
        return None


def test_features_of_the_whole_image_are_not_tiled(matrices: Params) -> None:
    photo = blots(0, 45, 61)
    run = partial(
        evaluate,
        *(matrices, photo, photo, photo),
        objective=Objective(extractor=Unlimited()),
        weights=MIXED,
    )
    with pytest.raises(ValueError, match="coarse depends on the whole image; leave "):
        run(execution=Execution(tile=24))


# --- a style loss -------------------------------------------------------------------


def nearest_loss(features: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean cosine distance to the nearest feature of the style."""

    def directions(x: jax.Array) -> jax.Array:
        x = x.reshape(*x.shape[:-3], -1, x.shape[-1])
        return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)

    similarities = directions(features) @ directions(target).mT
    return (1 - similarities.max(-1)).mean(-1)


NEAREST = StyleLoss(
    make_target=lambda features: features,
    compare=nearest_loss,
    statistic=lambda features: features,
)

BY_NEAREST = Objective(style_loss=NEAREST)

NEAR = Weights({}, {"relu1_1": 1.0})


@pytest.fixture(scope="module")
def vgg(shallow: Params) -> Params:
    """The first layer of a VGG."""
    return jaxstyle.vgg.truncate(shallow, ["relu1_1"])


@pytest.mark.parametrize(
    "execution",
    [Execution(), Execution(remat=True), Execution(mesh=make_row_mesh())],
    ids=["whole", "rematerialized", "sharded"],
)
def test_nearest_neighbors_are_optimized(vgg: Params, execution: Execution) -> None:
    optimize = jax.jit(
        partial(
            jaxstyle.optimize_image,
            weights=NEAR,
            steps=5,
            objective=BY_NEAREST,
            execution=execution,
        )
    )
    _, metrics = optimize(vgg, blots(0, 20, 25), [blots(1, 15, 30)])
    assert metrics["style"][-1] < 0.7 * metrics["style"][0]


def test_nets_are_trained_for_nearest_neighbors(vgg: Params) -> None:
    problem = training.make_problem(vgg, [blots(1, 15, 30)], NEAR, objective=BY_NEAREST)
    net = jaxstyle.nets.init_net(jax.random.key(0), width=4, blocks=1)
    photos = (255 * jnp.stack([blots(0, 20, 25), blots(2, 20, 25)])).astype(jnp.uint8)
    optimizer = optax.adam(1e-2)
    step = jax.jit(training.make_step(optimizer))
    state, losses = training.init_state(net, optimizer), []
    for _ in range(6):
        state, metrics = step(state, photos, problem)
        losses.append(float(metrics["style"]))
    assert losses[-1] < 0.9 * losses[0]


def test_an_added_style_loss_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STYLE_LOSSES, "nearest", NEAREST)
    words = ("optimize", "a.jpg", "b.jpg", "-o", "c.png", "--style-loss", "nearest")
    _, options = parse(words)
    assert options.config.loss.style_loss == "nearest"


HALF = jnp.zeros((15, 20)).at[:, :10].set(1)


@pytest.mark.parametrize(
    ("what", "styles", "options"),
    [
        ("several styles", 2, {}),
        ("masks", 2, {"masks": [HALF, 1 - HALF]}),
        ("masks", 1, {"style_masks": [HALF]}),
        ("tiles", 1, {"execution": Execution(tile=16)}),
    ],
)
def test_what_needs_moments_says_so(
    vgg: Params, what: str, styles: int, options: dict[str, Any]
) -> None:
    image = blots(0, 15, 20)
    with pytest.raises(
        ValueError, match=f"^{what} need a style loss that compares mom"
    ):
        make_targets(
            vgg, image, [image] * styles, NEAR, objective=BY_NEAREST, **options
        )


def test_the_loss_knows_a_vgg_by_default_only() -> None:
    """Whatever else the loss is made of takes any extractor."""
    from test_imports import GRAPH, folder_of

    importing = {
        module
        for module, others in GRAPH.items()
        if folder_of(module) == "losses" and "vgg" in map(folder_of, others)
    }
    assert importing == {"losses.objective"}
