"""The transform net: parameters, sizes, norms, and what JAX does with it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from net_samples import CONSTANTS, every_kind
from numeric_checks import assert_close

from jaxstyle.files.param_files import leaves
from jaxstyle.kernels.convolutions import Geometry, convolve
from jaxstyle.nets.flax_net import TransformNet
from jaxstyle.nets.net_layers import Layer, apply_convolution, make_layers
from jaxstyle.nets.transform_net import (
    MOMENTUM,
    NORMS,
    SMALLEST_SIDE,
    init_net,
    net_blocks,
    net_noise,
    net_norm,
    net_shapes,
    net_upsampling,
    net_width,
    stylize,
    stylize_in_training,
)

pytestmark = pytest.mark.usefixtures("plain_convolutions")

WIDTH, BLOCKS = 4, 1
"""Small nets, which compile fast."""

run = jax.jit(stylize)
run_in_training = jax.jit(stylize_in_training)

every_norm = pytest.mark.parametrize("norm", NORMS)


def make_params(seed: int = 0, **options: Any) -> dict[str, Any]:
    """Return parameters of which no scale is 1 and no bias is 0."""
    key = jax.random.key(seed)
    params = jax.device_get(init_net(key, width=WIDTH, blocks=BLOCKS, **options))
    noise = np.random.default_rng(seed)
    moved: dict[str, Any] = jax.tree.map(
        lambda x: np.float32(x + abs(x) * noise.uniform(-0.3, 0.3, x.shape) + 0.01),
        params,
    )
    return moved | {name: params[name] for name in CONSTANTS & params.keys()}


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    return make_params()


@pytest.fixture(scope="module")
def images() -> jax.Array:
    return jax.random.uniform(jax.random.key(1), (2, 18, 21, 3))


# --- parameters ---------------------------------------------------------------------


@every_norm
def test_width_and_norm_are_read_off_the_parameters(norm: str) -> None:
    params = make_params(norm=norm)
    assert (net_width(params), net_norm(params)) == (WIDTH, norm)
    assert net_blocks(params) == BLOCKS
    assert (net_upsampling(params), net_noise(params)) == ("nearest", 0)
    shapes = net_shapes(width=WIDTH, norm=norm, blocks=BLOCKS)
    assert jax.tree.map(jnp.shape, params) == shapes


def test_upsampling_and_noise_are_read_off_the_parameters() -> None:
    params = make_params(upsampling="bilinear", noise=2)
    assert (net_upsampling(params), net_noise(params)) == ("bilinear", 2)
    assert params["conv4"]["kernel"].shape[:2] == (3, 3)
    assert params["conv1"]["kernel"].shape[2] == 5
    shapes = net_shapes(width=WIDTH, norm="affine", blocks=BLOCKS, taps=3, noise=2)
    assert jax.tree.map(jnp.shape, params) == shapes
    with pytest.raises(ValueError, match="no upsampling 'cubic'; known are nearest, b"):
        make_params(upsampling="cubic")
    with pytest.raises(ValueError, match="0 or more channels of noise, got -1"):
        make_params(noise=-1)


@pytest.mark.parametrize("size", [(5, 7), (4, 4)])
def test_a_filter_makes_the_upsampling_bilinear(size: tuple[int, int]) -> None:
    """Inside; at the edge of the image, the filter sees the edge repeated twice."""
    layer = make_layers(width=1, norm="instance", blocks=0, taps=3)[3]
    assert isinstance(layer, Layer)
    net = make_params(upsampling="bilinear")
    x = jax.random.normal(jax.random.key(0), (1, *size, 4 * WIDTH))
    found = apply_convolution(layer, net, x, convolve)
    large = jax.image.resize(x, (1, 2 * size[0], 2 * size[1], 4 * WIDTH), "linear")
    plain = make_layers(width=1, norm="instance", blocks=0)[-1]
    assert isinstance(plain, Layer)
    own = {plain.conv_name: net["conv4"]}
    like = layer._replace(number=plain.number, geometry=Geometry(3), taps=1)
    expected = apply_convolution(like, own, large, convolve)
    assert_close(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_only_noise_makes_a_picture_of_flat_color_uneven() -> None:
    """Away from the edges; batch norm, since flat color has no moments of its own."""
    gray = jnp.full((1, 96, 96, 3), 0.4)

    def unevenness(noise: int) -> float:
        net = make_params(norm="batch", upsampling="bilinear", noise=noise)
        return float(jnp.ptp(run(net, gray)[0, 32:-32, 32:-32], (0, 1)).max())

    assert unevenness(0) < 1e-6
    assert unevenness(1) > 1e-2


def test_the_tree_is_as_documented() -> None:
    shapes = dict(leaves(net_shapes(width=32, norm="affine")))
    assert shapes["conv1/kernel"] == (9, 9, 3, 32)
    assert shapes["conv2/kernel"] == (3, 3, 32, 64)
    assert shapes["conv3/kernel"] == (3, 3, 64, 128)
    assert shapes["residual5/conv2/kernel"] == (3, 3, 128, 128)
    assert shapes["residual5/norm2/scale"] == (128,)
    assert shapes["conv4/kernel"] == (3, 3, 128, 64)
    assert shapes["conv5/kernel"] == (3, 3, 64, 32)
    assert shapes["conv6/kernel"] == (9, 9, 32, 3)
    trained = {name for name in shapes if name.split("/")[0] not in CONSTANTS}
    assert sum(np.prod(shapes[name]) for name in trained) == 1_679_235


def test_kernels_are_drawn_as_pytorch_draws_them() -> None:
    kernel = init_net(jax.random.key(0), width=16)["residual1"]["conv1"]["kernel"]
    bound = 1 / np.sqrt(9 * 64)
    assert 0.99 * bound < float(jnp.abs(kernel).max()) <= bound
    assert float(kernel.std()) == pytest.approx(bound / np.sqrt(3), rel=0.02)


def test_the_key_decides() -> None:
    first, again, other = (init_net(jax.random.key(k), width=2) for k in (0, 0, 1))
    assert_close(first, again, rtol=0)
    assert bool((first["conv1"]["kernel"] != other["conv1"]["kernel"]).all())


def test_an_unknown_norm_or_width_is_refused() -> None:
    with pytest.raises(ValueError, match="no norm 'group'; known are affine, inst"):
        init_net(jax.random.key(0), norm="group")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        init_net(jax.random.key(0), width=0)
    model, key = TransformNet(norm="group"), jax.random.key(0)
    with pytest.raises(ValueError, match=r"^no norm 'group'; known are affine, "):
        jax.eval_shape(model.init, key, jnp.zeros((16, 16, 3)))


# --- images -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (19, 17)])
def test_any_size_is_kept(params: dict[str, Any], size: tuple[int, int]) -> None:
    image = jax.random.uniform(jax.random.key(0), (*size, 3))
    stylized = run(params, image)
    assert stylized.shape == image.shape
    assert bool(jnp.isfinite(stylized).all())


def test_padding_is_a_reflection_that_is_cropped(
    params: dict[str, Any], images: jax.Array
) -> None:
    padded = jnp.pad(images, ((0, 0), (0, 2), (0, 3), (0, 0)), "reflect")
    assert_close(run(params, images), run(params, padded)[:, :18, :21])


@pytest.mark.parametrize("axes", [(), (3,), (2, 3)])
def test_batch_axes_are_kept(params: dict[str, Any], axes: tuple[int, ...]) -> None:
    shape = (*axes, 16, 20, 3)
    assert jax.eval_shape(stylize, params, jnp.zeros(shape)).shape == shape


@every_norm
def test_images_of_a_batch_do_not_see_each_other(norm: str, images: jax.Array) -> None:
    params = make_params(norm=norm)
    together = run(params, images)
    assert_close(run(params, images[0]), together[0])
    assert_close(run(params, images[1]), together[1])
    assert_close(jax.jit(jax.vmap(stylize, (None, 0)))(params, images), together)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_image_gives_finite_pixels_and_gradients(
    params: dict[str, Any], value: float
) -> None:
    flat = jnp.full((16, 16, 3), value)
    assert bool(jnp.isfinite(run(params, flat)).all())
    gradient = jax.jit(jax.grad(lambda p, x: stylize(p, x).sum(), (0, 1)))(params, flat)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


def test_8_bit_and_small_images_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="uint8"):
        stylize(params, jnp.zeros((16, 16, 3), jnp.uint8))
    small = SMALLEST_SIDE - 1
    with pytest.raises(ValueError, match="at least 16x16 are needed"):
        stylize(params, jnp.zeros((small, 16, 3)))
    with pytest.raises(ValueError, match=r"\[\*n, height, width, 3\]"):
        stylize(params, jnp.zeros((16, 16, 4)))


# --- the layers ---------------------------------------------------------------------


def test_the_constants_tie_pixels_to_those_of_the_net(
    params: dict[str, Any], images: jax.Array
) -> None:
    """A net that sees and gives pixels from 0 to 255 is the same net otherwise."""
    wide = params | {
        "input": {name: 255 * value for name, value in params["input"].items()},
        "output": {name: 255 * value for name, value in params["output"].items()},
    }
    assert_close(run(wide, 255 * images), 255 * run(params, images))


def test_the_slope_decides_on_a_relu_after_each_residual_branch(
    images: jax.Array,
) -> None:
    """Branches that are below zero everywhere count in full, or not at all."""
    params, cut = make_params(), make_params()
    for block in (f"residual{index}" for index in range(1, BLOCKS + 1)):
        norm = params[block]["norm2"]
        params[block]["norm2"] = norm | {"bias": norm["bias"] - 20}
        cut[block]["norm2"] = {name: 0 * value for name, value in norm.items()}
    without = params | {"negative_slope": jnp.zeros(())}
    assert_close(run(without, images), run(cut, images))
    assert float(jnp.abs(run(params, images) - run(cut, images)).max()) > 1e-3


def test_instance_norm_forgets_brightness_and_contrast(images: jax.Array) -> None:
    params = make_params(norm="instance")
    assert_close(run(params, 0.3 * images + 0.2), run(params, images), rtol=1e-3)


def test_batch_norm_does_not(images: jax.Array) -> None:
    params = make_params(norm="batch")
    difference = run(params, 0.3 * images + 0.2) - run(params, images)
    assert float(jnp.abs(difference).max()) > 0.05


# --- training -----------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["affine", "instance"])
def test_instance_norm_is_the_same_in_training(norm: str, images: jax.Array) -> None:
    params = make_params(norm=norm)
    stylized, kept = run_in_training(params, images)
    assert_close(stylized, run(params, images))
    assert_close(kept, params, rtol=0)


def test_batch_norm_takes_its_statistics_from_the_batch(images: jax.Array) -> None:
    params = make_params(norm="batch")
    stylized, _ = run_in_training(params, images)
    brighter, _ = run_in_training(params, 0.3 * images + 0.2)
    assert_close(brighter, stylized, rtol=1e-3)
    alone, _ = run_in_training(params, images[:1])
    assert float(jnp.abs(alone - stylized[:1]).max()) > 1e-3


def test_batch_norm_follows_its_running_statistics(images: jax.Array) -> None:
    params = make_params(norm="batch")
    constant = {name: params[name] for name in CONSTANTS & params.keys()}
    current: Any = params
    for _ in range(80):
        stylized, current = run_in_training(current, images)
    assert_close(run(current, images), stylized, rtol=1e-2)
    assert_close({name: current[name] for name in constant}, constant, rtol=0)
    _, next_one = run_in_training(params, images)
    old, new = params["norm1"]["mean"], next_one["norm1"]["mean"]
    settled = current["norm1"]["mean"]
    assert_close(new, MOMENTUM * old + (1 - MOMENTUM) * settled, rtol=1e-2)


@every_norm
def test_gradients_reach_all_that_is_trained_and_no_constant(
    norm: str, images: jax.Array
) -> None:
    def objective(params: Any, images: jax.Array) -> jax.Array:
        return jnp.square(stylize_in_training(params, images)[0]).sum()

    params = make_params(norm=norm, negative_slope=0.5)
    of_params, of_images = jax.jit(jax.grad(objective, (0, 1)))(params, images)
    sizes = {name: float(jnp.abs(leaf).max()) for name, leaf in leaves(of_params)}
    statistics = ("mean", "std", "variance", "negative_slope")
    for name, size in sizes.items():
        assert (size == 0) == name.endswith(statistics), name
    assert float(jnp.abs(of_images).max()) > 0


def test_gradients_are_those_of_finite_differences(images: jax.Array) -> None:
    params = make_params(norm="affine")
    direction = make_params(seed=5)

    def objective(step: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda p, d: p + step * d, params, direction)
        moved |= {name: params[name] for name in CONSTANTS & params.keys()}
        return stylize(moved, images + 0.1 * step * images[::-1]).mean()

    with jax.enable_x64(True):
        params, direction, images = jax.tree.map(
            lambda x: jnp.asarray(np.float64(x)), (params, direction, images)
        )
        slope = jax.jit(jax.grad(objective))(jnp.zeros(()))
        value, h = jax.jit(objective), 1e-6
        expected = (value(jnp.array(h)) - value(jnp.array(-h))) / (2 * h)
    assert float(slope) == pytest.approx(float(expected), rel=1e-4)


# --- JAX ----------------------------------------------------------------------------


def test_vmap_over_stacked_styles(images: jax.Array) -> None:
    """Nets with and without the ReLU in one stack."""
    styles = [make_params(1), make_params(2), make_params(3, negative_slope=0.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *styles)
    found = jax.jit(jax.vmap(stylize, (0, None)))(stacked, images)
    assert_close(found, jnp.stack([run(params, images) for params in styles]))


@every_norm
def test_bfloat16_images_are_stylized_in_bfloat16(norm: str, images: jax.Array) -> None:
    params = make_params(norm=norm)
    half = run(params, images.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    difference = jnp.abs(half.astype(jnp.float32) - run(params, images))
    assert float(difference.mean()) < 0.03


def test_equal_shapes_do_not_recompile(
    params: dict[str, Any], images: jax.Array
) -> None:
    traces = []

    @jax.jit
    def counted(params: Any, images: jax.Array) -> jax.Array:
        traces.append(images)
        return stylize(params, images)

    for factor in (0.5, 1.0):
        counted(make_params(7), factor * images)
    assert len(traces) == 1


# --- as a Flax module ---------------------------------------------------------------


@every_kind
def test_flax_module_is_stylize_on_the_tree_of_init_net(
    kind: dict[str, Any], images: jax.Array
) -> None:
    options = {"width": WIDTH, "blocks": BLOCKS, "negative_slope": 0.5, **kind}
    model = TransformNet(**options)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    drawn = init_net(jax.random.key(0), **options)
    params = variables["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, drawn)
    for name in CONSTANTS & drawn.keys():
        jax.tree.map(np.testing.assert_array_equal, params[name], drawn[name])
    for name in ("conv1", "conv3", "conv6"):
        new, old = params[name]["kernel"], drawn[name]["kernel"]
        assert (new != old).any()
        assert abs(new.std() / old.std() - 1) < 0.2
    np.testing.assert_array_equal(
        jax.jit(model.apply)({"params": drawn}, images), run(drawn, images)
    )
