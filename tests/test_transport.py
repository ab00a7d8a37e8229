"""Painting like any painting in one pass."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_samples import Tree, fit_decoder, make_vgg

import jaxstyle
from jaxstyle.kernels.gaussians import Gaussian, transport_map
from jaxstyle.transport import Region, describe, mix, stylize, stylize_tiled
from jaxstyle.transport.decoder import decode
from jaxstyle.transport.encoder import LEVELS, encode
from jaxstyle.transport.paintings import Painting, fit_level
from jaxstyle.transport.stylization import _Level, stylize_padded
from jaxstyle.vgg import layers

pytestmark = pytest.mark.usefixtures("plain_convolutions")

EXAMPLES = Path(jaxstyle.__file__).parent / "examples"

paint: Any = jax.jit(stylize)

in_tiles: Any = jax.jit(stylize_tiled, static_argnames="tile")


@pytest.fixture(scope="module")
def params(plain_convolutions: None) -> Tree:
    """A narrow encoder, and a decoder for it in closed form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "WIDTHS", (8, 8, 8, 8, 8))
        encoder = make_vgg()
        return {"encoder": encoder, "decoder": fit_decoder(encoder)}


def make_image(seed: int, height: int, width: int, *batch: int) -> jax.Array:
    """Return smooth random colors."""
    coarse = jax.random.uniform(jax.random.key(seed), (*batch, 6, 6, 3))
    fine = jax.random.uniform(jax.random.key(seed), (*batch, height, width, 3))
    smooth = jax.image.resize(coarse, (*batch, height, width, 3), "linear")
    image: jax.Array = 0.8 * smooth + 0.2 * fine
    return image


@pytest.fixture(scope="module")
def photo() -> jax.Array:
    return make_image(0, 37, 50)


@pytest.fixture(scope="module")
def painting(params: Tree) -> Painting:
    found: Painting = jax.jit(describe)(params, make_image(1, 40, 33) ** 3)
    return found


def distance(features: jax.Array, target: Gaussian) -> float:
    """Return the squared distance between distributions of features."""
    own, eye = fit_level(features), 1e-4 * jnp.eye(target.mean.size)
    a, b = own.covariance + eye, target.covariance + eye
    spread = jnp.trace(a) + jnp.trace(b) - 2 * jnp.trace(transport_map(a, b) @ a)
    return float(jnp.square(own.mean - target.mean).sum() + spread)


def move(
    features: jax.Array, layer: str, target: Gaussian, strength: float
) -> jax.Array:
    """Move features of a level to a distribution."""
    level = _Level(LEVELS.index(layer) + 1, {}, [target], [None], jnp.array(strength))
    moves = level.fit(level.measure(features, [None]))
    return level.move(features, moves, [None])


# --- what is known of a painting ----------------------------------------------------


def test_a_painting_is_the_moments_of_its_features(params: Tree) -> None:
    image = make_image(1, 40, 33)
    found, features = describe(params, image), encode(params["encoder"], image)
    assert list(found) == list(LEVELS)
    for layer, maps in features.items():
        points = maps.reshape(-1, maps.shape[-1])
        np.testing.assert_allclose(found[layer].mean, points.mean(0), rtol=1e-4)
        expected = np.cov(points.T, bias=True)
        np.testing.assert_allclose(
            found[layer].covariance, expected, rtol=1e-3, atol=1e-5
        )


def test_a_mask_chooses_a_part_of_a_painting(params: Tree) -> None:
    image = make_image(1, 64, 64)
    other = image.at[:, 32:].set(make_image(2, 64, 32))
    mask = jnp.zeros((64, 64)).at[:, :16].set(1)
    for layer in ("relu1_1", "relu2_1"):
        one, two = (describe(params, x, mask)[layer] for x in (image, other))
        np.testing.assert_allclose(one.mean, two.mean, rtol=1e-5)
        np.testing.assert_allclose(one.covariance, two.covariance, atol=1e-6)
    assert not jnp.allclose(
        describe(params, image)["relu1_1"].mean, describe(params, other)["relu1_1"].mean
    )


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (jnp.zeros((15, 40, 3)), None, "the painting of 40x15 pixels is too small"),
        (
            jnp.zeros((32, 40, 3)),
            jnp.ones((40, 32)),
            "mask must be of its image's size",
        ),
    ],
)
def test_wrong_paintings_are_refused(
    image: jax.Array, mask: Any, message: str, params: Tree
) -> None:
    with pytest.raises(ValueError, match=message):
        describe(params, image, mask)


# --- stylization --------------------------------------------------------------------


def test_without_strength_a_photo_stays_as_it_is(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    np.testing.assert_allclose(
        paint(params, photo, painting, strength=0.0), photo, atol=1e-5
    )


def test_the_features_that_are_decoded_are_distributed_as_the_paintings(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    features = encode(params["encoder"], photo)["relu2_1"]
    moved = move(features, "relu2_1", painting["relu2_1"], 1.0)
    points = np.asarray(moved.reshape(-1, moved.shape[-1]))
    target = painting["relu2_1"]
    np.testing.assert_allclose(points.mean(0), target.mean, rtol=1e-3, atol=1e-3)
    scale = np.abs(target.covariance).max()
    np.testing.assert_allclose(
        np.cov(points.T, bias=True), target.covariance, atol=0.02 * scale
    )


@pytest.mark.parametrize("layer", LEVELS)
def test_more_strength_is_nearer_to_the_painting(
    layer: str, params: Tree, photo: jax.Array, painting: Painting
) -> None:
    features = jax.jit(encode)(params["encoder"], photo)[layer]
    found = [
        distance(move(features, layer, painting[layer], strength), painting[layer])
        for strength in (0.0, 0.4, 0.7, 1.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.1 * found[0]


def test_each_level_has_its_own_strength(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    only_first = paint(params, photo, painting, strength=jnp.eye(4)[0])
    assert jnp.abs(only_first - photo).max() > 0.01
    everywhere = paint(params, photo, painting, strength=jnp.full(4, 0.5))
    np.testing.assert_allclose(
        everywhere, paint(params, photo, painting, strength=0.5), atol=1e-6
    )


def test_a_batch_is_what_each_image_is_alone(params: Tree, painting: Painting) -> None:
    photos = make_image(0, 37, 50, 2, 2)
    together = paint(params, photos, painting)
    for index in np.ndindex(2, 2):
        alone = paint(params, photos[index], painting)
        np.testing.assert_allclose(together[index], alone, atol=1e-5)


def test_it_maps_over_paintings(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    other = describe(params, make_image(5, 32, 48))
    both = jax.tree.map(lambda *x: jnp.stack(x), painting, other)
    found = jax.jit(jax.vmap(stylize, (None, None, 0)))(params, photo, both)
    leading = paint(params, jnp.stack([photo, photo]), both)
    for i, one in enumerate([painting, other]):
        alone = paint(params, photo, one)
        np.testing.assert_allclose(found[i], alone, atol=2e-5)
        np.testing.assert_allclose(leading[i], alone, atol=2e-5)


def test_gradients_are_finite_for_pixels_and_paintings(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    def loss(photo: jax.Array, painting: Painting) -> jax.Array:
        return jnp.square(stylize(params, photo, painting)).mean()

    pixels, moments = jax.jit(jax.grad(loss, (0, 1)))(photo, painting)
    for leaf in jax.tree.leaves((pixels, moments)):
        assert jnp.isfinite(leaf).all()
        assert jnp.abs(leaf).max() > 0


def test_half_precision_keeps_its_dtype_and_nearly_its_values(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    half = paint(params, photo.astype(jnp.bfloat16), painting)
    assert half.dtype == jnp.bfloat16
    single = paint(params, photo, painting)
    assert float(jnp.abs(half.astype(float) - single).mean()) < 0.03


@pytest.mark.parametrize("size", [(16, 16), (16, 31), (33, 17)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_plain_and_small_images_give_finite_pictures(
    size: tuple[int, int], value: float, params: Tree, painting: Painting
) -> None:
    found = paint(params, jnp.full((*size, 3), value), painting)
    assert found.shape == (*size, 3)
    assert jnp.isfinite(found).all()


def test_a_painting_of_one_color_has_nothing_that_varies(
    params: Tree, photo: jax.Array
) -> None:
    color = jnp.array([0.8, 0.2, 0.1])
    plain = jax.jit(describe)(params, jnp.broadcast_to(color, (32, 32, 3)))
    assert jnp.isfinite(paint(params, photo, plain)).all()
    features = jax.jit(encode)(params["encoder"], photo)["relu1_1"]
    moved = move(features, "relu1_1", plain["relu1_1"], 1.0)
    assert moved.std((0, 1)).max() < 0.01
    np.testing.assert_allclose(
        moved.mean((0, 1)), plain["relu1_1"].mean, rtol=1e-3, atol=1e-3
    )


def test_too_small_images_are_refused(params: Tree, painting: Painting) -> None:
    with pytest.raises(ValueError, match="at least 16x16"):
        stylize(params, jnp.zeros((15, 16, 3)), painting)


# --- regions ------------------------------------------------------------------------


def halves(photo: jax.Array, left: Painting, right: Painting) -> list[Region]:
    """Return the left and the right half of an image, each like a painting."""
    mask = jnp.zeros(photo.shape[:2]).at[:, : photo.shape[1] // 2].set(1)
    return [Region(left, mask), Region(right, 1 - mask)]


def test_regions_take_their_own_paintings_and_swap(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    other = jax.jit(describe)(params, make_image(5, 32, 48))
    one = paint(params, photo, halves(photo, painting, other))
    same = paint(params, photo, halves(photo, painting, other)[::-1])
    swapped = paint(params, photo, halves(photo, other, painting))
    np.testing.assert_allclose(one, same, atol=1e-5)
    assert jnp.abs(one - swapped).max() > 0.05


def test_one_region_of_everything_is_the_whole_image(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    region = Region(painting, jnp.ones(photo.shape[:2]))
    found = paint(params, photo, [region])
    np.testing.assert_allclose(found, paint(params, photo, painting), atol=1e-4)


def test_where_no_mask_is_a_photo_stays_as_it_is(
    params: Tree, painting: Painting
) -> None:
    photo = make_image(0, 32, 160)
    left = jnp.zeros(photo.shape[:2]).at[:, :32].set(1)
    found = paint(params, photo, [Region(painting, left)])
    np.testing.assert_allclose(found[:, 128:], photo[:, 128:], atol=1e-5)
    assert jnp.abs(found[:, :32] - photo[:, :32]).max() > 0.05


def test_masks_must_fit(params: Tree, photo: jax.Array, painting: Painting) -> None:
    with pytest.raises(ValueError, match="mask must be of its image's size"):
        stylize(params, photo, [Region(painting, jnp.ones((3, 3)))])


# --- larger arrays ------------------------------------------------------------------


def test_what_lies_beyond_an_image_does_not_matter(
    params: Tree, painting: Painting
) -> None:
    sizes = ((16, 19), (29, 17), (40, 24))
    images = [make_image(7, *size) for size in sizes]
    alone = [paint(params, image, painting, strength=0.9) for image in images]
    program = jax.jit(stylize_padded)
    for beyond in (0.0, np.nan):
        arrays = np.full((len(sizes), 40, 24, 3), beyond, np.float32)
        for array, image in zip(arrays, images, strict=True):
            array[: image.shape[0], : image.shape[1]] = image
        found = program(params, arrays, painting, np.array(sizes), strength=0.9)
        for array, expected in zip(found, alone, strict=True):
            inner = array[: expected.shape[0], : expected.shape[1]]
            np.testing.assert_allclose(inner, expected, atol=1e-4)


# --- tiles --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 40), (33, 190)])
def test_tiles_change_nothing(
    size: tuple[int, int], params: Tree, painting: Painting
) -> None:
    image = make_image(3, *size)
    found = in_tiles(params, image, painting, tile=168)
    np.testing.assert_allclose(found, paint(params, image, painting), atol=1e-4)


def test_tiles_of_regions_change_nothing(params: Tree, painting: Painting) -> None:
    image = make_image(3, 32, 190)
    other = jax.jit(describe)(params, make_image(5, 32, 48))
    regions = halves(image, painting, other)
    found = in_tiles(params, image, regions, tile=168, strength=0.7)
    whole = paint(params, image, regions, strength=0.7)
    np.testing.assert_allclose(found, whole, atol=1e-4)


def test_tiles_that_would_be_all_margin_are_refused(
    params: Tree, painting: Painting
) -> None:
    with pytest.raises(ValueError, match="tiles must have sides of 168 or more"):
        stylize_tiled(params, make_image(3, 200, 40), painting, tile=150)


# --- several paintings --------------------------------------------------------------


def test_a_mixture_of_one_painting_is_that_painting(
    params: Tree, photo: jax.Array, painting: Painting
) -> None:
    assert mix([painting], [2.0]) is painting
    expected = paint(params, photo, painting)
    found = paint(params, photo, jax.jit(mix)([painting, painting], [3.0, 1.0]))
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("layer", LEVELS)
def test_a_mixture_lies_between_its_paintings(
    layer: str, params: Tree, photo: jax.Array, painting: Painting
) -> None:
    other = jax.jit(describe)(params, make_image(5, 32, 48))
    features = jax.jit(encode)(params["encoder"], photo)[layer]
    found = []
    for shares in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)):
        mixed = jax.jit(mix)([painting, other], shares)
        moved = move(features, layer, mixed[layer], 1.0)
        found.append(distance(moved, other[layer]))
    assert found == sorted(found, reverse=True)


def test_mixtures_need_a_share_for_each(painting: Painting) -> None:
    with pytest.raises(ValueError, match="got 1 for 2"):
        mix([painting, painting], [1.0])
    with pytest.raises(ValueError, match="one or more"):
        mix([], [])


# --- the decoder that ships ---------------------------------------------------------


def test_the_decoder_that_ships_paints_an_example() -> None:
    """The photo comes back from relu2_1, and a picture is near to the painting."""
    params = jaxstyle.load_transport()
    photo, image = (
        jnp.asarray(jaxstyle.load_image(EXAMPLES / name, longest_side=96))
        for name in ("chelsea.jpg", "starry_night.jpg")
    )
    features = jax.jit(encode)(params["encoder"], photo)
    decoded = jax.jit(partial(decode, level=2, size=photo.shape[:2]))(
        params["decoder"], features["relu2_1"]
    )
    assert jnp.square(jnp.clip(decoded, 0, 1) - photo).mean() < 10**-2.3
    target = jax.jit(describe)(params, image)
    picture = jnp.clip(paint(params, photo, target), 0, 1)
    after = jax.jit(encode)(params["encoder"], picture)
    for layer, share in (("relu1_1", 0.2), ("relu2_1", 0.4), ("relu3_1", 0.7)):
        before = distance(features[layer], target[layer])
        assert distance(after[layer], target[layer]) < share * before
