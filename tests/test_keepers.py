"""Keepers: which picture an optimization shows, of all that it went through."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numeric_checks import assert_close

from jaxstyle import Weights
from jaxstyle.losses import Problem, Targets
from jaxstyle.optimize import Keeper, init_state, keep_average, keep_best, make_step
from jaxstyle.optimize.optimizers import BEST, KEEPERS

Params = dict[str, Any]

LOSSES = (5.0, 3.0, 4.0, 1.0, 2.0, 6.0)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """The image to start from and what six steps make of it, [7, 4, 5, 3]."""
    return jax.random.uniform(jax.random.key(0), (len(LOSSES) + 1, 4, 5, 3))


def keep(keeper: Keeper, images: jax.Array, losses: Any = LOSSES) -> jax.Array:
    """Return the picture after steps from each image to the next."""

    kept = keeper.init(images[0])
    for index, loss in enumerate(losses):
        kept = keeper.update(kept, images[index], jnp.asarray(loss), images[index + 1])
    return keeper.picture(kept)


def average(images: Any, decay: float) -> Any:
    """Return the weighted average, in plain numpy."""
    total = np.zeros(images[0].shape)
    for image in images:
        total = decay * total + (1 - decay) * np.float64(image)
    return total / (1 - decay ** len(images))


# --- the best -----------------------------------------------------------------------


def test_the_image_with_the_lowest_loss_is_kept(images: jax.Array) -> None:
    for count, best in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 3), (6, 3)]:
        picture = keep(keep_best(), images[: count + 1], LOSSES[:count])
        np.testing.assert_array_equal(picture, images[best])


def test_of_equal_losses_the_first_image_is_kept(images: jax.Array) -> None:
    picture = keep(keep_best(), images, (2.0, 1.0, 1.0, 1.0, 2.0, 1.0))
    np.testing.assert_array_equal(picture, images[1])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_never_the_lowest(
    images: jax.Array, odd: float
) -> None:
    picture = keep(keep_best(), images, (odd, 3.0, odd, 2.0, odd, 4.0))
    np.testing.assert_array_equal(picture, images[3])
    picture = keep(keep_best(), images, (odd,) * 6)
    np.testing.assert_array_equal(picture, images[0])


# --- the average --------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_the_average_is_that_of_all_images_with_the_first(
    images: jax.Array, decay: float
) -> None:
    for count in (0, 1, 6):
        picture = keep(keep_average(decay), images[: count + 1], LOSSES[:count])
        assert_close(picture, average(images[: count + 1], decay))


def test_by_default_99_of_100_parts_are_kept(images: jax.Array) -> None:
    assert_close(keep(keep_average(), images), average(images, 0.99))


def test_without_decay_the_last_image_is_kept(images: jax.Array) -> None:
    np.testing.assert_array_equal(keep(keep_average(0.0), images), images[-1])


def test_the_average_of_one_image_repeated_is_this_image(images: jax.Array) -> None:
    same = jnp.broadcast_to(images[2], images.shape)
    assert_close(keep(keep_average(), same), images[2])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_an_image_that_is_not_finite_is_left_out_of_the_average(
    images: jax.Array, odd: float
) -> None:
    broken = images.at[3, 1, 2, 0].set(odd)
    rest = [image for index, image in enumerate(images) if index != 3]
    assert_close(keep(keep_average(0.8), broken), average(rest, 0.8))


def test_the_average_does_not_ask_for_losses(images: jax.Array) -> None:
    picture = keep(keep_average(0.8), images, (np.nan,) * 6)
    assert_close(picture, average(images, 0.8))


def test_gradients_go_through_the_average(images: jax.Array) -> None:
    slopes = jax.grad(lambda images: keep(keep_average(0.8), images).sum())(images)
    weights = [0.2 * 0.8 ** (6 - index) / (1 - 0.8**7) for index in range(7)]
    assert_close(slopes[:, 1, 2, 0], np.array(weights))


# --- both ---------------------------------------------------------------------------


def test_the_keepers_by_name() -> None:
    assert dict(KEEPERS) == {"best": keep_best, "average": keep_average}


@pytest.mark.parametrize("name", KEEPERS)
def test_jit_and_vmap_change_nothing(images: jax.Array, name: str) -> None:
    of = partial(keep, KEEPERS[name]())
    batch = jnp.stack([images, images[::-1]])
    losses = jnp.array([LOSSES, LOSSES[::-1]])
    expected = jnp.stack([of(*lane) for lane in zip(batch, losses, strict=True)])
    assert_close(jax.jit(jax.vmap(of))(batch, losses), expected)
    assert_close(jax.jit(of)(batch[0], losses[0]), expected[0])


@pytest.mark.parametrize("name", KEEPERS)
def test_pictures_keep_their_precision(images: jax.Array, name: str) -> None:
    with jax.enable_x64(True):
        doubles = jnp.asarray(np.float64(images))
        assert keep(KEEPERS[name](), doubles).dtype == jnp.float64
    assert keep(KEEPERS[name](), images).dtype == jnp.float32


# --- in steps -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(shallow: Params, content: jax.Array) -> dict[str, Any]:
    """Too large steps towards a flat image: losses, images, and pictures by keeper."""
    problem = Problem(shallow, Targets({}, {}), Weights({}, {}, 1.0))
    optimizer = optax.sgd(400.0)
    found: dict[str, Any] = {}
    for name, keeper in {"best": BEST, "average": keep_average(0.8)}.items():
        step = jax.jit(make_step(optimizer, keeper=keeper))
        state = init_state(content, optimizer, keeper=keeper)
        found |= {"images": [state.image], "losses": []}
        for _ in range(8):
            state, metrics = step(state, problem)
            found["images"].append(state.image)
            found["losses"].append(float(metrics["loss"]))
        found[name] = keeper.picture(state.kept)
    return found


def test_a_step_hands_the_evaluated_image_to_the_best(history: dict[str, Any]) -> None:
    best = int(np.argmin(history["losses"]))
    assert 0 < best < 7  # the losses fall and rise again
    assert_close(history["best"], history["images"][best], rtol=1e-6)


def test_a_step_hands_the_moved_image_to_the_average(history: dict[str, Any]) -> None:
    assert_close(history["average"], average(history["images"], 0.8))


def test_the_best_is_kept_by_default(content: jax.Array) -> None:
    state = init_state(content, optax.sgd(1.0))
    assert state.kept.loss == np.inf
    np.testing.assert_array_equal(BEST.picture(state.kept), content)
