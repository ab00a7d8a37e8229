"""The encoder that reflects, the decoder, its closed form and its files."""

from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_samples import make_decoder, make_maps, make_vgg

import jaxstyle
from jaxstyle.files.param_files import save_params
from jaxstyle.files.transport_files import DECODER, load_decoder, save_decoder
from jaxstyle.transport import closed_form
from jaxstyle.transport.closed_form import Moments, fit_decoder, reduce_rank, solve
from jaxstyle.transport.decoder import (
    decode,
    decode_block,
    decode_levels,
    double,
    hidden_channels,
    make_block,
)
from jaxstyle.transport.encoder import LEVELS, encode
from jaxstyle.vgg import layers as vgg_layers

pytestmark = pytest.mark.usefixtures("narrow_vgg", "plain_convolutions")

SIZES = [(16, 16), (17, 31), (40, 23)]


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    return size[0] // 2 ** (level - 1), size[1] // 2 ** (level - 1)


# --- encoder ------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_levels_have_their_sizes(size: tuple[int, int]) -> None:
    features = jax.jit(encode)(make_vgg(), jnp.full((2, *size, 3), 0.5))
    assert list(features) == list(LEVELS)
    for level, layer in enumerate(LEVELS, start=1):
        width = vgg_layers.WIDTHS[level - 1]
        assert features[layer].shape == (2, *level_size(size, level), width)


def test_a_plain_image_has_no_border() -> None:
    """With zero padding, features near the border would differ from the others."""
    features = jax.jit(encode)(make_vgg(), jnp.full((32, 32, 3), 0.3))
    for maps in features.values():
        np.testing.assert_allclose(maps, maps[:1, :1] + 0 * maps, rtol=1e-4, atol=1e-6)


def test_far_from_the_border_features_are_those_of_vgg() -> None:
    vgg, image = make_vgg(), make_maps(48, 48, 3) / 3
    ours, theirs = (
        jax.jit(encode)(vgg, image),
        jax.jit(jaxstyle.vgg.features)(vgg, image),
    )
    inside = slice(5, -5)
    for layer in ("relu1_1", "relu2_1", "relu3_1"):
        np.testing.assert_allclose(
            ours[layer][inside, inside], theirs[layer][inside, inside], rtol=1e-4
        )
    border = ours["relu1_1"][0] - theirs["relu1_1"][0]
    assert jnp.abs(border).max() > 0.01


def test_a_mirrored_image_has_mirrored_padding() -> None:
    """What reflection adds is what the mirrored continuation of the image has."""
    vgg, image = make_vgg(), make_maps(16, 16, 3) / 3
    continued = jnp.concatenate([image[:, :0:-1], image], axis=1)
    ours = jax.jit(encode)(vgg, image)["relu1_1"][:, 0]
    np.testing.assert_allclose(
        ours, jax.jit(encode)(vgg, continued)["relu1_1"][:, 15], rtol=1e-5
    )


def test_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16x16"):
        encode(make_vgg(), jnp.zeros((15, 16, 3)))


# --- decoder ------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_decoding_gives_the_size_of_each_level(size: tuple[int, int]) -> None:
    decoder = make_decoder()
    for level in range(1, 5):
        width = vgg_layers.WIDTHS[level - 1]
        features = make_maps(2, *level_size(size, level), width)
        run = partial(decode_levels, level=level, size=size)
        found = jax.eval_shape(run, decoder, features)
        expected = [(2, *level_size(size, k)) for k in range(level - 1, 0, -1)]
        assert [maps.shape[:3] for maps in found] == [*expected, (2, *size)]
        assert found[-1].shape[-1] == 3


def test_one_image_is_decoded_as_in_a_batch() -> None:
    decoder, features = make_decoder(), make_maps(2, 2, 3, 5)
    run = jax.jit(partial(decode, level=4, size=(17, 25)))
    batch, single = run(decoder, features), run(decoder, features[1])
    np.testing.assert_allclose(single, batch[1], atol=1e-5)


def test_nonlinear_branches_are_zero_at_first() -> None:
    params = make_decoder()["block4"]
    last = f"conv{sum(name.startswith('conv') for name in params)}"
    x = make_maps(1, 4, 4, 5)
    linear = {**params, last: jax.tree.map(jnp.zeros_like, params[last])}
    found = make_block(params).apply({"params": params}, x)
    np.testing.assert_array_equal(
        found, make_block(params).apply({"params": linear}, x)
    )
    other = {**params, "conv1": jax.tree.map(lambda a: a + 1, params["conv1"])}
    np.testing.assert_array_equal(found, make_block(params).apply({"params": other}, x))


def test_half_the_width_is_half_the_channels_within() -> None:
    assert hidden_channels([64, 128, 256, 512, 512], width=0.5) == [32, 64, 128, 256]
    with pytest.raises(ValueError, match="more than 0"):
        hidden_channels([64], width=0)


def test_doubling_is_bilinear() -> None:
    x = make_maps(1, 3, 4, 2)
    expected = jax.image.resize(x, (1, 6, 8, 2), "bilinear")
    np.testing.assert_allclose(double(x), expected, rtol=1e-5)


# --- closed form --------------------------------------------------------------------


def test_regression_finds_a_linear_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_form, "RIDGE", 1e-9)
    generator = np.random.default_rng(0)
    weights, x = generator.normal(size=(6, 4)), generator.normal(2, 1, (200, 6))
    moments = Moments(6, 4)
    for part in np.split(x, 4):
        moments.add(part, part @ weights + 3)
    np.testing.assert_allclose(solve(moments), weights, rtol=1e-5, atol=1e-6)


def test_a_lower_rank_keeps_what_matters_most() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 5))
    weights = np.outer([1, 2, 0, 0, 1], [3, 0, 1]) + 1e-3 * generator.normal(
        size=(5, 3)
    )
    moments = Moments(5, 3)
    moments.add(x, x @ weights)
    reduce, expand = reduce_rank(weights, moments, 1)
    assert (reduce.shape, expand.shape) == ((5, 1), (1, 3))
    np.testing.assert_allclose(reduce @ expand, weights, atol=0.01)


def test_a_linear_decoder_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly, from smooth features: it doubles, and the regression takes means."""
    monkeypatch.setattr(closed_form, "RIDGE", 1e-9)
    truth = make_decoder(width=1)
    for name in ("block2", "block3", "block4"):
        expand = truth[name]["linear"]["expand"]
        kernel, bias = 0.05 * expand["kernel"], expand["bias"] + 9
        # So that no ReLU cuts.
        truth[name]["linear"]["expand"] = {"kernel": kernel, "bias": bias}
    features = jax.image.resize(make_maps(8, 3, 3, 5), (8, 12, 12, 5), "cubic")
    run = jax.jit(partial(decode_levels, level=4, size=(96, 96)))
    lower = run(truth, features)
    assert all(maps.min() > 0 for maps in lower[:-1])
    levels = [np.asarray(maps) for maps in (*lower[::-1], features)]
    fitted = fit_decoder(make_decoder(width=1), [levels], samples=4000)
    for level, target in enumerate(levels[:-1], start=1):
        found = decode_block(
            fitted, jnp.asarray(levels[level]), level=level, size=target.shape[1:3]
        )
        assert jnp.square(found - target).mean() < 5e-3 * target.var((0, 1, 2)).mean()


# --- files --------------------------------------------------------------------------


def test_files_keep_decoders_in_8_bits_a_number(tmp_path: Path) -> None:
    decoder, path = make_decoder(), tmp_path / "decoder.safetensors"
    save_decoder(decoder, path, metadata={"step": "7"})
    found, metadata = load_decoder(path)
    assert metadata["step"] == "7"
    assert metadata["license"] == "MIT"

    def check(expected: jax.Array, found: np.ndarray) -> None:
        step = np.abs(expected).max() / 127 if expected.ndim > 1 else 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.51 * step + 1e-6)

    jax.tree.map(check, dict(decoder), found)
    again = tmp_path / "again.safetensors"
    save_decoder(found, again, metadata={"step": "7"})
    jax.tree.map(np.testing.assert_array_equal, load_decoder(again)[0], found)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_params({"x": np.zeros(3)}, path, metadata={})
    with pytest.raises(ValueError, match="holds no decoder"):
        load_decoder(path)
    decoder = make_decoder()
    del decoder["block3"]["conv2"]["bias"]
    save_decoder(decoder, path, metadata={})
    with pytest.raises(ValueError, match="block3/conv2/bias is missing"):
        load_decoder(path)


def test_scales_of_another_shape_multiply_nothing(tmp_path: Path) -> None:
    """A row times a column would take gigabytes."""
    kernel, scale = np.zeros((40_000, 1), np.int8), np.zeros((1, 40_000), np.float32)
    arrays = {"block1": {"input": {"kernel": kernel, "scale": scale}}}
    about = {**DECODER, "channels": "1 1 1 1", "hidden": "1 1 1"}
    save_params(arrays, path := tmp_path / "x.safetensors", metadata=about)
    before = getrusage(RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="block1/input/scale is unexpected"):
        load_decoder(path)
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
