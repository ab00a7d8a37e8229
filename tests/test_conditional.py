"""Nets of many styles: trunks and norms, prediction, and training on pairs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from loss_checks import blots
from numeric_checks import assert_close

from jaxstyle import Weights, stylize
from jaxstyle.losses import Objective
from jaxstyle.nets import (
    describe_style,
    init_net,
    init_predictor,
    join_style,
    predict_style,
    split_style,
    stylize_each,
)
from jaxstyle.nets.prediction import predictor_shapes
from jaxstyle.training import (
    Pairs,
    aim,
    evaluate,
    evaluate_many,
    init_many,
    init_state,
    make_many_problem,
    make_many_step,
    make_problem,
    predict_net,
)

pytestmark = pytest.mark.usefixtures("plain_convolutions")

Params = dict[str, Any]

WEIGHTS = Weights({"relu2_1": 0.1}, {"relu1_1": 1.0, "relu2_1": 1.0})
OBJECTIVE = Objective(style_loss="mean-std")


@pytest.fixture(scope="module")
def net() -> Params:
    net = init_net(jax.random.key(0), width=2, blocks=2, upsampling="bilinear", noise=1)
    keys = iter(jax.random.split(jax.random.key(1), 99))
    trunk, norms = split_style(net)
    changed = jax.tree.map(lambda x: x + jax.random.normal(next(keys), x.shape), norms)
    return join_style(trunk, changed)


@pytest.fixture(scope="module")
def paintings() -> jax.Array:
    """Three squares, 8-bit."""
    squares = jnp.stack([blots(seed, 32, 32) for seed in (1, 2, 3)])
    return (255 * squares).astype(jnp.uint8)


@pytest.fixture(scope="module")
def many(net: Params, shallow: Params, paintings: jax.Array) -> Params:
    """A net of many styles that predicts something."""
    many = init_many(jax.random.key(2), net, shallow, paintings, hidden=5)
    return many | {"predictor": with_output(many["predictor"])}


def with_output(predictor: Params) -> Params:
    """Draw outputs, which are zeros before training."""
    keys = iter(jax.random.split(jax.random.key(3), 99))
    output = jax.tree.map(
        lambda x: jax.random.normal(next(keys), x.shape) / 9, predictor["output"]
    )
    return predictor | {"output": output}


# --- trunks and norms ---------------------------------------------------------------


def test_a_net_is_its_trunk_and_its_norms(net: Params) -> None:
    trunk, norms = split_style(net)
    joined = join_style(trunk, norms)
    jax.tree.map(np.testing.assert_array_equal, joined, net)
    assert len(jax.tree.leaves(norms)) == 2 * (5 + 2 * 2)
    assert {x.ndim for x in jax.tree.leaves(norms)} == {1}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_norms_must_be_affine(norm: str) -> None:
    with pytest.raises(ValueError, match="expected a net with affine norms"):
        split_style(init_net(jax.random.key(0), width=1, norm=norm))


def test_each_image_has_its_own_style(net: Params) -> None:
    trunk, norms = split_style(net)
    photos = jnp.stack([blots(4, 18, 22), blots(5, 18, 22)])
    styles = [norms, jax.tree.map(lambda x: 1 - x, norms)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *styles)
    found = jax.jit(stylize_each)(trunk, stacked, photos)
    for index, own in enumerate(styles):
        assert_close(found[index], stylize(join_style(trunk, own), photos[index]))
    assert jnp.abs(found[1] - stylize(net, photos[1])).max() > 0.1


# --- prediction ---------------------------------------------------------------------


def test_at_first_the_nets_own_norms_are_predicted(
    net: Params, shallow: Params, paintings: jax.Array
) -> None:
    many = init_many(jax.random.key(0), net, shallow, paintings)
    predicted = predict_net(many, shallow, paintings[0] / 255)
    jax.tree.map(np.testing.assert_array_equal, predicted, net)


def test_a_one_hot_descriptor_is_an_index(net: Params) -> None:
    """Any styles can be in the table, since the hidden layer is wide enough."""
    _, norms = split_style(net)
    keys = jax.random.split(jax.random.key(5), 3)
    wanted = jnp.stack([jax.random.normal(key, (count(norms),)) for key in keys])
    drawn = init_predictor(jax.random.key(6), jnp.eye(3), norms, hidden=8)
    constants = drawn["input"]
    x = (jnp.eye(3) - constants["mean"]) / constants["std"]
    hidden = jnp.tanh(x @ drawn["hidden"]["kernel"] + drawn["hidden"]["bias"])
    kernel = jnp.linalg.pinv(hidden) @ wanted
    table = drawn | {"output": {"norms": {"kernel": kernel}}}
    found = predict_style(table, jnp.eye(3), norms)
    for index in range(3):
        one = jax.tree.map(lambda x, own: x[index] - own, found, norms)  # noqa: B023
        flat = jnp.concatenate([x.ravel() for x in jax.tree.leaves(one)])
        assert_close(flat, wanted[index], rtol=1e-3)


def count(tree: Any) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))


def test_descriptors_go_one_by_one(many: Params, shallow: Params) -> None:
    images = jnp.stack([blots(6, 20, 24), blots(7, 20, 24)])
    together = describe_style(shallow, images)
    assert_close(together, jnp.stack([describe_style(shallow, x) for x in images]))
    _, norms = split_style(many["net"])
    found = predict_style(many["predictor"], together, norms)
    alone = predict_style(many["predictor"], together[1], norms)
    jax.tree.map(lambda x, y: assert_close(x[1], y), found, alone)


def test_a_painting_unlike_all_others_gets_a_bounded_net(
    many: Params, shallow: Params
) -> None:
    _, norms = split_style(many["net"])
    far = 1e6 * jnp.ones_like(describe_style(shallow, blots(1, 16, 16)))
    predicted = predict_style(many["predictor"], far, norms)
    changes = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), predicted, norms)
    bound = jnp.abs(many["predictor"]["output"]["norms"]["kernel"]).sum(0).max()
    assert max(jax.tree.leaves(changes)) <= bound * (1 + 1e-6)


# --- training -----------------------------------------------------------------------


def test_the_loss_is_that_of_each_predicted_net(
    many: Params, shallow: Params, paintings: jax.Array
) -> None:
    photos = (255 * jnp.stack([blots(8, 24, 20), blots(9, 24, 20)])).astype(jnp.uint8)
    problem = make_many_problem(shallow, WEIGHTS, objective=OBJECTIVE)
    pairs = Pairs(photos, aim(paintings[:2], problem))
    found = jax.jit(evaluate_many)(many, pairs, problem)
    alone = []
    for photo, painting in zip(photos, paintings[:2] / 255, strict=True):
        net = predict_net(many, shallow, painting)
        one = make_problem(shallow, [painting], WEIGHTS, objective=OBJECTIVE)
        alone.append(evaluate(net, photo[None], one))
    for name, value in found.items():
        assert_close(value, (alone[0][name] + alone[1][name]) / 2)
    assert abs(alone[0]["style"] - alone[1]["style"]) > 1e-3 * alone[0]["style"]


@pytest.mark.parametrize("trained", ["everything", "the predictor alone"])
def test_training_lowers_the_loss(
    net: Params, shallow: Params, paintings: jax.Array, trained: str
) -> None:
    many = init_many(jax.random.key(2), net, shallow, paintings, hidden=5)
    photos = (255 * jnp.stack([blots(8, 24, 20)] * 3)).astype(jnp.uint8)
    optimizer: Any = optax.adam(3e-3)
    if trained != "everything":
        labels = {"net": "still", "predictor": "moved"}
        moved = {"still": optax.set_to_zero(), "moved": optimizer}
        optimizer = optax.multi_transform(moved, lambda _: labels)
    problem = make_many_problem(shallow, WEIGHTS, objective=OBJECTIVE)
    step = jax.jit(partial(make_many_step(optimizer)))
    state, losses = init_state(many, optimizer), []
    pairs = Pairs(photos, aim(paintings, problem))
    for _ in range(25):
        state, metrics = step(state, pairs, problem)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]
    changed = jax.tree.map(lambda x, y: bool((x != y).any()), state.params, many)
    assert not any(jax.tree.leaves(changed["predictor"]["input"]))
    assert not any(jax.tree.leaves([changed["net"][x] for x in ("filter", "noise")]))
    assert changed["predictor"]["output"]["norms"]["kernel"]
    assert changed["net"]["conv1"]["kernel"] == (trained == "everything")


# --- the kernels of all inner layers ------------------------------------------------


@pytest.fixture(scope="module")
def kernels(shallow: Params, paintings: jax.Array) -> Params:
    """A net of many styles that predicts kernels, as Shen et al. have it."""
    net = init_net(jax.random.key(0), width=2, blocks=2, norm="instance")
    key = jax.random.key(2)
    many = init_many(key, net, shallow, paintings, part="kernels", hidden=3)
    return many | {"predictor": with_output(many["predictor"])}


def test_the_kernels_of_all_inner_layers_are_predicted(
    kernels: Params, shallow: Params, paintings: jax.Array
) -> None:
    outputs = kernels["predictor"]["output"]
    assert len(outputs) == 4 + 2 * 2
    assert outputs["conv3"]["kernel"].shape == (3, 3 * 3 * 4 * 8 + 8)
    assert outputs["residual2-conv1"]["kernel"].shape == (3, 3 * 3 * 8 * 8 + 8)
    assert kernels["predictor"]["hidden"]["bias"].shape == (3 * len(outputs),)
    found = predict_net(kernels, shallow, paintings[0] / 255)
    changed = jax.tree.map(lambda x, y: bool((x != y).any()), found, kernels["net"])
    same = [changed[x] for x in ("conv1", "conv6", "input", "output")]
    assert not any(jax.tree.leaves(same))
    inner = [changed[f"conv{x}"] for x in range(2, 6)] + [changed["residual2"]]
    assert all(jax.tree.leaves(inner))


def test_a_net_with_the_published_sizes_has_their_number_of_parameters() -> None:
    """17.4 million for width 8, a net of 448 kB in float32, up to details."""
    net = jax.eval_shape(partial(init_net, jax.random.key(0), width=8, norm="instance"))
    _, style = jax.eval_shape(partial(split_style, part="kernels"), net)
    shapes = predictor_shapes(style, inputs=1920, hidden=128)
    sizes = jax.tree.map(np.prod, shapes, is_leaf=lambda x: isinstance(x, tuple))
    assert sum(jax.tree.leaves(sizes)) == pytest.approx(17.4e6, rel=0.05)
    assert 4 * count(net) == pytest.approx(448e3, rel=0.05)


def test_kernels_are_trained_pair_by_pair(
    kernels: Params, shallow: Params, paintings: jax.Array
) -> None:
    photos = (255 * jnp.stack([blots(8, 24, 20)] * 2)).astype(jnp.uint8)
    optimizer = optax.adam(3e-4)
    problem = make_many_problem(shallow, WEIGHTS, objective=OBJECTIVE)
    step = jax.jit(make_many_step(optimizer))
    state, losses = init_state(kernels, optimizer), []
    pairs = Pairs(photos, aim(paintings[1:], problem))
    for _ in range(25):
        state, metrics = step(state, pairs, problem)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]


def test_an_unknown_part_is_refused(net: Params) -> None:
    with pytest.raises(ValueError, match="no part 'all'; known are norms, kernels"):
        split_style(net, part="all")
