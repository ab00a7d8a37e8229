"""Winograd's algorithm against plain convolution."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close

import jaxstyle
from jaxstyle.kernels import winograd
from jaxstyle.vgg import network

# Batch, height, width, channels in and out. Each length from 1 to 9 occurs, and each
# remainder by the tiles' four along both axes.
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 2, 9, 3, 2),
    (3, 3, 4, 2, 5),
    (1, 5, 8, 4, 1),
    (2, 6, 7, 1, 4),
    (1, 9, 2, 2, 2),
    (2, 13, 7, 7, 5),
    (1, 32, 20, 6, 8),
]


def by_winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return winograd.convolve(x, winograd.transform_kernel(kernel))


def make_operands(
    shape: tuple[int, ...], dtype: Any = np.float32
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return an image, a kernel and a cotangent of their convolution."""
    n, h, w, c, d = shape
    generator = np.random.default_rng(h * w)
    return tuple(  # type: ignore[return-value]
        jnp.asarray(generator.normal(size=size).astype(dtype))
        for size in ((n, h, w, c), (3, 3, c, d), (n, h, w, d))
    )


def values_and_cotangents(
    convolve: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array, g: jax.Array
) -> tuple[jax.Array, ...]:
    @jax.jit
    def run(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        y, pull_back = jax.vjp(convolve, x, kernel)
        return y, *pull_back(g)

    results: tuple[jax.Array, ...] = run(x, kernel, g)
    return results


@pytest.mark.parametrize("shape", SHAPES)
def test_the_algebra_is_exact(shape: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        operands = make_operands(shape, np.float64)
        results = values_and_cotangents(by_winograd, *operands)
        expected = values_and_cotangents(network.convolve, *operands)
        for got, plain in zip(results, expected, strict=True):
            assert got.dtype == jnp.float64
            np.testing.assert_allclose(got, plain, rtol=0, atol=1e-12)


def test_float32_rounds_little_more_than_plain_convolution() -> None:
    operands = make_operands((1, 16, 12, 64, 128))
    results = values_and_cotangents(by_winograd, *operands)
    with jax.enable_x64(True):
        doubles = [jnp.asarray(np.float64(operand)) for operand in operands]
        exact = [
            np.float32(result)
            for result in values_and_cotangents(network.convolve, *doubles)
        ]
    for got, expected in zip(results, exact, strict=True):
        assert got.dtype == jnp.float32
        assert_close(got, expected, rtol=3e-6)


def test_a_batch_is_its_images_one_by_one() -> None:
    x, kernel, _ = make_operands((3, 6, 5, 4, 2))
    convolve = jax.jit(by_winograd)
    whole = convolve(x, kernel)
    assert_close(convolve(x[1:2], kernel)[0], whole[1])
    one_by_one = jax.jit(jax.vmap(by_winograd, (0, None)))(x[:, None], kernel)
    assert_close(one_by_one[:, 0], whole)


def test_gradients_under_vmap() -> None:
    x, kernel, g = make_operands((2, 6, 5, 4, 2))

    def pull_back(x: jax.Array, g: jax.Array) -> jax.Array:
        image = jax.vjp(lambda x: by_winograd(x, kernel), x)[1](g)[0]
        return jnp.asarray(image)

    batched = jax.jit(jax.vmap(pull_back))(x[:, None], g[:, None])
    assert_close(batched[:, 0], jax.jit(pull_back)(x, g))


def test_transformed_kernels_are_linear() -> None:
    _, a, _ = make_operands((1, 1, 1, 4, 2))
    _, b, _ = make_operands((1, 2, 2, 4, 2))
    transform = winograd.transform_kernel
    assert transform(a).shape == (36, 4, 2)
    assert_close(transform(2 * a - b), 2 * transform(a) - transform(b), rtol=1e-6)


# --- whole networks -----------------------------------------------------------------


def test_only_wide_layers_are_prepared(raw: dict[str, Any]) -> None:
    prepared = jaxstyle.vgg.prepare_for_cpu(raw)
    assert prepared.keys() == raw.keys()
    for name in ("conv1_1", "conv2_2", "conv3_1", "mean", "std"):
        assert prepared[name] is raw[name]
    wide, plain = prepared["conv3_2"], raw["conv3_2"]
    assert wide.keys() == plain.keys() - {"kernel"} | {"winograd_kernel"}
    assert wide["winograd_kernel"].shape == (36, 256, 256)
    assert wide["bias"] is plain["bias"]


def test_kernels_turn_in_the_winograd_domain() -> None:
    _, kernel, _ = make_operands((1, 1, 1, 4, 2))
    turned = winograd.turn_kernel(winograd.transform_kernel(kernel))
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    assert_close(turned, winograd.transform_kernel(flipped), rtol=1e-6)


def test_prepared_networks_have_the_same_layers_and_shapes(raw: dict[str, Any]) -> None:
    images = jnp.zeros((2, 17, 23, 3))
    prepared = jax.eval_shape(jaxstyle.vgg.prepare_for_cpu, raw)
    shapes = jax.eval_shape(jaxstyle.vgg.features, prepared, images)
    assert shapes == jax.eval_shape(jaxstyle.vgg.features, raw, images)
    assert jaxstyle.vgg.layer_names(prepared) == jaxstyle.vgg.layer_names(raw)


def test_prepared_networks_can_be_truncated(
    raw: dict[str, Any], content: jax.Array
) -> None:
    down_to = jaxstyle.vgg.truncate(raw, ["relu3_3"])
    prepared = jaxstyle.vgg.prepare_for_cpu(down_to)
    features = jax.jit(jaxstyle.vgg.features)(prepared, content)
    assert_close(features, jax.jit(jaxstyle.vgg.features)(down_to, content))
    cut = jaxstyle.vgg.truncate(prepared, ["relu1_2"])
    assert jaxstyle.vgg.layer_names(cut) == ("relu1_1", "relu1_2")
