"""``jaxstyle train --init``: a net that starts from another."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_runs import checkpoints, lines, make_nets_small, save_data, train

from jaxstyle.files.style_files import load_style_file
from jaxstyle.nets.transform_net import (
    net_noise,
    net_norm,
    net_upsampling,
    net_width,
)


@pytest.fixture(scope="module", autouse=True)
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with data, and the net of a run of three steps, ``first``."""
    folder = tmp_path_factory.mktemp("data")
    save_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_nets_small(patch)
        kind = ("--norm", "instance", "--upsampling", "bilinear", "--noise", "1")
        done = train("-o", "first", "--steps", "3", "--quiet", *kind)
        assert (done.code, done.err) == (0, "")
        yield folder / "first" / "style.safetensors"


def from_first(*options: str) -> tuple[int, str]:
    done = train("--init", "first/style.safetensors", "--quiet", *options)
    return done.code, done.err


def test_it_starts_where_the_other_ended(first: Path) -> None:
    assert from_first("-o", "on", "--steps", "2", "--seed", "5") == (0, "")
    ended, started = lines(first.parent)[-1], lines(Path("on"))[0]
    assert started["step"] == 0
    for name in ("validation_loss", "validation_content", "validation_style"):
        assert started[name] == pytest.approx(ended[name], rel=1e-5)
    assert lines(Path("on"))[-1]["validation_loss"] < started["validation_loss"]


def test_the_net_keeps_its_kind_and_says_where_it_is_from(first: Path) -> None:
    assert from_first("-o", "kind", "--steps", "1", "--preset", "seed") == (0, "")
    params, found = load_style_file("kind/style.safetensors")
    assert (net_norm(params), net_width(params)) == ("instance", 2)
    assert params["negative_slope"] == 1
    settings = json.loads(found["settings"])
    assert (settings["norm"], settings["negative_slope"]) == ("instance", 1)
    assert (settings["upsampling"], settings["noise"]) == ("bilinear", 1)
    assert (net_upsampling(params), net_noise(params)) == ("bilinear", 1)
    assert json.loads(found["arguments"])["init"] == "first/style.safetensors"


def test_it_goes_on_with_the_same_net_only(first: Path) -> None:
    options = ("-o", "parts", "--checkpoint-every", "1")
    assert from_first(*options, "--steps", "1") == (0, "")
    assert from_first(*options, "--steps", "2", "--resume") == (0, "")
    assert checkpoints(Path("parts"))[-1] == 2
    shutil.copy("parts/style.safetensors", "other.safetensors")
    code, message = from_first(*options, "--resume", "--init", "other.safetensors")
    assert code == 2
    assert "init" in message


@pytest.mark.parametrize(("option", "value"), [("--width", "3"), ("--norm", "affine")])
def test_another_kind_of_net_is_refused(first: Path, option: str, value: str) -> None:
    code, message = from_first("-o", "refused", option, value)
    assert code == 2
    start = "first/style.safetensors, where training starts,"
    assert f"{option} {value}, but {start} has" in message
    assert message.count("\n") == 1
    assert not Path("refused").exists()


def test_a_missing_net_is_named() -> None:
    done = train("--init", "missing.safetensors", "-o", "refused", "--quiet")
    assert done.code == 2
    assert "no style missing.safetensors" in done.err


def test_the_net_to_start_from_is_not_overwritten(first: Path) -> None:
    code, message = from_first("-o", "first")
    assert code == 2
    assert "first/style.safetensors is an input" in message
