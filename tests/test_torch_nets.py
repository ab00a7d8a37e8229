"""Nets from PyTorch: agreement with golden values, and what is refused.

The golden values are those of scripts/make_golden_nets.py.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import torch_writer as tw

from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.files.param_files import leaves
from jaxstyle.nets.transform_net import net_norm, net_width, stylize

GOLDEN = Path(__file__).parent / "golden" / "nets.npz"
REMEDY = "if this change is meant, run: python scripts/make_golden_nets.py"

State = dict[str, np.ndarray]

EXAMPLES, SEED = "pytorch/examples' TransformerNet", "the seed's TransformNet"
LAYOUTS = {"examples": (EXAMPLES, "affine", 1), "seed": (SEED, "instance", 0)}

both = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture
def states(golden: dict[str, np.ndarray]) -> dict[str, State]:
    """The state dicts of both layouts, in float32."""
    return {
        layout: {
            name.removeprefix(f"{layout}/state/"): array.astype(np.float32)
            for name, array in golden.items()
            if name.startswith(f"{layout}/state/")
        }
        for layout in LAYOUTS
    }


def convert(folder: Path, state: State) -> tuple[str, dict[str, np.ndarray]]:
    """Return the layout of a checkpoint, and the arrays that it becomes, by path."""
    tw.save_arrays(folder / "net.pth", state)
    layout, params = from_torch(folder / "net.pth")
    return layout, dict(leaves(params))


def refusal(folder: Path, state: State) -> str:
    with pytest.raises(ValueError, match=r"net\.pth") as refused:
        convert(folder, state)
    message = str(refused.value)
    assert "\n" not in message
    return message


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


# --- what is read -------------------------------------------------------------------


@both
@pytest.mark.parametrize("file", tw.WRITERS)
def test_a_net_paints_what_pytorch_paints(
    tmp_path: Path,
    golden: dict[str, np.ndarray],
    states: dict[str, State],
    layout: str,
    file: str,
) -> None:
    tw.save_arrays(tmp_path / "net.pth", states[layout], layout=file)
    found, params = from_torch(tmp_path / "net.pth")
    assert found == LAYOUTS[layout][0]
    assert net_norm(params) == LAYOUTS[layout][1]
    assert float(params["negative_slope"]) == LAYOUTS[layout][2]
    assert net_width(params) == 4
    picture = jax.jit(stylize)(params, golden["image"] / np.float32(255))
    expected = golden[f"{layout}/output"]
    assert expected.std() > 0.1
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-5, err_msg=REMEDY)


@both
def test_every_parameter_of_the_checkpoint_is_used(
    tmp_path: Path, states: dict[str, State], layout: str
) -> None:
    state = states[layout]
    _, params = convert(tmp_path, state)
    found = sum(array.size for array in params.values())
    assert found == sum(array.size for array in state.values()) + 13


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net._orig_mod.module."])
@both
def test_prefixes_and_other_parts_mean_nothing(
    tmp_path: Path, states: dict[str, State], layout: str, prefix: str
) -> None:
    state = states[layout]
    prefixed = {f"{prefix}{name}": array for name, array in state.items()}
    if prefix != "module.":
        prefixed["loss.features.0.weight"] = np.ones(3, np.float32)
    found, expected = convert(tmp_path, prefixed), convert(tmp_path, state)
    assert found[0] == expected[0]
    assert_same(found[1], expected[1])


@both
def test_other_precisions_become_float32(
    tmp_path: Path, states: dict[str, State], layout: str
) -> None:
    expected = convert(tmp_path, states[layout])[1]
    for dtype in (np.float16, np.float64):
        state = {name: array.astype(dtype) for name, array in states[layout].items()}
        found = convert(tmp_path, state)[1]
        assert_same(found, expected)
        assert {array.dtype for array in found.values()} == {np.dtype("float32")}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_statistics_that_instance_norm_never_used_are_passed_over(
    tmp_path: Path, states: dict[str, State]
) -> None:
    state = states["examples"]
    expected = convert(tmp_path, state)[1]
    norms = {name.rpartition(".")[0] for name in state if ".in" in f".{name}"}
    assert len(norms) == 15
    strays = {f"{norm}.{kind}": np.ones(4) for norm in norms for kind in STATISTICS}
    assert_same(convert(tmp_path, {**state, **strays})[1], expected)


def test_the_places_in_the_seeds_names_do_not_matter(
    tmp_path: Path, states: dict[str, State]
) -> None:
    """Only their order does, as numbers: 9 comes before 10."""
    state = states["seed"]
    expected = convert(tmp_path, state)[1]

    def moved(name: str) -> str:
        *module, place, kind = name.split(".")
        return ".".join([*module, str(2 * int(place) + 7), kind])

    renamed = {moved(name): state[name] for name in reversed(state)}
    assert renamed.keys() != state.keys()
    assert_same(convert(tmp_path, renamed)[1], expected)


# --- what is refused ----------------------------------------------------------------


def test_all_problems_are_named_at_once(
    tmp_path: Path, states: dict[str, State]
) -> None:
    state = states["examples"]
    del state["conv1.conv2d.weight"]
    del state["res4.in2.bias"]
    state["deconv2.conv2d.weight"] = np.ones((4, 8, 4, 4), np.float32)
    state["in5.weight"] = np.full(4, np.nan, np.float32)
    state["res6.conv1.conv2d.bias"] = np.ones(16, np.float32)
    state["conv9.running_mean"] = np.ones(4, np.float32)
    line = refusal(tmp_path, state)
    assert "conv1.conv2d.weight is missing" in line
    assert "res4.in2.bias is missing" in line
    assert "res6.conv1.conv2d.bias is unexpected" in line
    assert "conv9.running_mean is unexpected" in line
    assert (
        "deconv2.conv2d.weight has the shape (4, 8, 4, 4), expected (4, 8, 3, 3)"
        in line
    )
    assert "in5.weight holds NaN" in line
    assert line.count(";") == 5


def test_problems_of_the_seeds_net_are_named_in_its_own_words(
    tmp_path: Path, states: dict[str, State]
) -> None:
    state = states["seed"]
    weights = [name for name in state if name.endswith(".weight")]
    *_, last = (name for name in weights if name.startswith("downsampling"))
    first = next(name for name in weights if name.startswith("upsampling"))
    del state[last]
    state[first] = state[first][:, :, :2]
    state["residuals.2.norm.1.weight"] = np.ones(16, np.float32)
    line = refusal(tmp_path, state)
    assert "downsampling.(convolution 3).weight is missing" in line
    assert "downsampling.(convolution 3).bias is missing" in line
    assert f"{last.removesuffix('weight')}bias is unexpected" in line
    assert "residuals.2.norm.1.weight is unexpected" in line
    assert f"{first} has the shape (8, 16, 2, 3), expected (8, 16, 3, 3)" in line
    assert line.count(";") == 4


def test_convolutions_in_another_order_are_refused(
    tmp_path: Path, states: dict[str, State]
) -> None:
    state = states["seed"]
    sizes = {
        name.replace("downsampling", "upsampling"): state[name]
        for name in state
        if name.startswith("downsampling")
    }
    others = {
        name: array
        for name, array in state.items()
        if not name.startswith("upsampling")
    }
    assert "has the shape" in refusal(tmp_path, {**others, **sizes})


def test_a_bias_alone_does_not_make_a_width(tmp_path: Path) -> None:
    line = refusal(tmp_path, {"conv1.conv2d.bias": np.ones((), np.float32)})
    assert "conv1.conv2d.weight is missing" in line


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"net.{name}".replace(".conv2d", "").replace("sampling", "-"),
        lambda name: name.replace("conv2d", "conv").replace("sampling", "sample"),
    ],
)
@both
def test_an_unknown_layout_is_refused_with_those_that_are_known(
    tmp_path: Path,
    states: dict[str, State],
    layout: str,
    rename: Callable[[str], str],
) -> None:
    state = {rename(name): array for name, array in states[layout].items()}
    line = refusal(tmp_path, state)
    assert f"of no known layout: it holds {next(iter(state))}, " in line
    assert f"known are {EXAMPLES} and {SEED}" in line
