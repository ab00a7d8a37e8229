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
from jaxstyle.losses import Targets, make_targets, perceptual_loss
from jaxstyle.nets import mix_styles
from jaxstyle.training import init_state, make_problem

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


@pytest.mark.parametrize(
    ("styles", "parts"),
    [
        (IMAGE, ("a list", "write [style]")),
        (Image.new("RGB", (16, 16)), ("a list", "write [style]")),
        ("a.jpg", ("'a.jpg'", "jaxstyle.load_image")),
    ],
)
def test_one_style_is_no_list(
    shallow: Params, styles: Any, parts: tuple[str, ...]
) -> None:
    weights, optimize = Weights({}, {"relu1_1": 1.0}), jaxstyle.optimize_image
    for run in (
        lambda: make_targets(shallow, IMAGE, styles, weights),
        lambda: make_problem(shallow, styles, weights),
        lambda: optimize(shallow, IMAGE, styles, weights=weights, steps=1),
    ):
        assert_advice(run, TypeError, *parts)


@pytest.mark.parametrize("weights", [{"relu1_1": 1.0}, 1.0])
def test_what_are_no_weights(weights: Any) -> None:
    targets = Targets({}, {})
    for run in (
        lambda: make_targets(NET, IMAGE, [IMAGE], weights),
        lambda: make_problem(NET, [IMAGE], weights),
        lambda: perceptual_loss(NET, IMAGE, targets, weights),
    ):
        assert_advice(run, TypeError, "jaxstyle.Weights(content=...", "got a ")


def test_what_the_loss_is_not_of() -> None:
    weights, targets = Weights({}, {}), Targets({}, {})
    with_targets: Any = weights, weights
    assert_advice(
        lambda: perceptual_loss(NET, IMAGE, *with_targets), TypeError, "make_targets"
    )
    photo: Any = Image.new("RGB", (16, 16))
    assert_advice(
        lambda: perceptual_loss(NET, photo, targets, weights), TypeError, "a PIL image"
    )


@pytest.mark.parametrize(
    ("params", "target", "kind", "parts"),
    [
        (NET, {}, ValueError, ("a transport", "those of a transform net")),
        ("decoder", {}, TypeError, ("'decoder'", "jaxstyle.load_transport()")),
        ({"encoder": {}}, "udnie", TypeError, ("'udnie'", "load_painting")),
        ({"encoder": {}}, IMAGE, TypeError, ("jaxstyle.transport.describe",)),
        ({"encoder": {}}, [(IMAGE, None)], TypeError, ("transport.describe",)),
    ],
)
def test_what_is_no_transport_and_no_painting(
    params: Any, target: Any, kind: type[Exception], parts: tuple[str, ...]
) -> None:
    assert_advice(
        lambda: jaxstyle.transport.stylize(params, IMAGE, target), kind, *parts
    )


def test_what_cannot_be_mixed() -> None:
    names: Any = ["great-wave", "udnie"]
    one: Any = NET
    assert_advice(lambda: mix_styles(names, [1, 1]), TypeError, "'great-wave'", "load_")
    assert_advice(lambda: mix_styles(one, [1]), TypeError, "a list", "[net]")
    assert_advice(
        lambda: jaxstyle.transport.mix(names, [1, 1]), TypeError, "load_painting"
    )


def test_what_cannot_be_loaded_saved_and_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a painting, for .*load_painting"):
        jaxstyle.load_style("hokusai-poppies")
    file: Any = tmp_path / "a.png"
    with pytest.raises(TypeError, match=r"a\.png.*; use jaxstyle\.load_image"):
        jaxstyle.save_image(file, file)
    net: Any = NET
    with pytest.raises(TypeError, match="the parameters come first"):
        init_state(net, net)


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
