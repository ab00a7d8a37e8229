"""Scenes: a content, its styles and their masks, resized together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numeric_checks import assert_close

from jaxstyle.optimize.scenes import Scene, resize_image, resize_scene


def test_scenes_shrink_with_their_styles(scene: Scene) -> None:
    small = resize_scene(scene, 16)
    assert small.content.shape == (12, 16, 3)
    assert [style.shape for style in small.styles] == [(11, 16, 3), (12, 16, 3)]
    expected = jax.image.resize(scene.content, (12, 16, 3), "cubic")
    assert_close(small.content, expected)


def test_styles_are_never_enlarged(scene: Scene) -> None:
    large = resize_scene(scene, 64)
    assert large.content.shape == (48, 64, 3)
    assert_close(large.styles, scene.styles, rtol=0)
    medium = resize_scene(scene, 30)
    assert [style.shape for style in medium.styles] == [(20, 28, 3), (22, 30, 3)]


@pytest.mark.parametrize(
    ("style_scale", "sides"), [(0.5, [8, 8]), (1.25, [20, 20]), (3.0, [28, 32])]
)
def test_styles_have_a_scale_of_their_own(
    scene: Scene, style_scale: float, sides: list[int]
) -> None:
    small = resize_scene(scene, 16, style_scale=style_scale)
    assert [max(style.shape) for style in small.styles] == sides
    assert small.content.shape == (12, 16, 3)


def test_masks_follow_their_images(scene: Scene) -> None:
    small = resize_scene(scene, 8, style_scale=2.0)
    assert small.masks is not None
    assert small.style_masks is not None
    left, right = small.masks
    assert left.shape == right.shape == (6, 8)
    np.testing.assert_allclose(left[:, :3], 1, atol=1e-6)
    np.testing.assert_allclose(left[:, 5:], 0, atol=1e-6)
    np.testing.assert_allclose(left + right, 1, atol=1e-6)
    upper, whole = small.style_masks
    assert whole is None
    assert upper is not None
    assert upper.shape == small.styles[0].shape[:2] == (11, 16)
    assert upper[0].min() > 0.99
    assert upper[-1].max() < 0.01


def test_a_scene_without_masks_stays_without(content: jax.Array) -> None:
    small = resize_scene(Scene(content, [content]), 16)
    assert small.masks is small.style_masks is None


def test_resizing_stays_in_range() -> None:
    board = jnp.broadcast_to((jnp.indices((8, 8)).sum(0) % 2.0)[..., None], (8, 8, 3))
    image = resize_image(board, (13, 21))
    assert image.shape == (13, 21, 3)
    assert image.min() == 0
    assert image.max() == 1
    raw = jax.image.resize(board, (13, 21, 3), "cubic")
    assert raw.max() > 1.01


def test_an_image_of_the_same_size_is_the_same_image(content: jax.Array) -> None:
    np.testing.assert_array_equal(resize_image(3 * content, (24, 32)), 3 * content)
