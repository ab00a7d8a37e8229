"""The loss at several sizes is the mean of the losses at each."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from loss_checks import Params, blots, evaluate
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses import Execution, LossConfig, Multiscale, Objective
from jaxstyle.losses.extractor import DEFAULT_EXECUTION
from jaxstyle.losses.multiscale import halve
from jaxstyle.scaling import make_row_mesh
from jaxstyle.vgg import VGG

CONTENT, STYLE = {"relu1_2": 0.7}, {"relu1_1": 2.0, "relu2_1": 1.0}

CONFIG = LossConfig(content=CONTENT, style=STYLE, scales=2)


def at_both(
    params: Params, size: tuple[int, int], execution: Execution = DEFAULT_EXECUTION
) -> Any:
    photo, painting = blots(0, *size), blots(1, 51, 33)
    return evaluate(
        params,
        photo.at[10:30].add(0.1),
        photo,
        painting,
        objective=CONFIG.objective(),
        weights=CONFIG.weights(),
        execution=execution,
    )


@pytest.mark.parametrize("size", [(48, 64), (45, 63)])
def test_the_loss_is_the_mean_over_sizes(
    shallow: Params, size: tuple[int, int]
) -> None:
    photo, painting = blots(0, *size), blots(1, 51, 33)
    image, objective = photo.at[10:30].add(0.1), replace(CONFIG, scales=1).objective()

    def style_of(*images: jax.Array) -> jax.Array:
        _, _, (_, parts), _ = evaluate(shallow, *images, objective=objective)
        return jnp.asarray(parts["style"])

    single = style_of(image, photo, painting)
    half = style_of(halve(image), halve(photo), halve(painting))
    _, _, (losses, parts), gradient = at_both(shallow, size)
    assert_close(parts["style"], (single + half) / 2)
    assert_close(losses, parts["style"] + parts["content"])
    assert jnp.abs(single - half) > 0.1 * single
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize(
    "execution", [Execution(remat=True), Execution(tile=24)], ids=["remat", "tile"]
)
def test_it_is_the_same_in_parts(shallow: Params, execution: Execution) -> None:
    assert_close(at_both(shallow, (45, 62), execution), at_both(shallow, (45, 62)))


def test_it_is_the_same_where_rows_are_divided(shallow: Params) -> None:
    """On one device, for which rows are appended, too."""
    found = at_both(shallow, (45, 62), Execution(mesh=make_row_mesh()))
    expected = at_both(shallow, (45, 62))
    assert_close(found[1:], expected[1:])


def test_halving_averages() -> None:
    image = jnp.arange(15.0).reshape(3, 5, 1)
    assert_close(halve(image), jnp.array([[[3.0], [5.0]]]))


def test_layers_are_named_by_their_reduction(shallow: Params) -> None:
    extractor = Multiscale(VGG(), 3)
    names = extractor.layers(shallow)
    base = VGG().layers(shallow)
    assert names[: len(base)] == base
    assert set(names) == {x + end for x in base for end in ("", "@2", "@4")}
    assert extractor.stride("relu2_1@4") == 8
    reach = VGG().reach(shallow, "relu2_1")
    assert extractor.reach(shallow, "relu2_1@4") == 4 * reach


def test_one_size_is_the_loss_as_it_was() -> None:
    config = replace(CONFIG, scales=1)
    assert config.objective() == Objective(extractor=VGG())
    assert config.weights() == Weights(CONTENT, STYLE)


def test_the_weights_of_all_sizes_add_up_to_those_given() -> None:
    assert CONFIG.weights().style == {
        "relu1_1": 1.0,
        "relu2_1": 0.5,
        "relu1_1@2": 1.0,
        "relu2_1@2": 0.5,
    }
