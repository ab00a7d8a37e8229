"""Arithmetic of nets: what lies between them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from net_samples import random_images, random_net
from numeric_checks import assert_close, assert_gradients

from jaxstyle import load_style, stylize
from jaxstyle.files.style_files import SMALLER, shipped_styles
from jaxstyle.nets import mix_styles
from jaxstyle.nets.mixtures import check_related
from jaxstyle.nets.transform_net import Params

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def make_tree(seed: int = 0, width: int = 3) -> Params:
    """Return a tree with names as a net has them, of few small arrays."""
    noise = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return noise.normal(size=shape).astype(np.float32)

    return {
        "conv1": {"kernel": draw(9, 9, 3, width), "bias": draw(width)},
        "input": {"mean": np.full(3, 0.5, np.float32)},
        "negative_slope": np.float32(1),
    }


# --- mixtures -----------------------------------------------------------------------


def test_a_mixture_is_the_mean_by_shares() -> None:
    a, b = make_tree(0), make_tree(1)
    found = mix_styles([a, b], [1, 3])
    assert_close(found, jax.tree.map(lambda x, y: x / 4 + 3 * y / 4, a, b))
    assert_close(mix_styles([a, b], np.array([10.0, 30.0])), found)
    assert_close(found["input"], a["input"])


def test_the_only_share_gives_the_net_itself() -> None:
    trees = [make_tree(seed) for seed in range(3)]
    for index, tree in enumerate(trees):
        found = mix_styles(trees, 7 * np.eye(3)[index])
        jax.tree.map(np.testing.assert_array_equal, found, tree)


def test_shares_lead_beyond_a_net() -> None:
    a, b = make_tree(0), make_tree(1)
    assert_close(
        mix_styles([a, b], [2, -1]), jax.tree.map(lambda x, y: 2 * x - y, a, b)
    )


def test_the_precision_stays() -> None:
    halves = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), make_tree())
    found = mix_styles([halves, halves], [0.2, 0.3])
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}


def test_vmap_over_shares_paints_each_mixture() -> None:
    net = random_net(width=1, blocks=0)
    nets = [net, jax.tree.map(lambda x: 1.2 * np.asarray(x), net)]
    image = jnp.asarray(random_images(16, 17, 3))
    shares = jnp.array([[1.0, 0.0], [0.25, 0.75]])

    def paint(shares: jax.Array) -> jax.Array:
        return stylize(mix_styles(nets, shares), image)

    found = jax.jit(jax.vmap(paint))(shares)
    single = jax.jit(paint)
    for picture, each in zip(found, shares, strict=True):
        assert_close(picture, single(each))
    assert jnp.abs(found[0] - found[1]).max() > 0.01


def test_gradients_to_shares_and_nets() -> None:
    trees = [make_tree(0), make_tree(1)]

    def loss_of(shares: jax.Array, bias: jax.Array) -> jax.Array:
        first = {**trees[0], "conv1": {**trees[0]["conv1"], "bias": bias}}
        return jnp.square(mix_styles([first, trees[1]], shares)["conv1"]["bias"]).sum()

    assert_gradients(loss_of, np.array([0.4, 0.7]), trees[0]["conv1"]["bias"])


@pytest.mark.parametrize("shares", [[1, 2, 3], 1.0, [[1, 2]]])
def test_there_must_be_a_share_for_each_net(shares: Any) -> None:
    with pytest.raises(ValueError, match=r"share for each of 2 nets, shape \(2,\), go"):
        mix_styles([make_tree(0), make_tree(1)], shares)


def test_nets_must_have_the_same_arrays() -> None:
    tree = make_tree()
    fewer = {name: tree[name] for name in ("conv1", "input")}
    with pytest.raises(
        ValueError,
        match=r"net 2 differs from net 1 in 2 arrays, the first one is conv1/bias: "
        r"\(4,\) instead of \(3,\); expected nets of one width, norm and number of",
    ):
        mix_styles([tree, make_tree(width=4)], [1, 1])
    with pytest.raises(
        ValueError, match=r"net 3 .* negative_slope: missing instead of"
    ):
        mix_styles([tree, tree, fewer], [1, 1, 1])
    with pytest.raises(
        ValueError, match=r"net 2 .* negative_slope: \(\) instead of mi"
    ):
        mix_styles([fewer, tree], [1, 1])


def test_there_must_be_a_net() -> None:
    with pytest.raises(ValueError, match="expected at least one net, got none"):
        mix_styles([], [])


# --- common origin ------------------------------------------------------------------


def test_all_full_styles_that_ship_are_related() -> None:
    names = [name for name in shipped_styles() if not SMALLER.fullmatch(name)]
    assert len(names) >= 7
    check_related([load_style(name) for name in names])


def test_nets_drawn_apart_are_not_related() -> None:
    with pytest.raises(
        ValueError, match=r"net 2 has nothing in common with net 1 \(th"
    ):
        check_related([make_tree(0), make_tree(1)])


def test_nets_for_other_pixels_are_not_related() -> None:
    tree = make_tree()
    other = {**tree, "input": {"mean": np.full(3, 0.4, np.float32)}}
    with pytest.raises(ValueError, match="net 3 has other constants than net 1 in inp"):
        check_related([tree, tree, other])
