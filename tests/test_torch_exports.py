"""Nets for PyTorch: what was read comes back, and the pictures are the same."""

from pathlib import Path

import jax
import numpy as np
import pytest
from net_samples import random_images, random_net

from jaxstyle.convert.torch_exports import to_torch
from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.convert.torch_writing import dump_torch_state_dict
from jaxstyle.files.torch_checkpoints import load_torch_state_dict
from jaxstyle.nets.transform_net import stylize

GOLDEN = Path(__file__).parent / "golden" / "nets.npz"

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def write(path: Path, state: dict[str, np.ndarray]) -> Path:
    path.write_bytes(dump_torch_state_dict(state))
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    arrays = {
        "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "a.bias": np.array([0.5], np.float32),
        "b": np.zeros((0, 2), np.float32),
    }
    found = load_torch_state_dict(write(tmp_path / "x.pth", arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_equal_arrays_give_equal_bytes() -> None:
    state = to_torch(random_net(negative_slope=1.0, blocks=5))
    copies = {name: array.copy() for name, array in state.items()}
    assert dump_torch_state_dict(state) == dump_torch_state_dict(copies)


def test_a_net_of_pytorchs_comes_back_bit_by_bit(tmp_path: Path) -> None:
    prefix = "examples/state/"
    with np.load(GOLDEN) as file:
        state = {
            name.removeprefix(prefix): file[name].astype(np.float32)
            for name in file
            if name.startswith(prefix)
        }
    _, params = from_torch(write(tmp_path / "x.pth", state))
    found = to_torch(params)
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("norm", ["affine", "instance"])
def test_the_pictures_stay_the_same(tmp_path: Path, norm: str) -> None:
    """Ours has other constants for pixels, which go into the convolutions."""
    params = random_net(norm=norm, negative_slope=1.0, blocks=5)
    _, found = from_torch(write(tmp_path / "x.pth", to_torch(params)))
    images = random_images(2, 16, 20, 3)
    expected = jax.jit(stylize)(params, images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(jax.jit(stylize)(found, images), expected, atol=1e-4)


def test_all_reasons_against_a_net_are_named() -> None:
    with pytest.raises(
        ValueError, match="TransformerNet cannot hold this net"
    ) as error:
        to_torch(random_net(norm="batch", negative_slope=0.0, blocks=3))
    for reason in (
        "it has 3 residual blocks, not 5",
        "it has batch norm, not instance norm",
        "its residual branches end with a ReLU of negative slope 0",
    ):
        assert reason in str(error.value)
