"""Derivatives in forward mode, and second derivatives.

That they are right where rules are written by hand is for the tests of those functions;
here it is that no rule is missing, which tracing finds.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from net_samples import random_images, random_net
from numeric_checks import assert_close

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import STYLE_LOSSES, Execution, Objective

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 1.0}, {"relu1_1": 3.0}, 0.1, 0.0, 0.1)

EXECUTIONS = [Execution(), Execution(remat=True), Execution(tile=64)]


def assert_traced(f: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]) -> None:
    """Trace the Jacobian of a function of two numbers, and the Hessian of its mean."""
    at = jnp.zeros(2)
    assert jax.eval_shape(jax.jacfwd(f), at).shape == (*shape, 2)
    assert jax.eval_shape(jax.hessian(lambda x: f(x).mean()), at).shape == (2, 2)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_nets_have_both_modes(upsampling: str) -> None:
    net = random_net(width=2, blocks=1, upsampling=upsampling)
    image = jnp.asarray(random_images(17, 18, 3))
    assert_traced(lambda x: jaxstyle.stylize(net, x[0] + x[1] * image), image.shape)


def test_mixtures_have_both_modes() -> None:
    nets = [random_net(width=2, blocks=0, seed=seed) for seed in (0, 1)]
    image = jnp.asarray(random_images(16, 16, 3))

    def picture(shares: jax.Array) -> jax.Array:
        return jaxstyle.stylize(jaxstyle.nets.mix_styles(nets, shares), image)

    assert_traced(picture, image.shape)


def test_features_have_both_modes(raw: Params, content: jax.Array) -> None:
    net = jaxstyle.vgg.truncate(raw, ["relu3_2"])
    for vgg in (net, jaxstyle.vgg.prepare_for_cpu(net)):

        def features(x: jax.Array, vgg: jaxstyle.Params = vgg) -> jax.Array:
            return jaxstyle.vgg.features(vgg, x[0] + x[1] * content)["relu3_2"]

        assert_traced(features, (6, 8, 256))


def test_any_painting_has_a_forward_mode(content: jax.Array, style: jax.Array) -> None:
    transport = jaxstyle.load_transport()

    def paint(x: jax.Array) -> jax.Array:
        target = jaxstyle.transport.describe(transport, x * style)
        return jaxstyle.transport.stylize(transport, content, target, strength=x)

    found = jax.eval_shape(jax.jacfwd(paint), jnp.zeros(()))
    assert found.shape == content.shape


def loss_of(
    x: jax.Array,
    vgg: Params,
    images: tuple[jax.Array, ...],
    *,
    kind: str,
    execution: Execution = EXECUTIONS[0],
) -> jax.Array:
    photo, painting, image = images
    targets = jaxstyle.losses.make_targets(
        vgg, photo, [painting], WEIGHTS, objective=Objective(style_loss=kind)
    )
    mixed = image + x[0] * (photo - image) + x[1] * image**2
    return jaxstyle.losses.perceptual_loss(
        vgg, mixed, targets, WEIGHTS, execution=execution
    )[0]


@pytest.mark.parametrize("kind", STYLE_LOSSES)
@pytest.mark.parametrize("execution", EXECUTIONS, ids=["whole", "remat", "tiles"])
def test_all_losses_have_both_modes(
    kind: str,
    execution: Execution,
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
) -> None:
    images = (content, style, noisy)
    assert_traced(
        lambda x: loss_of(x, shallow, images, kind=kind, execution=execution), ()
    )


@pytest.mark.parametrize(
    ("kind", "rtol"),
    [("gram", 1e-3), ("wasserstein", 0.03), ("wasserstein-exact", 1e-3)],
)
def test_the_hessian_is_that_of_differences_of_gradients(
    kind: str,
    rtol: float,
    shallow: Params,
    content: jax.Array,
    style: jax.Array,
    noisy: jax.Array,
) -> None:
    """Iterations towards roots miss a part of them, and derivatives do not."""
    with jax.enable_x64(True):
        vgg, images = jax.tree.map(
            lambda x: jnp.asarray(np.float64(x)), (shallow, (content, style, noisy))
        )

        @jax.jit
        def compare(x: jax.Array, vgg: Params, images: Any) -> tuple[Any, Any]:
            def loss(x: jax.Array) -> jax.Array:
                return loss_of(x, vgg, images, kind=kind)

            step = 1e-8  # so small that hardly a ReLU changes its side
            around = jnp.concatenate([x + step * jnp.eye(2), x - step * jnp.eye(2)])
            above, below = jax.lax.map(jax.grad(loss), around).reshape(2, 2, 2)
            return jax.hessian(loss)(x), (above - below) / (2 * step)

        hessian, rise = compare(jnp.array([0.1, -0.1]), vgg, images)
        assert_close(hessian, rise, rtol=rtol)
