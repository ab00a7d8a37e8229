"""The two ways in which each convolution of a transform net runs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close, assert_gradients

from jaxstyle.kernels.convolutions import (
    Geometry,
    by_blocks,
    convolve,
    directly,
    gather_blocks,
    spread_blocks,
)

GEOMETRIES = {
    "9x9": Geometry(9),
    "3x3": Geometry(3),
    "stride": Geometry(3, stride=2),
    "upsampling": Geometry(3, upsampling=2),
    "smooth upsampling": Geometry(5, upsampling=2),
}

SIZES = [(8, 8), (12, 20), (24, 16)]
"""Multiples of all blocks; the smallest leaves no block without a margin."""

run = jax.jit(convolve, static_argnums=2)

every_geometry = pytest.mark.parametrize(
    "geometry", GEOMETRIES.values(), ids=GEOMETRIES
)


def make_operands(
    geometry: Geometry, size: tuple[int, int] = (12, 20), dtype: Any = np.float32
) -> tuple[jax.Array, jax.Array]:
    """Return two images of 3 channels, and a kernel to 5."""
    generator = np.random.default_rng(sum(size))
    shapes = (2, *size, 3), (geometry.size, geometry.size, 3, 5)
    x, kernel = (jnp.asarray(generator.normal(size=s).astype(dtype)) for s in shapes)
    return x, kernel


def expected_by_definition(
    x: jax.Array, kernel: jax.Array, geometry: Geometry
) -> np.ndarray:
    """Convolve in float64, one tap at a time."""
    up, margin = geometry.upsampling, geometry.size // 2
    big = np.float64(x).repeat(up, 1).repeat(up, 2)
    _, h, w, _ = big.shape
    mode: Any = "edge" if up > 1 else "reflect"
    padded = np.pad(big, ((0, 0), (margin,) * 2, (margin,) * 2, (0, 0)), mode)
    taps = np.ndindex(geometry.size, geometry.size)
    whole = sum(
        padded[:, i : i + h, j : j + w] @ np.float64(kernel[i, j]) for i, j in taps
    )
    return np.asarray(whole)[:, :: geometry.stride, :: geometry.stride]


@every_geometry
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", [directly, by_blocks])
def test_both_ways_are_the_convolution(
    way: Any, geometry: Geometry, size: tuple[int, int]
) -> None:
    x, kernel = make_operands(geometry, size)
    found = jax.jit(partial(way, geometry=geometry))(x, kernel)
    assert_close(found, expected_by_definition(x, kernel, geometry), rtol=1e-5)


@every_geometry
def test_both_ways_have_the_same_gradients(geometry: Geometry) -> None:
    x, kernel = make_operands(geometry)

    def gradients(function: Any) -> Any:
        def objective(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jnp.sin(function(x, kernel)).sum()

        return jax.jit(jax.grad(objective, (0, 1)))(x, kernel)

    expected = gradients(partial(directly, geometry=geometry))
    assert_close(gradients(partial(by_blocks, geometry=geometry)), expected, rtol=1e-4)
    assert_close(gradients(lambda x, k: convolve(x, k, geometry)), expected, rtol=1e-4)


@every_geometry
def test_gradients_are_those_of_finite_differences(geometry: Geometry) -> None:
    x, kernel = make_operands(geometry, (8, 8))
    # Large kernels add up to much: a sine of that has no finite differences.
    assert_gradients(lambda x, k: jnp.sin(convolve(x, k, geometry) / 4), x, kernel)


@every_geometry
def test_a_cpu_runs_it_by_blocks_and_others_directly(geometry: Geometry) -> None:
    x, kernel = make_operands(geometry)
    lowered = jax.jit(lambda x, k: convolve(x, k, geometry)).trace(x, kernel)
    assert "convolution" not in lowered.lower(lowering_platforms=("cpu",)).as_text()
    for platform in ("cuda", "tpu"):
        elsewhere = lowered.lower(lowering_platforms=(platform,)).as_text()
        assert elsewhere.count("stablehlo.convolution(") == 1


@every_geometry
def test_vmap_over_images_and_kernels(geometry: Geometry) -> None:
    x, kernel = make_operands(geometry)
    kernels = jnp.stack([kernel, 2 * kernel])

    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x[None], kernel, geometry)[0]

    found = jax.jit(jax.vmap(one))(x, kernels)
    expected = run(x, kernel, geometry) * jnp.array([1, 2]).reshape(2, 1, 1, 1)
    assert_close(found, expected)


@every_geometry
def test_bfloat16_stays_bfloat16(geometry: Geometry) -> None:
    x, kernel = make_operands(geometry)
    found = run(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), geometry)
    assert found.dtype == jnp.bfloat16
    expected = run(x, kernel, geometry)
    assert_close(found.astype(jnp.float32), expected, rtol=0.05)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_blocks_are_gathered_and_spread_again(side: int) -> None:
    x = jnp.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    blocks = gather_blocks(x, side)
    assert blocks.shape == (2, 8 // side, 12 // side, side * side * 3)
    np.testing.assert_array_equal(
        blocks[1, 1, 2], x[1, side : 2 * side, 2 * side : 3 * side].ravel()
    )
    np.testing.assert_array_equal(spread_blocks(blocks, side), x)
