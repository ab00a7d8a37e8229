"""Presets of training name things that exist."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstyle.cli.options import find_options
from jaxstyle.losses.extractor import PRECISIONS
from jaxstyle.losses.style import STYLE_LOSSES
from jaxstyle.losses.terms import absolute_variation
from jaxstyle.nets.transform_net import FILTERS, IMAGENET_STD, NORMS
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainConfig
from jaxstyle.vgg.layers import NETWORKS, convolution_names

every_preset = pytest.mark.parametrize(
    "preset", TRAINING_PRESETS.values(), ids=TRAINING_PRESETS
)


@every_preset
def test_presets_name_known_things(preset: TrainConfig) -> None:
    assert preset.loss.vgg in NETWORKS
    assert preset.norm in NORMS
    assert preset.precision in PRECISIONS
    options = {option.name: option.info for option in find_options(TrainConfig)}
    assert options["norm"].choices == tuple(NORMS)
    assert options["upsampling"].choices == tuple(FILTERS)
    assert options["precision"].choices == tuple(PRECISIONS)
    assert preset.loss.style_loss in STYLE_LOSSES
    for name in ("activations", "pooling", "padding"):
        assert getattr(preset.loss, name) in options[name].choices


@every_preset
def test_presets_name_layers_of_their_network(preset: TrainConfig) -> None:
    loss = preset.loss
    known = {name.replace("conv", "relu") for name in convolution_names(loss.vgg)}
    assert loss.content.keys() | loss.style.keys() <= known
    assert loss.style


@every_preset
def test_presets_have_plausible_numbers(preset: TrainConfig) -> None:
    weights = [*preset.loss.content.values(), *preset.loss.style.values()]
    assert all(0 < weight < math.inf for weight in weights)
    assert all(0 <= weight < math.inf for weight in preset.loss.variation.values())
    assert 0 < preset.learning_rate < 1
    assert 0 <= preset.negative_slope <= 1
    assert preset.halve_every is None or 0 < preset.halve_every < preset.steps
    assert min(preset.steps, preset.batch, preset.width) >= 1
    assert min(preset.size, preset.style_size) >= 128


@every_preset
def test_summaries_fit_on_a_line(preset: TrainConfig) -> None:
    assert 0 < len(preset.summary) <= 65
    assert "\n" not in preset.summary


@every_preset
def test_presets_cannot_be_changed(preset: TrainConfig) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset.steps = 1  # type: ignore[misc]


def test_the_seed_preset_is_the_recipe_of_the_seed_implementation() -> None:
    preset = TRAINING_PRESETS["seed"]
    assert preset.steps * preset.batch == 32_000
    assert preset.batch == 4
    assert dict(preset.loss.content) == {"relu2_2": 1}
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    assert dict(preset.loss.style) == dict.fromkeys(layers, 1e5)
    assert preset.halve_every == 1_000
    assert (preset.norm, preset.negative_slope) == ("instance", 0)
    assert list(preset.loss.variation) == ["absolute"]


def test_the_seed_preset_weighs_variation_as_the_sum_over_a_batch() -> None:
    batch = np.random.default_rng(0).random((4, 256, 256, 3), np.float32)
    standard = batch / np.array(IMAGENET_STD)
    sums = [np.abs(np.diff(standard, axis=axis)).sum() for axis in (1, 2)]
    weight = TRAINING_PRESETS["seed"].loss.variation["absolute"]
    ours = weight * float(absolute_variation(jnp.asarray(batch)).mean())
    assert ours == pytest.approx(1e-6 * sum(sums), rel=1e-3)
