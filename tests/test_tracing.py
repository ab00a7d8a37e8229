"""What is traced: nothing leaks, and nothing compiles twice."""

import gc
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from net_samples import random_images, random_net

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import STYLE_LOSSES, Objective
from jaxstyle.training import loop
from jaxstyle.vgg import VGG

Params = dict[str, Any]

pytestmark = pytest.mark.usefixtures("plain_convolutions")

WEIGHTS = Weights({"relu1_2": 1.0}, {"relu1_1": 3.0}, 0.1, 0.1, 0.1)

OTHERS = Weights({"relu1_2": 5.0}, {"relu1_1": 7.0}, 0.2, 0.2, 0.2)


class Call(NamedTuple):
    """A function, what to call it with, and other values of the same shapes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    others: tuple[Any, ...] = ()


def loss_of(
    vgg: Params, image: jax.Array, style: jax.Array, weights: Weights, *, kind: str
) -> jax.Array:
    """Compare an image with targets that are made of others, with all losses."""
    objective = Objective(extractor=VGG(padding="replicate"), style_loss=kind)
    targets = jaxstyle.losses.make_targets(
        vgg, image**2, [style], weights, objective=objective
    )
    return jaxstyle.losses.perceptual_loss(vgg, image, targets, weights)[0]


def optimize(vgg: Params, image: jax.Array, style: jax.Array, weights: Weights) -> Any:
    """Make a picture in two sizes."""
    return jaxstyle.optimize_image(
        vgg, image, [style], weights=weights, steps=2, sizes=(24, 32)
    )


def mix(nets: list[Params], shares: jax.Array, image: jax.Array) -> Any:
    """Stylize by a mixture, whole and tile by tile, and by each net."""
    mixture = jaxstyle.nets.mix_styles(nets, shares)
    each = jax.vmap(jaxstyle.stylize, (0, None))(
        jax.tree.map(lambda *x: jnp.stack(x), *nets), image
    )
    tiled = jaxstyle.nets.stylize_tiled(mixture, image, tile=40)
    return jaxstyle.stylize(mixture, image), each, tiled


def through_all(
    net: Params, vgg: Params, image: jax.Array, style: jax.Array
) -> jax.Array:
    """Return the loss of a net's picture."""
    picture = jaxstyle.stylize(net, image)
    return loss_of(vgg, picture, style, WEIGHTS, kind="gram")


@pytest.fixture(scope="module")
def calls(
    shallow: Params, content: jax.Array, style: jax.Array, noisy: jax.Array
) -> dict[str, Call]:
    net = random_net(width=2, blocks=0)
    nets = [net, jax.tree.map(lambda x: 1.1 * np.asarray(x), net)]
    images = jnp.asarray(random_images(3, 17, 18, 3))
    large = jnp.asarray(random_images(48, 44, 3))
    photos = jnp.asarray(np.uint8(255 * random_images(3, 16, 16, 3)))
    optimizer = optax.adam(1e-3)
    states = [loop.init_state(net, optimizer) for net in nets]
    problems = [
        loop.make_problem(shallow, [style], weights) for weights in (WEIGHTS, OTHERS)
    ]
    return {
        "stylize": Call(jaxstyle.stylize, (nets[0], images[:2]), (nets[1], images[1:])),
        "optimize": Call(
            optimize,
            (shallow, content, style, WEIGHTS),
            (shallow, noisy, style**2, OTHERS),
        ),
        "step": Call(
            loop.make_step(optimizer),
            (states[0], photos[:2], problems[0]),
            (states[1], photos[1:], problems[1]),
        ),
        "mix": Call(mix, (nets, jnp.array([0.3, 0.7]), large)),
        "gradient through all": Call(
            jax.grad(through_all), (nets[0], shallow, content, style)
        ),
        **{
            kind: Call(
                jax.grad(partial(loss_of, kind=kind), argnums=1),
                (shallow, noisy, style, WEIGHTS),
            )
            for kind in STYLE_LOSSES
        },
    }


every_call = pytest.mark.parametrize(
    "name",
    ["stylize", "optimize", "step", "mix", "gradient through all", *STYLE_LOSSES],
)


@pytest.fixture
def old_objects_stay() -> Iterator[None]:
    """Leave out all objects made so far where garbage is collected for every trace."""
    gc.freeze()
    yield
    gc.unfreeze()


@every_call
@pytest.mark.usefixtures("old_objects_stay")
def test_nothing_leaks_out_of_a_trace(calls: dict[str, Call], name: str) -> None:
    function, arguments, _ = calls[name]
    with jax.checking_leaks():
        assert jax.tree.leaves(jax.eval_shape(function, *arguments))


@pytest.mark.parametrize("name", ["stylize", "optimize", "step"])
def test_equal_shapes_do_not_compile_again(
    calls: dict[str, Call], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    function, arguments, others = calls[name]
    program = jax.jit(function)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        first = program(*arguments)
        compiled = [x for x in caplog.records if f"Compiling jit({name})" in x.message]
        assert len(compiled) == 1
        caplog.clear()
        second = program(*others)
        assert not [x for x in caplog.records if "Compiling" in x.message]
    same = jax.tree.map(np.array_equal, first, second)
    assert not all(jax.tree.leaves(same))


@pytest.mark.parametrize("kind", STYLE_LOSSES)
def test_callers_may_forbid_rank_promotion_in_their_own_code(
    shallow: Params, noisy: jax.Array, style: jax.Array, kind: str
) -> None:
    """Those of the package broadcast as NumPy does: see the README's limits."""

    def allowed(image: jax.Array) -> jax.Array:
        with jax.numpy_rank_promotion("allow"):
            return loss_of(shallow, image, style, WEIGHTS, kind=kind)

    with jax.numpy_rank_promotion("raise"):
        assert jax.eval_shape(jax.grad(allowed), noisy).shape == noisy.shape


# --- the tests themselves -----------------------------------------------------------


@pytest.mark.usefixtures("old_objects_stay")
def test_a_leak_would_be_found() -> None:
    leaked = []

    def leak(x: jax.Array) -> jax.Array:
        leaked.append(2 * x)
        return x

    with jax.checking_leaks(), pytest.raises(Exception, match="Leaked"):
        jax.eval_shape(leak, jnp.ones(2))
