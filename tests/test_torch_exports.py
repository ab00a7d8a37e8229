"""Nets for PyTorch: what was read comes back, and the pictures are the same."""

from pathlib import Path

import jax
import numpy as np
import pytest
from net_samples import random_images, random_net
from safetensors import safe_open
from safetensors.numpy import load_file
from torch_writer import save_arrays

from jaxstyle.convert.torch_nets import dump_torch, from_torch, to_torch
from jaxstyle.nets.transform_net import stylize

GOLDEN = Path(__file__).parent / "golden" / "nets.npz"

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def test_a_file_is_read_as_pytorch_reads_it(tmp_path: Path) -> None:
    """With its names, shapes and values, in float32."""
    net = random_net(negative_slope=1.0, blocks=5)
    (path := tmp_path / "x.pytorch.safetensors").write_bytes(dump_torch(net))
    found, expected = load_file(path), to_torch(net)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_equal_nets_give_equal_bytes() -> None:
    net = random_net(negative_slope=1.0, blocks=5)
    copy = jax.tree.map(np.copy, net)
    assert dump_torch(net) == dump_torch(copy)


def test_a_net_of_pytorchs_comes_back_bit_by_bit(tmp_path: Path) -> None:
    prefix = "examples/state/"
    with np.load(GOLDEN) as file:
        state = {
            name.removeprefix(prefix): file[name].astype(np.float32)
            for name in file
            if name.startswith(prefix)
        }
    save_arrays(tmp_path / "x.pth", state)
    _, params = from_torch(tmp_path / "x.pth")
    found = to_torch(params)
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("norm", ["affine", "instance"])
def test_the_pictures_stay_the_same(tmp_path: Path, norm: str) -> None:
    """Ours has other constants for pixels, which go into the convolutions."""
    params = random_net(norm=norm, negative_slope=1.0, blocks=5)
    (path := tmp_path / "x.safetensors").write_bytes(dump_torch(params))
    _, found = from_torch(path)
    images = random_images(2, 16, 20, 3)
    expected = jax.jit(stylize)(params, images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(jax.jit(stylize)(found, images), expected, atol=1e-4)


def test_all_reasons_against_a_net_are_named() -> None:
    with pytest.raises(
        ValueError, match="TransformerNet cannot hold this net"
    ) as error:
        to_torch(
            random_net(
                norm="batch",
                negative_slope=0.0,
                blocks=3,
                upsampling="bilinear",
                noise=1,
            )
        )
    for reason in (
        "its upsampling is smoothed by a filter",
        "noise is added to its images",
        "it has 3 residual blocks, not 5",
        "it has batch norm, not instance norm",
        "its residual branches end with a ReLU of negative slope 0",
    ):
        assert reason in str(error.value)
