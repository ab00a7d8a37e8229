"""The paths of the benchmarks that need no PyTorch, on tiny images."""

from pathlib import Path
from typing import Any

import benchmark_convergence
import benchmark_data
import benchmark_optimize
import benchmark_training
import jax
import pytest
from image_samples import noise
from PIL import Image

import jaxstyle
from jaxstyle.data import open_source
from jaxstyle.losses import LossConfig


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
def test_optimizers_are_compared_by_their_losses(
    name: str,
    shallow: dict[str, Any],
    content: jax.Array,
    style: jax.Array,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loss = LossConfig(content={"relu1_2": 1.0}, style={"relu1_1": 1e3})
    params = jaxstyle.vgg.truncate(shallow, ["relu1_2"])
    optimizer = benchmark_convergence.OPTIMIZERS[name]()
    losses = benchmark_convergence.jaxstyle_losses(
        content, style, params, loss, 3, optimizer
    )
    assert len(losses) == 3
    assert losses[2] < losses[0]
    benchmark_convergence.print_row(name, losses * 10)
    assert capsys.readouterr().out == f"| {name} | {losses[2]:.5g} |\n"


def test_inputs_are_those_of_their_presets() -> None:
    content, style, params, loss = benchmark_optimize.load_inputs(16)
    assert content.shape == style.shape == (16, 16, 3)
    preset = jaxstyle.optimize.PRESETS["seed"]
    assert loss == preset.loss
    assert {*loss.content, *loss.style} <= {*jaxstyle.vgg.layer_names(params)}
    params, loss = benchmark_training.load_vgg()
    assert loss == jaxstyle.training.TRAINING_PRESETS["johnson2016"].loss
    assert {*loss.content, *loss.style} <= {*jaxstyle.vgg.layer_names(params)}


def test_images_are_read_in_both_ways(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(noise(300, 280, 3)).save(tmp_path / f"{index}.png")
    source = benchmark_data.Repeated(open_source(str(tmp_path)))
    assert len(source) == benchmark_data.COCO
    for read in (benchmark_data.run_pipeline, benchmark_data.run_pillow):
        read(source, benchmark_data.BATCH)
