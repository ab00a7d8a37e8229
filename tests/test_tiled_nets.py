"""A net makes the same picture of an image tile by tile, in less memory."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from net_samples import every_kind, random_images, random_net

from jaxstyle import stylize
from jaxstyle.nets import stylize_tiled
from jaxstyle.scaling.memory import needed_memory


@every_kind
@pytest.mark.parametrize("shape", [(57, 90), (48, 24)])
def test_tiles_make_the_same_picture(
    kind: dict[str, Any], shape: tuple[int, int]
) -> None:
    net = random_net(**kind, blocks=2, negative_slope=0.3)
    image = random_images(*shape, 3)
    expected = jax.jit(stylize)(net, image)
    got = jax.jit(partial(stylize_tiled, tile=40))(net, image)
    assert float(jnp.ptp(expected)) > 0.05
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_an_image_no_larger_than_a_tile_is_one_tile() -> None:
    """Also of a net without residual blocks."""
    net, image = random_net(blocks=0), random_images(24, 32, 3)
    got = jax.jit(partial(stylize_tiled, tile=32))(net, image)
    np.testing.assert_allclose(got, jax.jit(stylize)(net, image), rtol=0, atol=1e-5)


def test_bfloat16_stays_bfloat16() -> None:
    image = random_images(40, 40, 3)
    run = jax.jit(partial(stylize_tiled, tile=36))
    got = run(random_net(), image.astype(jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    error = np.abs(np.asarray(got, np.float32) - run(random_net(), image))
    assert 0 < error.mean() < 0.02


def test_tiles_take_less_than_half_of_the_memory() -> None:
    net, image = random_net(width=8), random_images(512, 768, 3)
    whole = jax.jit(stylize).lower(net, image).compile()
    tiled = jax.jit(partial(stylize_tiled, tile=64)).lower(net, image).compile()
    assert needed_memory(tiled) < needed_memory(whole) / 2


@pytest.mark.parametrize(
    ("shape", "tile", "message"),
    [
        ((2, 32, 32, 3), 40, r"must be one image \[h, w, 3\], got \(2, 32, "),
        ((12, 32, 3), 40, "16"),
        ((64, 64, 3), 16, "tiles must have sides of 28 or more, got 16"),
    ],
)
def test_what_cannot_be_tiled(shape: tuple[int, ...], tile: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stylize_tiled(random_net(), jnp.zeros(shape), tile=tile)
