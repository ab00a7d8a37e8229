"""Parameter trees on disk: what survives the file, and what is refused."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxstyle.files.param_files import check_params, load_params, save_params


@pytest.fixture
def params() -> dict[str, Any]:
    return {
        "mean": np.array([0.5, 0.25, 0.125], np.float32),
        "conv1_1": {
            "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
            "bias": jnp.ones(4),
        },
        "deep": {"er": {"scale": np.float32(3)}},
    }


def refusal(path: Path) -> str:
    """Load a bad file and return its one-line message, which names the file."""
    with pytest.raises(ValueError, match="parameter file") as caught:
        load_params(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_tree_and_its_metadata_survive(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    path = tmp_path / "net.safetensors"
    save_params(params, path, metadata={"network": "tiny", "license": "mine"})
    loaded, metadata = load_params(path)
    assert metadata == {"network": "tiny", "license": "mine"}
    assert set(loaded) == set(params)
    np.testing.assert_array_equal(loaded["mean"], params["mean"])
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(loaded["conv1_1"][name], params["conv1_1"][name])
    assert loaded["deep"]["er"]["scale"].shape == ()
    assert loaded["deep"]["er"]["scale"] == 3


def test_names_in_the_file_are_tree_paths(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    save_params(params, tmp_path / "net.safetensors", metadata={})
    names = set(load_file(tmp_path / "net.safetensors"))
    assert names == {"mean", "conv1_1/kernel", "conv1_1/bias", "deep/er/scale"}


def test_half_precision_stays_on_disk_and_is_widened(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    kernel = np.array([1 / 3, -2.5], np.float16)
    save_params({"a": {"kernel": kernel}}, path, metadata={})
    assert load_file(path)["a/kernel"].dtype == np.float16
    loaded, _ = load_params(path)
    assert loaded["a"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(loaded["a"]["kernel"], kernel.astype(np.float32))


def test_arrays_in_other_memory_orders_are_written_in_theirs(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_params({"turned": matrix.T, "cut": matrix[:, ::2]}, path, metadata={})
    loaded, _ = load_params(path)
    np.testing.assert_array_equal(loaded["turned"], matrix.T)
    np.testing.assert_array_equal(loaded["cut"], matrix[:, ::2])


def test_files_without_metadata_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"a/b": np.ones(2, np.float32)}, path)
    loaded, metadata = load_params(path)
    assert metadata == {}
    np.testing.assert_array_equal(loaded["a"]["b"], [1, 1])


def test_an_unwritable_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "net.safetensors"
    with pytest.raises(ValueError, match=r"cannot write .*nowhere.*No such file"):
        save_params({"a": np.ones(2)}, path, metadata={})


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    path = tmp_path / "net.safetensors"
    save_params(params, path, metadata={})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_params({"a": np.ones(2)}, path, metadata={"n": 1})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -1])
def test_truncated_files_are_refused(
    tmp_path: Path, params: dict[str, Any], kept: int
) -> None:
    path = tmp_path / "net.safetensors"
    save_params(params, path, metadata={})
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged" in refusal(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    assert "no such" in refusal(path)
    path.write_text("this is not a parameter file\n" * 9)
    assert "damaged" in refusal(path)
    assert "not a file" in refusal(tmp_path)


def test_names_that_form_no_tree_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    one = np.ones(1, np.float32)
    save_file({"b/c": one, "b": one}, path)
    assert "b/c lies below b" in refusal(path)


def test_all_problems_are_named_at_once() -> None:
    params = {
        "mean": np.ones(3),
        "conv1_1": {"kernel": np.ones((3, 3)), "extra": np.ones(1)},
        "conv1_2": {"bias": np.array([1, np.nan])},
        "whole": {"part": np.ones(1)},
    }
    expected = {
        "mean": (3,),
        "conv1_1": {"kernel": (3, 4), "bias": (4,)},
        "conv1_2": {"bias": (2,)},
        "whole": (1,),
    }
    with pytest.raises(ValueError, match=r"^wrong parameters in net\.x: ") as caught:
        check_params(params, expected, path="net.x")
    problems = str(caught.value).removeprefix("wrong parameters in net.x: ").split("; ")
    assert problems == [
        "conv1_1/bias is missing",
        "whole is missing",
        "conv1_1/extra is unexpected",
        "whole/part is unexpected",
        "conv1_1/kernel has the shape (3, 3), expected (3, 4)",
        "conv1_2/bias holds NaN or infinite values",
    ]


def test_a_tree_as_expected_passes() -> None:
    check_params({"a": {"b": np.ones((2, 3))}}, {"a": {"b": (2, 3)}}, path="net.x")
