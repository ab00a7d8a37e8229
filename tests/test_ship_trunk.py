"""A trunk and what it predicts become files that ship, and small styles are read."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import ship_trunk
from safetensors.numpy import load_file
from training_runs import make_nets_small, save_data, train

from jaxstyle.files import load_image, load_style_file, load_trunk, load_vgg
from jaxstyle.files.param_files import leaves, load_header, save_params
from jaxstyle.files.style_files import PAINTING, load_style_header, save_style
from jaxstyle.nets import join_style, split_style
from jaxstyle.nets.networks import NETWORKS
from jaxstyle.training import predict_net
from jaxstyle.vgg import normalize, truncate

Captured = pytest.CaptureFixture[str]

Ship = tuple[str, ...]

SHIP: Ship = ("run", "--weights", "weights", "--styles", "styles")


@pytest.fixture(scope="module", autouse=True)
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with a run of two styles, and ship its trunk and one style."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_nets_small(patch)
        styles = ("--style", "style.png", "style2.png")
        done = train(*styles, "-o", "run", "--steps", "2", "--quiet")
        assert done.code == 0
        facts = {
            "title": "Noise",
            "painter": "Nobody",
            "year": "2026",
            "source_sha256": hashlib.sha256(Path("style.png").read_bytes()).hexdigest(),
        }
        nothing = {"nothing": np.zeros(1)}
        save_params(nothing, "noise.safetensors", metadata={**facts, **PAINTING})
        patch.setattr(ship_trunk, "STYLES", {"mine": "noise"})
        paintings = {"noise": Path("noise.safetensors")}
        patch.setattr(ship_trunk, "shipped_paintings", lambda: paintings)
        for name in ("weights", "styles"):
            Path(name).mkdir()
        chosen = ("--paintings", ".", "--names", "mine")
        assert ship_trunk.main([*SHIP, *chosen]) == 0
        shutil.copy("weights/trunk-2.safetensors", "styles/trunk.safetensors")
        yield folder


def test_the_trunk_is_that_of_the_run_rounded(shipped: Path) -> None:
    trained = dict(leaves(load_trunk("run/trunk.safetensors")[0]))
    found = dict(leaves(load_trunk("weights/trunk-2.safetensors")[0]))
    assert found.keys() == trained.keys()
    for name, array in trained.items():
        bound = np.abs(array).max() / 254 if name.endswith("kernel") else 0
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=bound)
    stored = load_file("weights/trunk-2.safetensors")
    assert stored["net/conv3/kernel"].dtype == np.int8
    _, metadata = load_header("weights/trunk-2.safetensors")
    assert "--style style.png style2.png -o trunk-2" in metadata["command"]
    assert json.loads(metadata["steps"]) == 2
    assert not any(str(shipped) in text for text in metadata.values())


def test_a_style_is_small_and_the_net_that_is_predicted(shipped: Path) -> None:
    names = {name.rpartition("/")[0] for name in load_file("styles/mine.safetensors")}
    assert all("norm" in name for name in names)
    net, metadata = load_style_file("styles/mine.safetensors")
    many, _ = load_trunk("weights/trunk-2.safetensors")
    vgg = normalize(truncate(load_vgg("vgg16"), ["relu1_2"]))
    painting = load_image("style.png", longest_side=24)
    expected = jax.jit(predict_net)(many, vgg, painting)
    jax.tree.map(np.testing.assert_array_equal, net, dict(expected))
    assert json.loads(metadata["title"]) == "Noise"
    assert "trunk" not in metadata
    width, _ = load_style_header("styles/mine.safetensors")
    assert width == 2


def test_a_style_needs_its_trunk(shipped: Path, tmp_path: Path) -> None:
    shutil.copy("styles/mine.safetensors", tmp_path)
    path = tmp_path / "mine.safetensors"
    digest = load_header("weights/trunk-2.safetensors")[1]["trunk"]
    with pytest.raises(ValueError, match=f"needs the trunk {digest}: put the trunk"):
        load_style_file(path)
    shutil.copy("run/trunk.safetensors", tmp_path)  # in float32, so another one
    with pytest.raises(ValueError, match=f"needs the trunk {digest}"):
        load_style_file(path)
    shutil.copy("weights/trunk-2.safetensors", tmp_path / "trunk.safetensors")
    load_style_file(path)


def test_a_trunk_that_was_changed_is_not_taken_for_another(tmp_path: Path) -> None:
    many, metadata = load_trunk("weights/trunk-2.safetensors")
    del many["net"]["conv3"]
    save_params(many, tmp_path / "trunk.safetensors", metadata=metadata)
    shutil.copy("styles/mine.safetensors", tmp_path)
    with pytest.raises(ValueError, match=r"wrong parameters in .*conv3/kernel is miss"):
        load_style_file(tmp_path / "mine.safetensors")


def test_a_net_of_another_trunk_is_refused() -> None:
    many, _ = load_trunk("weights/trunk-2.safetensors")
    trunk, style = split_style(many["net"])
    other: Any = {**trunk, "conv1": jax.tree.map(lambda x: x + 1, trunk["conv1"])}
    with pytest.raises(ValueError, match="the net has another trunk than weights/"):
        save_style(
            join_style(other, style),
            "other.safetensors",
            metadata={},
            trunk="weights/trunk-2.safetensors",
        )
    assert not Path("other.safetensors").exists()


def test_small_styles_are_mixed_and_paint_like_whole_ones(shipped: Path) -> None:
    from jaxstyle.cli.loading import load_net, parse_mixture

    many, _ = load_trunk("weights/trunk-2.safetensors")
    save_style(many["net"], "styles/whole.safetensors", metadata={})
    style = load_net(parse_mixture("styles/mine.safetensors+styles/whole.safetensors"))
    assert style.network is NETWORKS["transform"]
    mine = load_style_file("styles/mine.safetensors")[0]["norm1"]["scale"]
    mean = (mine + many["net"]["norm1"]["scale"]) / 2
    np.testing.assert_allclose(style.params["norm1"]["scale"], mean, rtol=1e-6)


def test_an_image_that_is_missing_is_told(capsys: Captured, tmp_path: Path) -> None:
    options = ("--paintings", str(tmp_path), "--names", "mine")
    assert ship_trunk.main([*SHIP, *options]) == 2
    error = "ship_trunk: error: no image in the folders is that of noise\n"
    assert capsys.readouterr().err == error
