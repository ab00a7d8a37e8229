"""Presets name things that exist."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import pytest

from jaxstyle.cli.optimize.scene_inputs import MATCH
from jaxstyle.cli.options import find_options
from jaxstyle.losses import STYLE_LOSSES
from jaxstyle.losses.extractor import PRECISIONS
from jaxstyle.optimize import PRESETS, OptimizeConfig
from jaxstyle.optimize.optimizers import KEEPERS, OPTIMIZERS
from jaxstyle.optimize.scenes import INITS
from jaxstyle.vgg.layers import NETWORKS, POOLINGS, convolution_names
from jaxstyle.vgg.network import BORDERS
from jaxstyle.vgg.params import GRANULARITIES

CHOICES: Mapping[str, Iterable[str]] = {
    "optimizer": OPTIMIZERS,
    "keep": KEEPERS,
    "pooling": POOLINGS,
    "padding": BORDERS,
    "style_loss": STYLE_LOSSES,
    "activations": (*GRANULARITIES, "raw"),
}

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


@every_preset
def test_presets_name_known_things(preset: OptimizeConfig) -> None:
    assert preset.loss.vgg in NETWORKS
    assert preset.init in INITS
    for name, known in CHOICES.items():
        holder = preset.loss if hasattr(preset.loss, name) else preset
        assert getattr(holder, name) in known


def test_options_offer_the_known_things_and_no_others() -> None:
    known = {**CHOICES, "match_color": MATCH, "precision": PRECISIONS}
    offered = {
        option.name: "|".join(option.info.choices) or option.info.metavar
        for option in find_options(OptimizeConfig)
        if option.info.choices or option.name == "style_loss"
    }
    assert offered == {name: "|".join(names) for name, names in known.items()}


@every_preset
def test_presets_name_layers_of_their_network(preset: OptimizeConfig) -> None:
    loss = preset.loss
    known = {name.replace("conv", "relu") for name in convolution_names(loss.vgg)}
    assert loss.content.keys() | loss.style.keys() <= known
    assert loss.style


@every_preset
def test_presets_have_plausible_numbers(preset: OptimizeConfig) -> None:
    weights = [*preset.loss.content.values(), *preset.loss.style.values()]
    assert all(0 < weight < math.inf for weight in weights)
    ((kind, variation),) = preset.loss.variation.items()
    assert kind == "isotropic"
    assert 0 <= variation < math.inf
    assert preset.steps >= 1
    assert preset.coarsest is None or preset.coarsest >= 1


@every_preset
def test_summaries_fit_on_a_line(preset: OptimizeConfig) -> None:
    assert 0 < len(preset.summary) <= 65
    assert "\n" not in preset.summary


@every_preset
def test_presets_cannot_be_changed(preset: OptimizeConfig) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset.steps = 1  # type: ignore[misc]


def test_the_seed_presets_are_those_of_the_seed_implementation() -> None:
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    for name, init, weight in (("seed", "content", 1e7), ("seed-noise", "noise", 1e5)):
        preset = PRESETS[name]
        assert dict(preset.loss.content) == {"relu3_3": 0.5}
        assert dict(preset.loss.style) == dict.fromkeys(layers, weight)
        assert preset.loss.variation == {"isotropic": 0}
        assert preset.loss.style_loss == "gram"
        assert preset.coarsest is None
        assert preset.init == init
        assert preset.optimizer == "lbfgs"
        assert preset.loss.vgg == "vgg16"
