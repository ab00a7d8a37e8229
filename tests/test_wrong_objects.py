"""What is no image and no parameters gets an error that says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from net_samples import random_images, random_net
from PIL import Image

import jaxstyle
from jaxstyle import Weights
from jaxstyle.losses import make_targets, perceptual_loss

Params = dict[str, Any]

IMAGE = jnp.asarray(random_images(16, 16, 3))

NET = random_net(width=2, blocks=0)


def assert_advice(run: Callable[[], Any], kind: type[Exception], *parts: str) -> None:
    """An error of one line has these parts."""
    with pytest.raises(kind) as error:
        jax.eval_shape(run)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("images", "parts"),
    [
        (Image.new("RGB", (16, 16)), ("a PIL image", "jaxstyle.load_image")),
        ("photo.jpg", ("'photo.jpg'", "jaxstyle.load_image")),
        (Path("photo.jpg"), ("photo.jpg", "jaxstyle.load_image")),
        (NET, ("got a dict", "parameters")),
        ([[0.0]], ("got a list", "jax.numpy.asarray")),
        (np.zeros((16, 16, 3), np.uint8), ("uint8", "divide")),
    ],
)
def test_what_is_no_image(images: Any, parts: tuple[str, ...]) -> None:
    assert_advice(lambda: jaxstyle.stylize(NET, images), TypeError, *parts)


@pytest.mark.parametrize("asarray", [np.asarray, jnp.asarray])
def test_values_up_to_255(asarray: Callable[[Any], Any]) -> None:
    """Where they are known: those of an argument of `jax.jit` are not."""
    image = asarray(255 * IMAGE)
    with pytest.raises(ValueError, match=r"\[0, 1\], got a mean of .*; divide 8-bit"):
        jaxstyle.stylize(NET, image)


def test_images_that_are_not_clipped_are_images(tmp_path: Path) -> None:
    jaxstyle.save_image(3 * IMAGE - 1, tmp_path / "a.png")
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        jaxstyle.save_image(255 * IMAGE, tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("params", "kind", "parts"),
    [
        ("great-wave", TypeError, ("'great-wave'", "jaxstyle.load_style")),
        (IMAGE, TypeError, ("parameters", "come before the images")),
        ({"conv1_1": {}}, ValueError, ("transform net", "those of a VGG")),
        ({"params": NET}, ValueError, ("variables of a Flax module",)),
        ({}, ValueError, ("a dict with nothing",)),
    ],
)
def test_what_are_no_parameters_of_a_net(
    params: Any, kind: type[Exception], parts: tuple[str, ...]
) -> None:
    assert_advice(lambda: jaxstyle.stylize(params, IMAGE), kind, *parts)


@pytest.mark.parametrize(
    ("params", "kind", "parts"),
    [
        ("vgg16", TypeError, ("'vgg16'", "jaxstyle.load_vgg")),
        (IMAGE, TypeError, ("come before the images",)),
        (NET, ValueError, ("of a VGG", "those of a transform net")),
    ],
)
def test_what_are_no_parameters_of_a_vgg(
    params: Any, kind: type[Exception], parts: tuple[str, ...]
) -> None:
    weights = Weights({"relu1_1": 1.0}, {})
    optimize = jaxstyle.optimize_image
    for run in (
        lambda: jaxstyle.vgg.features(params, IMAGE),
        lambda: jaxstyle.vgg.normalize(params),
        lambda: make_targets(params, IMAGE, [IMAGE], weights),
        lambda: optimize(params, IMAGE, [IMAGE], weights=weights, steps=1),
    ):
        assert_advice(run, kind, *parts)


def test_integer_weights_would_compile_again(shallow: Params) -> None:
    weights = Weights({"relu1_1": 1.0}, {"relu1_1": 1})
    targets = jax.eval_shape(
        lambda vgg: make_targets(vgg, IMAGE, [IMAGE], weights), shallow
    )
    assert_advice(
        lambda: perceptual_loss(shallow, IMAGE, targets, weights),
        TypeError,
        "weights.style['relu1_1']",
        "write 1.0",
    )


def test_a_mesh_with_explicit_axes() -> None:
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(jax.sharding.AxisType.Explicit,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    image = jax.device_put(IMAGE, place)
    with pytest.raises(ValueError, match=r"axis_types=.*AxisType\.Auto"):
        jax.jit(jaxstyle.stylize)(NET, image)
