"""Statistics that are held: one fixed function for all frames of a shot."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_samples import Tree, fit_decoder, make_vgg
from net_samples import every_kind, random_images, random_net

from jaxstyle import stylize, transport
from jaxstyle.nets import hold, stylize_tiled
from jaxstyle.nets.padded import stylize_padded
from jaxstyle.transport import Region, describe
from jaxstyle.vgg import layers

pytestmark = pytest.mark.usefixtures("plain_convolutions")

paint: Any = jax.jit(transport.stylize)

hold_painting: Any = jax.jit(transport.hold)


@pytest.fixture(scope="module")
def params(plain_convolutions: None) -> Tree:
    """A narrow encoder, and a decoder for it in closed form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "WIDTHS", (8, 8, 8, 8, 8))
        encoder = make_vgg()
        return {"encoder": encoder, "decoder": fit_decoder(encoder)}


def paste(images: Any) -> np.ndarray:
    """Return images with something new in the lower right corner."""
    changed = np.array(images)
    changed[..., -8:, -8:, :] = 1 - changed[..., -8:, -8:, :]
    return changed


# --- nets ---------------------------------------------------------------------------


@every_kind
def test_one_image_is_painted_as_by_the_net_itself(kind: dict[str, Any]) -> None:
    net, image = random_net(**kind), random_images(1, 18, 22, 3)
    held = jax.jit(stylize)(jax.jit(hold)(net, image), image)
    np.testing.assert_allclose(held, jax.jit(stylize)(net, image), atol=1e-4)


@every_kind
def test_what_stands_still_does_not_change(kind: dict[str, Any]) -> None:
    net, image = random_net(blocks=0, **kind), random_images(160, 16, 3)
    run, held = jax.jit(stylize), jax.jit(hold)(net, image[None])
    one, other = run(held, image), run(held, paste(image))
    np.testing.assert_array_equal(one[:80], other[:80])
    assert not np.allclose(one[-16:], other[-16:], atol=1e-3)
    if kind["norm"] != "batch":
        moved = run(net, paste(image)) - run(net, image)
        assert np.abs(moved[:80]).max() > 1e-3


def test_moments_are_those_of_all_images() -> None:
    net, images = random_net(), random_images(3, 16, 20, 3)
    held = jax.jit(hold)(net, images)
    side_by_side = jax.jit(stylize)(held, images)
    per_channel = np.asarray(held["norm1"]["mean"])
    alone = [np.asarray(jax.jit(hold)(net, x[None])["norm1"]["mean"]) for x in images]
    np.testing.assert_allclose(per_channel, np.mean(alone, 0), atol=1e-4)
    assert side_by_side.shape == images.shape


def test_a_held_net_runs_in_tiles_and_in_padded_arrays() -> None:
    net, image = random_net(), random_images(1, 40, 24, 3)
    held = jax.jit(hold)(net, image[:, :24])
    expected = jax.jit(stylize)(held, image)
    tiled = jax.jit(stylize_tiled, static_argnames="tile")(held, image[0], tile=32)
    np.testing.assert_allclose(tiled, expected[0], atol=1e-4)
    larger = np.pad(image, ((0, 0), (0, 8), (0, 8), (0, 0)))
    padded = jax.jit(stylize_padded)(held, larger, jnp.array([[40, 24]]))
    np.testing.assert_allclose(padded[:, :40, :24], expected, atol=1e-4)


# --- paintings ----------------------------------------------------------------------


def test_one_image_is_painted_as_towards_the_painting_itself(params: Tree) -> None:
    painting = jax.jit(describe)(params, random_images(24, 24, 3) ** 2)
    image = random_images(1, 18, 22, 3)
    held = hold_painting(params, image, painting, strength=0.7)
    picture = paint(params, image, held, strength=0.7)
    expected = paint(params, image, painting, strength=0.7)
    np.testing.assert_allclose(picture, expected, atol=1e-3)


def test_what_stands_still_is_not_repainted(params: Tree) -> None:
    painting = jax.jit(describe)(params, random_images(24, 24, 3) ** 2)
    image = random_images(256, 16, 3)
    held = hold_painting(params, image[None], painting)
    one, other = paint(params, image, held), paint(params, paste(image), held)
    np.testing.assert_allclose(one[:64], other[:64], atol=1e-5)
    assert not np.allclose(one[-16:], other[-16:], atol=1e-3)


def test_regions_are_held_and_so_are_tiles(params: Tree) -> None:
    painting = jax.jit(describe)(params, random_images(24, 24, 3) ** 2)
    image, mask = random_images(1, 256, 32, 3), jnp.zeros((256, 32)).at[:90].set(1)
    target = [Region(painting, mask), Region(painting, 1 - mask)]
    held = hold_painting(params, image, target)
    picture, expected = paint(params, image, held), paint(params, image, target)
    np.testing.assert_allclose(picture, expected, atol=1e-3)
    in_tiles = jax.jit(transport.stylize_tiled, static_argnames="tile")
    tiled = in_tiles(params, image[0], held, tile=160)
    np.testing.assert_allclose(tiled, picture[0], atol=1e-3)


def test_a_single_image_cannot_be_held(params: Tree) -> None:
    painting = jax.jit(describe)(params, random_images(24, 24, 3))
    with pytest.raises(ValueError, match=r"expected a batch of images \[n, h, w, 3\]"):
        transport.hold(params, jnp.zeros((24, 24, 3)), painting)
