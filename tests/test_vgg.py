"""VGG features: layers, poolings, borders, batch axes, normalization, errors."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from numeric_checks import assert_close, assert_gradients

import jaxstyle
from jaxstyle.vgg import layers, network as vgg
from jaxstyle.vgg.layers import POOLINGS

Params = dict[str, Any]
Features = Callable[..., dict[str, jax.Array]]

VGG16 = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3"),
)
VGG19 = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2"),
    *("conv3_1", "conv3_2", "conv3_3", "conv3_4"),
    *("conv4_1", "conv4_2", "conv4_3", "conv4_4"),
    *("conv5_1", "conv5_2", "conv5_3", "conv5_4"),
)
SHIPPED = VGG16[:11]

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


# --- layers -------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "names"), [("vgg16", VGG16), ("vgg19", VGG19)])
def test_convolutions_of_the_networks(network: str, names: tuple[str, ...]) -> None:
    assert layers.convolution_names(network) == names


def test_an_unknown_network_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no network 'vgg11'; known are vgg16, vgg19"):
        layers.convolution_names("vgg11")


def test_layers_are_in_the_order_of_the_network(raw: Params) -> None:
    expected = tuple(name.replace("conv", "relu") for name in SHIPPED)
    assert jaxstyle.vgg.layer_names(raw) == expected
    assert jaxstyle.vgg.layer_names(dict(reversed(raw.items()))) == expected


def test_features_are_all_layers_with_their_sizes(raw: Params) -> None:
    shapes = jax.eval_shape(jaxstyle.vgg.features, raw, jnp.zeros((35, 50, 3)))
    sizes = [(35, 50, 64), (17, 25, 128), (8, 12, 256), (4, 6, 512), (2, 3, 512)]
    assert {name: x.shape for name, x in shapes.items()} == {
        name.replace("conv", "relu"): sizes[int(name[4]) - 1] for name in SHIPPED
    }


def test_truncate_keeps_what_the_deepest_layer_needs(raw: Params) -> None:
    cut = jaxstyle.vgg.truncate(raw, ["relu2_2", "relu1_1"])
    assert jaxstyle.vgg.layer_names(cut) == ("relu1_1", "relu1_2", "relu2_1", "relu2_2")
    assert {"mean", "std"} <= cut.keys()
    assert len(raw) == 13


def test_truncate_names_all_unknown_layers(raw: Params) -> None:
    with pytest.raises(ValueError, match=r"no layer conv1_1, relu5_3 in .* relu1_1, "):
        jaxstyle.vgg.truncate(raw, ["conv1_1", "relu1_1", "relu5_3", "conv1_1"])


def test_truncated_features_are_the_same(shallow: Params, content: jax.Array) -> None:
    cut = jaxstyle.vgg.truncate(shallow, ["relu1_2"])
    whole = jaxstyle.vgg.features(shallow, content)
    for layer, x in jaxstyle.vgg.features(cut, content).items():
        assert_close(x, whole[layer], rtol=1e-6)


def test_jit_computes_no_layer_that_is_not_used(raw: Params) -> None:
    def flops(params: Params) -> float:
        compute = jax.jit(lambda p, image: jaxstyle.vgg.features(p, image)["relu1_2"])
        program = compute.lower(params, jnp.zeros((16, 16, 3))).compile()
        analysis: Any = program.cost_analysis()
        return float(analysis["flops"])

    assert flops(raw) == flops(dict(jaxstyle.vgg.truncate(raw, ["relu1_2"])))


# --- batches ------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", POOLINGS)
def test_batch_axes_jit_and_vmap_change_nothing(
    shallow: Params, content: jax.Array, noisy: jax.Array, pooling: str
) -> None:
    compute = partial(jaxstyle.vgg.features, shallow, pooling=pooling)
    one = [compute(image) for image in (content, noisy)]
    expected = {layer: jnp.stack([x[layer] for x in one]) for layer in one[0]}
    images = jnp.stack([content, noisy])
    assert_close(compute(images), expected)
    assert_close(jax.jit(compute)(images), expected)
    assert_close(jax.vmap(compute)(images), expected)
    nested = jax.tree.map(lambda x: x[:, None], expected)
    assert_close(compute(images[:, None]), nested)


def test_an_empty_batch_has_empty_features(shallow: Params) -> None:
    features = jaxstyle.vgg.features(shallow, jnp.zeros((0, 8, 8, 3)))
    assert features["relu2_1"].shape == (0, 4, 4, 128)


def test_features_are_the_same_bits_again(shallow: Params, content: jax.Array) -> None:
    compute = jax.jit(jaxstyle.vgg.features)
    first, second = compute(shallow, content), compute(shallow, content)
    assert all(bool((first[layer] == second[layer]).all()) for layer in first)


# --- padding ------------------------------------------------------------------------


def correlate(x: jax.Array, layer: Params) -> jax.Array:
    """Correlate with a layer's kernels where they fit, without padding."""
    products = lax.conv_general_dilated(
        x[None], layer["kernel"], (1, 1), "VALID", dimension_numbers=CHANNELS_LAST
    )
    return nn.relu(products[0] + layer["bias"])


@pytest.fixture(scope="module")
def first_layers(raw: Params) -> Params:
    """The first two layers, [*n, h, w, 64] each."""
    return dict(jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu1_2"])))


def test_only_the_first_convolution_replicates_the_border(
    first_layers: Params, content: jax.Array
) -> None:
    found = jaxstyle.vgg.features(first_layers, content, padding="replicate")
    sides = ((1, 1), (1, 1), (0, 0))
    x = (content - first_layers["mean"]) / first_layers["std"]
    first = correlate(jnp.pad(x, sides, "edge"), first_layers["conv1_1"])
    second = correlate(jnp.pad(first, sides), first_layers["conv1_2"])
    assert_close(found, {"relu1_1": first, "relu1_2": second})


def test_zeros_are_around_the_image_by_default(
    first_layers: Params, content: jax.Array
) -> None:
    x = (content - first_layers["mean"]) / first_layers["std"]
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    expected = correlate(padded, first_layers["conv1_1"])
    for found in (
        jaxstyle.vgg.features(first_layers, content),
        jaxstyle.vgg.features(first_layers, content, padding="zero"),
    ):
        assert_close(found["relu1_1"], expected)


def test_a_replicated_border_is_no_edge(first_layers: Params) -> None:
    flat = jnp.broadcast_to(jnp.array([0.9, 0.2, 0.6]), (6, 7, 3))
    spreads = {
        padding: jaxstyle.vgg.features(first_layers, flat, padding=padding)["relu1_1"]
        .std((0, 1))
        .max()
        for padding in vgg.BORDERS
    }
    assert spreads["replicate"] < 1e-5
    assert spreads["zero"] > 0.1


def test_padding_changes_no_size(raw: Params) -> None:
    zero, replicate = (
        jax.eval_shape(
            partial(jaxstyle.vgg.features, padding=padding), raw, jnp.zeros((35, 50, 3))
        )
        for padding in ("zero", "replicate")
    )
    assert zero == replicate


def test_a_replicated_border_of_a_batch_is_that_of_its_images(
    first_layers: Params, content: jax.Array, noisy: jax.Array
) -> None:
    compute = jax.jit(partial(jaxstyle.vgg.features, first_layers, padding="replicate"))
    images = jnp.stack([content, noisy])
    found = compute(images)
    for index, image in enumerate(images):
        expected = jaxstyle.vgg.features(first_layers, image, padding="replicate")
        assert_close(jax.tree.map(lambda x, i=index: x[i], found), expected)


def test_prepared_kernels_replicate_the_border_too(
    raw: Params, content: jax.Array
) -> None:
    net = jaxstyle.vgg.truncate(raw, ["relu3_2"])
    compute = jax.jit(partial(jaxstyle.vgg.features, padding="replicate"))
    expected = compute(net, content)
    assert_close(compute(jaxstyle.vgg.prepare_for_cpu(net), content), expected)


def test_gradients_at_a_replicated_border(raw: Params) -> None:
    net = jaxstyle.vgg.truncate(raw, ["relu1_1"])
    image = np.random.default_rng(0).uniform(size=(3, 4, 3))
    assert_gradients(
        lambda image: jaxstyle.vgg.features(net, image, padding="replicate")["relu1_1"],
        image,
    )


# --- bad input ----------------------------------------------------------------------


def test_an_unknown_padding_is_named_with_the_known_ones(
    shallow: Params, content: jax.Array
) -> None:
    message = "no padding 'reflect'; known are zero, replicate"
    with pytest.raises(ValueError, match=message):
        jaxstyle.vgg.features(shallow, content, padding="reflect")


def test_an_unknown_pooling_is_named_with_the_known_ones(
    shallow: Params, content: jax.Array
) -> None:
    message = "no pooling 'min'; known are max, average, l2"
    with pytest.raises(ValueError, match=message):
        jaxstyle.vgg.features(shallow, content, pooling="min")


def test_8_bit_images_are_refused(shallow: Params) -> None:
    with pytest.raises(TypeError, match=r"uint8; divide 8-bit images by 255"):
        jaxstyle.vgg.features(shallow, jnp.zeros((8, 8, 3), jnp.uint8))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 4), (3, 8, 8)])
def test_wrong_shapes_are_refused(shallow: Params, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[\*n, height, width, 3\], got \("):
        jaxstyle.vgg.features(shallow, jnp.zeros(shape))


@pytest.mark.parametrize(("height", "width"), [(16, 15), (15, 16), (0, 16)])
def test_images_must_reach_the_deepest_layer(
    raw: Params, height: int, width: int
) -> None:
    message = f"images of {width}x{height} pixels is too small: at least 16x16"
    with pytest.raises(ValueError, match=message):
        jaxstyle.vgg.features(raw, jnp.zeros((height, width, 3)))


def test_the_smallest_images_work(raw: Params, shallow: Params) -> None:
    shapes = jax.eval_shape(jaxstyle.vgg.features, raw, jnp.zeros((16, 17, 3)))
    assert shapes["relu5_1"].shape == (1, 1, 512)
    assert jaxstyle.vgg.features(shallow, jnp.zeros((2, 3, 3)))["relu2_1"].shape == (
        (1, 1, 128)
    )


# --- convolution --------------------------------------------------------------------


def test_the_written_gradients_are_those_of_the_convolution() -> None:
    keys = jax.random.split(jax.random.key(1), 2)
    x = jax.random.normal(keys[0], (2, 5, 4, 3))
    kernel = jax.random.normal(keys[1], (3, 3, 3, 2))
    assert_gradients(vgg.convolve, x, kernel)


# --- normalization ------------------------------------------------------------------


@pytest.fixture(scope="module")
def compute() -> Features:
    compute: Features = jax.jit(jaxstyle.vgg.features)
    return compute


@pytest.mark.parametrize("per", ["layer", "filter"])
def test_normalized_features_are_the_raw_ones_divided(
    raw: Params,
    content: jax.Array,
    compute: Features,
    per: str,
) -> None:
    params = jaxstyle.vgg.normalize(raw, per=per)
    features, normalized = compute(raw, content), compute(params, content)
    for layer, x in features.items():
        means = raw[layer.replace("relu", "conv")]["mean_activation"]
        assert_close(normalized[layer], x / (means.mean() if per == "layer" else means))


def test_mean_activations_become_1_per_layer(raw: Params) -> None:
    params = jaxstyle.vgg.normalize(raw)
    for name in SHIPPED:
        before = raw[name]["mean_activation"]
        after = params[name]["mean_activation"]
        np.testing.assert_allclose(after.mean(), 1, rtol=1e-5)
        np.testing.assert_allclose(after / after[0], before / before[0], rtol=1e-5)


def test_mean_activations_become_1_per_filter(raw: Params) -> None:
    params = jaxstyle.vgg.normalize(raw, per="filter")
    for name in SHIPPED:
        before = raw[name]["mean_activation"]
        loud = before > 1e-3 * before.mean()
        after = params[name]["mean_activation"]
        np.testing.assert_allclose(after[loud], 1, rtol=1e-6)


def test_a_silent_filter_stays_finite(shallow: Params, content: jax.Array) -> None:
    first = shallow["conv1_1"]
    silent = first | {"mean_activation": first["mean_activation"].at[5].set(0)}
    params = jaxstyle.vgg.normalize(shallow | {"conv1_1": silent}, per="filter")
    assert params["conv1_1"]["mean_activation"][5] == 0
    for x in jaxstyle.vgg.features(params, content).values():
        assert bool(jnp.isfinite(x).all())


@pytest.mark.parametrize("per", ["layer", "filter"])
def test_normalizing_twice_changes_nothing(shallow: Params, per: str) -> None:
    once = jaxstyle.vgg.normalize(shallow, per=per)
    assert_close(jaxstyle.vgg.normalize(once, per=per), once, rtol=1e-6)


def test_normalization_by_anything_else_is_refused(shallow: Params) -> None:
    with pytest.raises(ValueError, match="per layer or per filter, not 'network'"):
        jaxstyle.vgg.normalize(shallow, per="network")


def test_the_input_normalization_is_part_of_the_parameters(
    shallow: Params, content: jax.Array
) -> None:
    """Pixels and statistics in other units give the same features."""
    scaled = shallow | {"mean": 255 * shallow["mean"], "std": 255 * shallow["std"]}
    features = jax.jit(jaxstyle.vgg.features)
    assert_close(features(scaled, 255 * content), features(shallow, content))


def test_preparing_twice_is_preparing_once(raw: Params) -> None:
    once = jaxstyle.vgg.prepare_for_cpu(jaxstyle.vgg.truncate(raw, ["relu3_2"]))
    assert jaxstyle.vgg.prepare_for_cpu(once) == once


def test_normalizing_prepared_parameters_is_refused(raw: Params) -> None:
    prepared = jaxstyle.vgg.prepare_for_cpu(jaxstyle.vgg.truncate(raw, ["relu3_2"]))
    with pytest.raises(ValueError, match="before prepare_for_cpu"):
        jaxstyle.vgg.normalize(prepared)


def test_truncating_to_no_layer_keeps_the_first(raw: Params) -> None:
    assert jaxstyle.vgg.layer_names(jaxstyle.vgg.truncate(raw, [])) == ("relu1_1",)
