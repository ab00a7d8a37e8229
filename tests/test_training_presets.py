"""Presets of training name things that exist."""

import dataclasses
import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.cli.train.training_settings import CHOICES
from jaxstyle.losses.terms import absolute_variation
from jaxstyle.nets.transform_net import IMAGENET_STD
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainingPreset
from jaxstyle.vgg.layers import NETWORKS, convolution_names

every_preset = pytest.mark.parametrize(
    "preset", TRAINING_PRESETS.values(), ids=TRAINING_PRESETS
)


@every_preset
def test_presets_name_known_things(preset: TrainingPreset) -> None:
    assert preset.vgg in NETWORKS
    for setting, known in CHOICES.items():
        assert getattr(preset, setting) in known


@every_preset
def test_presets_name_layers_of_their_network(preset: TrainingPreset) -> None:
    known = {name.replace("conv", "relu") for name in convolution_names(preset.vgg)}
    assert preset.content.keys() | preset.style.keys() <= known
    assert preset.style


@every_preset
def test_presets_have_plausible_numbers(preset: TrainingPreset) -> None:
    weights = [*preset.content.values(), *preset.style.values()]
    assert all(0 < weight < math.inf for weight in weights)
    assert 0 <= preset.total_variation < math.inf
    assert 0 <= preset.absolute_variation < math.inf
    assert 0 < preset.learning_rate < 1
    assert 0 <= preset.negative_slope <= 1
    assert preset.halve_every is None or 0 < preset.halve_every < preset.steps
    assert min(preset.steps, preset.batch, preset.width) >= 1
    assert min(preset.size, preset.style_size) >= 128


@every_preset
def test_summaries_fit_on_a_line(preset: TrainingPreset) -> None:
    assert 0 < len(preset.summary) <= 65
    assert "\n" not in preset.summary


@every_preset
def test_presets_cannot_be_changed(preset: TrainingPreset) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset.steps = 1  # type: ignore[misc]


def test_the_seed_preset_is_the_recipe_of_the_seed_implementation() -> None:
    preset = TRAINING_PRESETS["seed"]
    assert preset.steps * preset.batch == 32_000
    assert preset.batch == 4
    assert dict(preset.content) == {"relu2_2": 1}
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    assert dict(preset.style) == dict.fromkeys(layers, 1e5)
    assert preset.halve_every == 1_000
    assert (preset.norm, preset.negative_slope) == ("instance", 0)
    assert preset.total_variation == 0


def test_the_seed_preset_weighs_variation_as_the_sum_over_a_batch() -> None:
    batch = np.random.default_rng(0).random((4, 256, 256, 3), np.float32)
    standard = batch / np.array(IMAGENET_STD)
    sums = [np.abs(np.diff(standard, axis=axis)).sum() for axis in (1, 2)]
    weight = TRAINING_PRESETS["seed"].absolute_variation
    ours = weight * float(absolute_variation(jnp.asarray(batch)).mean())
    assert ours == pytest.approx(1e-6 * sum(sums), rel=1e-3)


def test_presets_are_plain_data_without_jax() -> None:
    code = (
        "import sys, jaxstyle.training.recipes; "
        "print(sorted({'jax', 'numpy', 'optax', 'flax'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
