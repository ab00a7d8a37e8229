"""Style files: what is saved is loaded, and what is wrong is named."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxstyle.files.param_files import leaves, load_params, save_params
from jaxstyle.files.style_files import (
    ALL,
    find_style,
    find_styles,
    load_style,
    load_style_file,
    save_style,
    shipped_styles,
)
from jaxstyle.nets.transform_net import NORMS, init_net

Params = dict[str, Any]


def make_net(**options: Any) -> Params:
    net: Params = jax.tree.map(np.array, init_net(jax.random.key(0), **options))
    return net


@pytest.fixture(scope="module")
def net() -> Params:
    return make_net(width=2)


def changed(net: Params, module: str, **arrays: Any) -> Params:
    """Replace arrays of a module, or remove those that are None."""
    new = {**net[module], **arrays}
    return {**net, module: {k: v for k, v in new.items() if v is not None}}


def refusal(path: Path, params: Mapping[str, Any]) -> str:
    """Write parameters as a style, and return the one line that refuses the file."""
    marks = {"format": "jaxstyle-style", "format_version": "1"}
    save_params(params, path, metadata=marks)
    return refusal_of_file(path)


def refusal_of_file(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as refused:
        load_style(path)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("width", "blocks"), [(1, 5), (3, 1), (2, 0)])
def test_what_is_saved_is_loaded(
    tmp_path: Path, norm: str, width: int, blocks: int
) -> None:
    net = make_net(width=width, norm=norm, blocks=blocks)
    save_style(net, tmp_path / "x.safetensors", metadata={})
    loaded = load_style(tmp_path / "x.safetensors")
    expected = dict(leaves(net))
    found = dict(leaves(loaded))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32


def test_metadata_are_kept_and_the_format_is_added(tmp_path: Path, net: Params) -> None:
    path = tmp_path / "x.safetensors"
    save_style(net, path, metadata={"source": "a test", "format": "mine"})
    assert load_style_file(path)[1] == {
        "source": "a test",
        "format": "jaxstyle-style",
        "format_version": "1",
    }


def test_a_tree_that_is_no_net_is_not_saved(tmp_path: Path, net: Params) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="conv2/bias holds NaN"):
        save_style(changed(net, "conv2", bias=np.full(4, np.nan)), path, metadata={})
    assert path.read_bytes() == b"old"


def test_all_problems_are_named_at_once(tmp_path: Path, net: Params) -> None:
    bad = changed(net, "conv1", kernel=np.zeros((9, 9, 3, 5)), extra=np.zeros(1))
    bad = changed(bad, "residual3", norm2=None)
    bad = changed(bad, "input", std=np.zeros(3))
    line = refusal(tmp_path / "bad.safetensors", bad)
    assert "residual3/norm2/scale is missing" in line
    assert "residual3/norm2/bias is missing" in line
    assert "conv1/extra is unexpected" in line
    assert "conv1/kernel has the shape (9, 9, 3, 5), expected (9, 9, 3, 2)" in line
    assert "input/std holds values that are not positive" in line
    assert line.count(";") == 4


def test_the_norm_is_the_same_everywhere(tmp_path: Path) -> None:
    net = make_net(width=2, norm="instance")
    line = refusal(
        tmp_path / "bad.safetensors", {**net, "norm2": {"scale": np.ones(4)}}
    )
    assert line.endswith(": norm2/scale is unexpected")
    unknown = {**net, "norm1": {"scale": np.ones(2)}}
    assert "norm1/bias is missing" in refusal(tmp_path / "bad.safetensors", unknown)


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    net = make_net(width=2, norm="batch")
    norm = {**net["norm4"], "variance": np.array([1, 0, -1e-9, 1])}
    line = refusal(tmp_path / "bad.safetensors", {**net, "norm4": norm})
    assert line.endswith(": norm4/variance holds negative values")


def test_an_array_in_the_place_of_a_module_is_refused(
    tmp_path: Path, net: Params
) -> None:
    line = refusal(tmp_path / "bad.safetensors", {**net, "norm1": np.ones(2)})
    assert "norm1 is unexpected" in line
    assert "norm1/scale is missing" in line


def test_other_parameters_are_no_style(tmp_path: Path, net: Params) -> None:
    for marks in (
        {},
        {"format": "jaxstyle-vgg", "format_version": "1"},
        {"format": "jaxstyle-style", "format_version": "2"},
    ):
        save_params(net, tmp_path / "x.safetensors", metadata=marks)
        line = refusal_of_file(tmp_path / "x.safetensors")
        assert "holds no style of this package's format; make one with" in line


def test_a_damaged_file_is_refused(tmp_path: Path, net: Params) -> None:
    path = tmp_path / "x.safetensors"
    save_style(net, path, metadata={})
    path.write_bytes(path.read_bytes()[:-1])
    assert "damaged or not safetensors" in refusal_of_file(path)


def test_a_style_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    line = refusal_of_file(tmp_path / "wave")
    assert "no style " in line
    assert "a file made by jaxstyle train or jaxstyle import, or hf:USER/REPO" in line


def test_a_style_in_the_package_is_found_by_name(
    tmp_path: Path, net: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "styles").mkdir()
    path = tmp_path / "styles" / "wave.safetensors"
    save_style(net, path, metadata={})
    other = path.with_stem("great-wave")
    other.touch()
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    assert find_style("wave") == path
    assert find_style("great-wave") == find_style("great_wave") == other
    assert load_style("wave").keys() == load_params(path)[0].keys()
    with pytest.raises(
        ValueError, match=r"no style wve: did you mean wave\? jaxstyle styles lists"
    ):
        load_style("wve")


def test_all_styles_are_those_of_full_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "styles").mkdir()
    for name in ("wave-8", "wave", "wave-16", "night-2-days"):
        (tmp_path / "styles" / f"{name}.safetensors").touch()
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    assert [path.stem for path in find_styles([ALL])] == ["night-2-days", "wave"]
    assert list(shipped_styles()) == ["night-2-days", "wave", "wave-16", "wave-8"]
    wanted = ["wave-8", ALL]
    assert [path.stem for path in find_styles(wanted)] == [
        "wave-8",
        "night-2-days",
        "wave",
    ]
