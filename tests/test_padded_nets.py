"""A net on images in larger arrays paints what it paints without their padding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from net_samples import every_kind

from jaxstyle.nets.padded import stylize_padded
from jaxstyle.nets.transform_net import init_net, stylize

SIZES = ((16, 18), (29, 17), (32, 20))


def random_images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(size=(*size, 3)).astype(np.float32) for size in SIZES]


def lay_out(images: list[np.ndarray], *, beyond: float) -> np.ndarray:
    arrays = np.full((len(images), 32, 20, 3), beyond, np.float32)
    for array, image in zip(arrays, images, strict=True):
        array[: image.shape[0], : image.shape[1]] = image
    return arrays


@every_kind
def test_what_lies_beyond_an_image_does_not_matter(kind: dict[str, Any]) -> None:
    params = init_net(jax.random.key(0), width=2, blocks=1, **kind)
    images = random_images()
    program = jax.jit(stylize_padded)
    alone = [np.asarray(jax.jit(stylize)(params, image)) for image in images]
    for beyond in (0.0, 1e4, np.nan):
        found = program(params, lay_out(images, beyond=beyond), np.array(SIZES))
        for array, image, expected in zip(
            np.asarray(found), images, alone, strict=True
        ):
            height, width, _ = image.shape
            error = np.abs(array[:height, :width] - expected).max()
            assert error < 1e-4 * np.abs(expected).max()


def test_the_precision_stays() -> None:
    params = init_net(jax.random.key(0), width=1, blocks=0)
    images = jnp.zeros((1, 16, 16, 3), jnp.bfloat16)
    found = jax.eval_shape(stylize_padded, params, images, jnp.full((1, 2), 16))
    assert found.dtype == jnp.bfloat16
    assert found.shape == images.shape
