"""Tile by tile the loss and its gradient are those of the whole image."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from loss_checks import SHALLOW, Params, blots, evaluate
from numeric_checks import assert_close
from vgg_samples import make_params

from jaxstyle import Weights
from jaxstyle.losses import (
    STYLE_LOSSES,
    Execution,
    Objective,
    make_targets,
    perceptual_loss,
)
from jaxstyle.vgg import VGG

TILE = 24


@pytest.fixture(scope="module")
def photo() -> jax.Array:
    """Blots, [45, 62, 3]."""
    return blots(0, 45, 62)


@pytest.fixture(scope="module")
def painting() -> jax.Array:
    """Others, [51, 33, 3]."""
    return blots(1, 51, 33)


@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_tiles_change_nothing(
    shallow: Params, photo: jax.Array, painting: jax.Array, padding: str
) -> None:
    images = photo.at[10:30].add(0.1)
    expected, found = (
        evaluate(
            shallow,
            images,
            photo,
            painting,
            objective=Objective(extractor=VGG(padding=padding)),
            execution=Execution(tile=tile),
        )
        for tile in (None, TILE)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("style_loss", STYLE_LOSSES)
def test_tiles_are_exact(
    shallow: Params, photo: jax.Array, painting: jax.Array, style_loss: str
) -> None:
    images = photo.at[10:30].add(0.1)
    objective = Objective(style_loss=style_loss)
    check_exactly(shallow, images, photo, painting, objective, tile=TILE)


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_tiles_are_exact_however_deep(
    pooling: str, narrow_vgg: None, tmp_path: Path
) -> None:
    params = make_params(tmp_path / "vgg.onnx")
    weights = Weights({"relu4_2": 0.3}, dict.fromkeys(("relu1_1", "relu5_1"), 1.0))
    photo, painting = blots(2, 251, 197), blots(3, 230, 301)
    objective = Objective(extractor=VGG(pooling=pooling))
    images = photo[::-1]
    check_exactly(params, images, photo, painting, objective, tile=192, weights=weights)


def check_exactly(
    params: Params,
    images: jax.Array,
    photo: jax.Array,
    painting: jax.Array,
    objective: Objective,
    *,
    tile: int,
    weights: Weights = SHALLOW,
) -> None:
    """Compare in float64, where rounding hides nothing."""
    with jax.enable_x64(True):
        arrays = jax.tree.map(
            lambda x: jnp.asarray(x, float), (params, images, photo, painting)
        )
        expected, found = (
            evaluate(
                *arrays,
                objective=objective,
                execution=Execution(tile=tile),
                weights=weights,
            )
            for tile in (None, tile)
        )
        of_content, of_style, *_ = expected
        assert all(x.max() > 0 for x in jax.tree.leaves((of_content, of_style)))
        assert_close(found, expected, rtol=1e-9)


def test_targets_of_tiles_are_the_same_tree(
    shallow: Params, photo: jax.Array, painting: jax.Array
) -> None:
    whole, tiled = (
        jax.eval_shape(
            lambda params, tile=tile: make_targets(
                params, photo, [painting], SHALLOW, execution=Execution(tile=tile)
            ),
            shallow,
        )
        for tile in (None, TILE)
    )
    assert tiled == whole


def test_tiles_change_nothing_about_a_batch(
    shallow: Params, photo: jax.Array, painting: jax.Array
) -> None:
    photos = jnp.stack([photo, photo[::-1]])
    images = photos + 0.1 * blots(4, 45, 62)
    expected, found = (
        evaluate(shallow, images, photos, painting, execution=Execution(tile=tile))
        for tile in (None, TILE)
    )
    assert_close(found, expected)


def test_tiles_change_nothing_about_regions(
    shallow: Params, photo: jax.Array, painting: jax.Array
) -> None:
    rows = jnp.linspace(0, 1, 45)[:, None] * jnp.ones(62)
    nowhere = jnp.zeros((45, 62))
    part = jnp.zeros((51, 33)).at[7:40, 3:20].set(1)

    def run(tile: int | None) -> Any:
        objective = Objective(style_loss="mean-std")
        execution = Execution(tile=tile)

        def loss_of(image: jax.Array) -> Any:
            paintings = [painting, painting[::-1]]
            targets = make_targets(
                shallow,
                photo,
                paintings,
                SHALLOW,
                masks=[rows, nowhere],
                style_masks=[part, None],
                objective=objective,
                execution=execution,
            )
            return perceptual_loss(
                shallow, image, targets, SHALLOW, execution=execution
            )

        return jax.jit(jax.value_and_grad(loss_of, has_aux=True))(photo[:, ::-1])

    assert_close(run(TILE), run(None))


def test_the_gradient_of_tiles_takes_less_memory(
    shallow: Params, painting: jax.Array
) -> None:
    photo = blots(5, 200, 200)

    def bytes_needed(tile: int | None) -> int:
        execution = Execution(tile=tile)
        targets = make_targets(shallow, photo, [painting], SHALLOW, execution=execution)

        def loss_of(image: jax.Array) -> jax.Array:
            return perceptual_loss(
                shallow, image, targets, SHALLOW, execution=execution
            )[0]

        compiled = jax.jit(jax.grad(loss_of)).lower(photo).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    assert bytes_needed(48) < bytes_needed(None) / 4


def test_tiles_that_are_too_small_are_refused(
    shallow: Params, photo: jax.Array, painting: jax.Array
) -> None:
    with pytest.raises(ValueError, match="tiles must have sides of "):
        evaluate(shallow, photo, photo, painting, execution=Execution(tile=8))
