"""``jaxstyle train`` with several paintings: a net of many styles."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from training_runs import (
    checkpoints,
    lines,
    make_nets_small,
    save_data,
    timeless,
    train,
)

from jaxstyle.files import load_params
from jaxstyle.files.style_files import load_style_file
from jaxstyle.files.trunk_files import load_trunk
from jaxstyle.nets import split_style
from jaxstyle.nets.transform_net import net_norm

TWO = ("--style", "style.png", "style2.png", "--quiet", "--picture-every", "4")


@pytest.fixture(scope="module", autouse=True)
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with data, and train on two paintings for eight steps."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_nets_small(patch)
        done = train(*TWO, "-o", "whole", "--steps", "8")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("whole/trunk.safetensors: 8 steps, loss ")
        yield folder / "whole"


def test_the_folder_has_all_of_a_run(whole: Path) -> None:
    names = {path.name for path in whole.iterdir() if path.suffix}
    assert {"trunk.safetensors", "settings.json", "loss.png"} <= names
    assert not (whole / "style.safetensors").exists()
    assert len(list((whole / "pictures").iterdir())) == 2
    validated = [x for x in lines(whole) if "validation_loss" in x]
    assert [x["step"] for x in validated] == [0, 8]
    assert validated[1]["validation_loss"] < validated[0]["validation_loss"]


def test_the_file_tells_how_it_was_made(whole: Path) -> None:
    many, metadata = load_trunk(whole / "trunk.safetensors")
    assert sorted(many) == ["net", "predictor"]
    assert json.loads(metadata["arguments"])["styles"] == ["style.png", "style2.png"]
    assert json.loads(metadata["steps"]) == 8
    assert np.abs(many["predictor"]["output"]["norms"]["kernel"]).max() > 0


def test_a_resumed_run_is_the_whole_one(whole: Path) -> None:
    first = train(*TWO, "-o", "parts", "--steps", "4", "--checkpoint-every", "4")
    assert first.code == 0
    assert train(*TWO, "-o", "parts", "--steps", "8", "--resume").code == 0
    found, expected = (
        load_trunk(folder / "trunk.safetensors")[0] for folder in (Path("parts"), whole)
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    train_lines = [
        [x for x in timeless(lines(folder)) if "loss" in x]
        for folder in (Path("parts"), whole)
    ]
    assert train_lines[0] == train_lines[1]
    assert checkpoints(Path("parts"))[-1] == 8


def test_it_predicts_the_net_that_a_style_starts_from(whole: Path) -> None:
    start = ("--init", str(whole / "trunk.safetensors"), "--quiet")
    for painting in ("style", "style2"):
        options = ("--style", f"{painting}.png", "-o", painting, "--steps", "1")
        assert train(*start, *options).code == 0
    nets = [load_style_file(f"{x}/style.safetensors")[0] for x in ("style", "style2")]
    scales = [net["residual1"]["norm2"]["scale"] for net in nets]
    assert np.abs(scales[0] - scales[1]).max() > 1e-4
    many, _ = load_trunk(whole / "trunk.safetensors")
    kernels = [x["conv3"]["kernel"] for x in (*nets, many["net"])]
    assert np.abs(np.diff(kernels, axis=0)).max() < 5e-3  # of one step each


def test_norms_alone_keep_the_trunk(whole: Path) -> None:
    start = ("--init", str(whole / "trunk.safetensors"), "--quiet", "--only", "norms")
    assert train(*start, "-o", "norms", "--steps", "3").code == 0
    many, _ = load_trunk(whole / "trunk.safetensors")
    trunk, before = split_style(many["net"])
    again, after = split_style(load_style_file("norms/style.safetensors")[0])
    jax.tree.map(np.testing.assert_array_equal, again, trunk)
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, after)
    assert all(jax.tree.leaves(moved))


def test_it_goes_on_with_many_styles_from_a_trunk(whole: Path) -> None:
    options = ("--init", str(whole / "trunk.safetensors"), "-o", "on", "--steps", "1")
    assert train(*TWO, *options).code == 0
    started, ended = lines(Path("on"))[0], lines(whole)[-1]
    assert started["validation_loss"] == pytest.approx(
        ended["validation_loss"], rel=1e-5
    )


def test_a_blend_is_a_style_as_before() -> None:
    done = train(*TWO, "--blend", "2,1", "-o", "blend", "--steps", "1")
    assert done.code == 0
    assert Path("blend/style.safetensors").exists()


def test_a_blend_starts_from_the_mean_of_its_styles(whole: Path) -> None:
    start = ("--init", str(whole / "trunk.safetensors"), "--quiet", "--steps", "1")
    rate = ("--learning-rate", "1e-9")
    for name, painting in (("one", "style.png"), ("two", "style2.png")):
        options = ("--style", painting, "-o", name)
        assert train(*start, *rate, *options).code == 0
    blend = (*TWO, "--blend", "3,1", "-o", "mean")
    assert train(*blend, *start, *rate).code == 0
    one, two, mean = (
        load_style_file(f"{name}/style.safetensors")[0]["norm2"]["scale"]
        for name in ("one", "two", "mean")
    )
    np.testing.assert_allclose(mean, (3 * one + two) / 4, atol=1e-6)
    assert np.abs(one - two).max() > 1e-4


def test_kernels_may_be_predicted_instead() -> None:
    options = ("--predict", "kernels", "--norm", "instance", "--steps", "1")
    assert train(*TWO, *options, "-o", "kernels").code == 0
    many, metadata = load_trunk("kernels/trunk.safetensors")
    assert "residual1-conv1" in many["predictor"]["output"]
    assert json.loads(metadata["settings"])["predict"] == "kernels"
    start = ("--init", "kernels/trunk.safetensors", "-o", "kernels/one", "--quiet")
    assert train(*start, "--steps", "1").code == 0
    assert net_norm(load_style_file("kernels/one/style.safetensors")[0]) == "instance"


REFUSED = {
    "a cache": (
        ("--data-cache", "device"),
        "--data-cache device goes with one style or a blend",
    ),
    "another width": (
        ("--init", "whole/trunk.safetensors", "--width", "3"),
        "--width 3, but whole/trunk.safetensors, where training starts, has 2",
    ),
    "norms alone": (
        ("--only", "norms"),
        "--only norms goes with one style or a blend",
    ),
    "norms without parameters": (
        ("--norm", "instance"),
        "--norm instance has nothing to predict",
    ),
    "a damaged trunk": (
        ("--init", "damaged.safetensors"),
        "cannot read the parameter file damaged.safetensors",
    ),
    "a painting that is none": (
        ("--style", "style.png", "photos/07.png"),
        "cannot read the painting photos/07.png: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(whole: Path, case: str) -> None:
    content = (whole / "trunk.safetensors").read_bytes()
    Path("damaged.safetensors").write_bytes(content[: len(content) // 2])
    options, message = REFUSED[case]
    done = train(*TWO, "-o", "refused", "--steps", "1", *options)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not Path("refused").exists()


def test_a_trunk_is_no_style(whole: Path) -> None:
    shutil.copy(whole / "trunk.safetensors", "copy.safetensors")
    with pytest.raises(ValueError, match="jaxstyle train --style PAINTING --init"):
        load_style_file("copy.safetensors")


def test_a_trunk_whose_parts_do_not_fit_is_refused(whole: Path) -> None:
    from jaxstyle.files.trunk_files import save_trunk

    many, _ = load_params(whole / "trunk.safetensors")
    del many["predictor"]["hidden"]["bias"]
    with pytest.raises(ValueError, match="hidden/bias is missing"):
        save_trunk(many, "wrong.safetensors", metadata={})
    with pytest.raises(ValueError, match="net is missing"):
        save_trunk({"predictor": {}}, "wrong.safetensors", metadata={})
