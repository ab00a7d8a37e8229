"""Presets name things that exist."""

import dataclasses
import math
import subprocess
import sys

import pytest

from jaxstyle.losses import STYLE_LOSSES
from jaxstyle.optimize import PRESETS, Preset
from jaxstyle.optimize.inits import INITS
from jaxstyle.optimize.keepers import KEEPERS
from jaxstyle.optimize.optimizers import OPTIMIZERS
from jaxstyle.vgg.layers import NETWORKS, convolution_names
from jaxstyle.vgg.network import BORDERS
from jaxstyle.vgg.pooling import POOLINGS

every_preset = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


@every_preset
def test_presets_name_known_things(preset: Preset) -> None:
    assert preset.vgg in NETWORKS
    assert preset.optimizer in OPTIMIZERS
    assert preset.pooling in POOLINGS
    assert preset.init in INITS
    assert preset.keep in KEEPERS
    assert preset.style_loss in STYLE_LOSSES
    assert preset.padding in BORDERS
    assert preset.activations in {"layer", "filter", "raw"}


@every_preset
def test_presets_name_layers_of_their_network(preset: Preset) -> None:
    known = {name.replace("conv", "relu") for name in convolution_names(preset.vgg)}
    assert preset.content.keys() | preset.style.keys() <= known
    assert preset.style


@every_preset
def test_presets_have_plausible_numbers(preset: Preset) -> None:
    weights = [*preset.content.values(), *preset.style.values()]
    assert all(0 < weight < math.inf for weight in weights)
    assert 0 <= preset.isotropic_variation < math.inf
    assert preset.steps >= 1
    assert preset.coarsest is None or preset.coarsest >= 1


@every_preset
def test_summaries_fit_on_a_line(preset: Preset) -> None:
    assert 0 < len(preset.summary) <= 65
    assert "\n" not in preset.summary


@every_preset
def test_presets_cannot_be_changed(preset: Preset) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset.steps = 1  # type: ignore[misc]


def test_the_seed_presets_are_those_of_the_seed_implementation() -> None:
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    for name, init, weight in (("seed", "content", 1e7), ("seed-noise", "noise", 1e5)):
        preset = PRESETS[name]
        assert dict(preset.content) == {"relu3_3": 0.5}
        assert dict(preset.style) == dict.fromkeys(layers, weight)
        assert preset.isotropic_variation == 0
        assert preset.style_loss == "gram"
        assert preset.coarsest is None
        assert preset.init == init
        assert preset.optimizer == "lbfgs"
        assert preset.vgg == "vgg16"


def test_presets_are_plain_data_without_jax() -> None:
    code = (
        "import sys, jaxstyle.optimize.presets; "
        "print(sorted({'jax', 'numpy', 'optax', 'flax'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
