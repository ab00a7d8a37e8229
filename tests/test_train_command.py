"""``jaxstyle train`` from end to end: what a run makes, goes on with, and ends with."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import contents
from full_disk import small_files
from PIL import Image
from training_runs import Finished, checkpoints, lines, save_data, timeless, train

from jaxstyle.cli.runtime import NotFiniteError, check_finite
from jaxstyle.cli.train import train_command
from jaxstyle.cli.train.training_programs import make_optimizer
from jaxstyle.data.batches import validation_batches
from jaxstyle.data.sources import hold_out, open_source
from jaxstyle.files.image_files import load_image
from jaxstyle.files.json_files import load_object, save_object
from jaxstyle.files.style_files import load_style_file
from jaxstyle.nets import transform_net
from jaxstyle.nets.transform_net import net_norm, net_width
from jaxstyle.training.loop import init_state
from jaxstyle.training.recipes import TRAINING_PRESETS

EVERY = (*("--validate-every", "2", "--picture-every", "3", "--checkpoint-every", "1"),)

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def finished(data: Path) -> Finished:
    """A run of five steps, with progress, in the folder ``run``."""
    return train("-o", "run", "--steps", "5", *EVERY)


@pytest.fixture
def copied(finished: Finished, data: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(data / "run", tmp_path / "run"))


# --- a run --------------------------------------------------------------------------


def test_a_run_says_what_it_does(finished: Finished) -> None:
    assert finished.code == 0
    found, *compiling, stopping, left, bar, advice, end = finished.err.split("\n")
    assert found == "training on 9 photos of photos; 3 others are held out"
    assert compiling[0].startswith("compiling for 2x16x16 pixels on ")
    assert compiling[1].startswith("compiled in ")
    assert stopping == (
        "Ctrl-C stops after the step under way and saves all; go on with: jaxstyle "
        "train --resume run"
    )
    assert left.endswith("about 1 min left; pictures are in run/pictures")
    assert "5/5" in bar
    assert "loss=" in bar
    assert "images/s=" in bar
    assert advice == (
        "next: jaxstyle stylize PHOTO --style run/style.safetensors -o picture.png"
    )
    assert end == ""


def test_in_a_log_validations_are_lines(data: Path) -> None:
    options = ("--steps", "2", "--validate-every", "1", "-o", "logged")
    done = train(*options, terminal=False)
    assert done.code == 0
    told = [line for line in done.err.splitlines() if line.startswith("step ")]
    assert len(told) == 3
    for number, line in enumerate(told):
        assert line.startswith(f"step {number} of 2: validation loss ")
    assert "\r" not in done.err


def test_a_run_ends_with_its_losses_and_what_was_wrong_with_photos(
    finished: Finished, data: Path
) -> None:
    result, report = finished.out.splitlines()
    logged = lines(data / "run")
    assert result == (
        f"run/style.safetensors: 5 steps, loss {logged[-2]['loss']:.5g}, "
        f"validation loss {logged[-1]['validation_loss']:.5g}"
    )
    assert report.startswith("photos: repaired 1 gray, skipped 1 (07.png: ")


def test_every_step_and_validation_is_logged(finished: Finished, data: Path) -> None:
    logged = lines(data / "run")
    training = [line["step"] for line in logged if "loss" in line]
    validation = [line["step"] for line in logged if "validation_loss" in line]
    assert training == [1, 2, 3, 4, 5]
    assert validation == [0, 2, 4, 5]
    for line in logged:
        prefix = "" if "loss" in line else "validation_"
        parts = ("content", "style", "total_variation")
        total = sum(line[f"{prefix}{part}"] for part in parts)
        assert line[f"{prefix}loss"] == pytest.approx(total)
    assert all(line["gradient_norm"] > 0 for line in logged if "loss" in line)


def test_training_lowers_the_loss_on_held_out_photos(
    finished: Finished, data: Path
) -> None:
    losses = [line["validation_loss"] for line in lines(data / "run")[0::6]]
    assert len(losses) == 2
    assert losses[1] < 0.99 * losses[0]


def test_the_folder_holds_everything(finished: Finished, data: Path) -> None:
    names = {path.name for path in (data / "run").iterdir()}
    events = {name for name in names if name.startswith("events.")}
    assert len(events) == 1
    assert names - events == {
        *("checkpoints", "pictures", "metrics.jsonl", "settings.json"),
        *("loss.png", "style.safetensors"),
    }
    assert checkpoints(data / "run") == [3, 4, 5]
    pictures = sorted(path.name for path in (data / "run" / "pictures").iterdir())
    assert pictures == ["step_00003.png", "step_00005.png"]


def test_a_sheet_shows_the_painting_photos_and_pictures(
    finished: Finished, data: Path
) -> None:
    sheet = load_image(data / "run" / "pictures" / "step_00005.png")
    params, _ = load_style_file(data / "run" / "style.safetensors")
    _, held_out = hold_out(open_source("photos"), 3)
    (batch,) = validation_batches(held_out, size=16, batch=3)
    photos = batch / np.float32(255)
    outputs = np.clip(jax.jit(transform_net.stylize)(params, photos), 0, 1)
    style = load_image(data / "style.png", longest_side=24)
    assert all(contains(sheet, picture) for picture in (style, *photos, *outputs))
    assert not contains(sheet, 1 - style)


def contains(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Return whether a picture lies somewhere in a sheet."""
    height, width, _ = picture.shape
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (height, width, 3))
    differences = np.abs(windows[:, :, 0] - picture).max((-3, -2, -1))
    return bool(differences.min() < 0.01)


def test_the_net_carries_all_about_itself(finished: Finished, data: Path) -> None:
    _, found = load_style_file(data / "run" / "style.safetensors")
    known = {name: found[name] for name in found if not name.startswith("format")}
    about = {name: json.loads(value) for name, value in known.items()}
    assert about["arguments"]["styles"] == ["style.png"]
    assert about["settings"]["content"] == {"relu1_2": 1}
    assert about["settings"]["learning_rate"] == 1e-3
    assert about["versions"]["jax"] == metadata.version("jax")
    assert about["data"]["name"] == "photos"
    assert len(about["data"]["fingerprint"]) == 16
    assert about["steps"] == 5
    assert (
        about["losses"]["validation_loss"] == lines(data / "run")[-1]["validation_loss"]
    )
    assert about["losses"]["loss"] == lines(data / "run")[-2]["loss"]
    assert "07.png" in about["data_report"]
    recorded = json.loads((data / "run" / "settings.json").read_text())
    assert recorded.pop("directory") == str(data)
    assert recorded == {name: about[name] for name in recorded}
    assert recorded.keys() == {"arguments", "settings", "data", "start", "versions"}


def test_other_settings_give_another_net(data: Path) -> None:
    done = train(
        *("-o", "other", "--preset", "seed", "--steps", "2", "--quiet"),
        *("--style", "style.png", "style2.png", "--blend", "1,3"),
        *("--norm", "batch", "--width", "3", "--precision", "bfloat16"),
        *("--size", "20", "--batch", "3", "--pooling", "average"),
        *("--activations", "raw", "--halve-every", "1", "--tv-weight", "5"),
        *("--seed", "7", "--validation", "4"),
    )
    assert (done.code, done.err) == (0, "")
    params, found = load_style_file(data / "other" / "style.safetensors")
    assert (net_norm(params), net_width(params)) == ("batch", 3)
    assert params["negative_slope"] == 0
    assert params["norm1"]["mean"].any()
    assert json.loads(found["settings"])["variation"] == {"absolute": 5}
    assert lines(data / "other")[1]["total_variation"] > 0
    assert checkpoints(data / "other") == [0, 2]


# --- going on -----------------------------------------------------------------------


def test_a_run_that_is_done_is_left_alone(copied: Path) -> None:
    before = contents(copied)
    done = train("-o", str(copied), "--steps", "5", "--resume")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{copied}/style.safetensors: nothing to do, 5 steps are made\n"
    assert contents(copied) == before


def test_a_damaged_checkpoint_is_named_and_made_again(copied: Path, data: Path) -> None:
    before = lines(copied)
    (copied / "checkpoints" / "5" / "manifest.json").write_text("")
    (copied / "style.safetensors").unlink()
    done = train("-o", str(copied), "--steps", "5", "--resume", *EVERY)
    assert done.code == 0
    damaged, going_on, *_ = done.err.splitlines()
    assert damaged.startswith("jaxstyle train: the checkpoint of step 5 is damaged: ")
    assert going_on == "going on from step 4"
    assert timeless(lines(copied)) == timeless(before)
    assert checkpoints(copied) == [3, 4, 5]
    again, _ = load_style_file(copied / "style.safetensors")
    whole, _ = load_style_file(data / "run" / "style.safetensors")
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), again, whole))


def test_another_configuration_is_refused(copied: Path) -> None:
    before = contents(copied)
    options = ("--seed", "1", "--learning-rate", "0.01", "--steps", "9")
    done = train("-o", str(copied), "--resume", *options)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"jaxstyle train: error: the checkpoints in {copied}/checkpoints are of "
        "another configuration: learning_rate 0.001 -> 0.01, seed 0 -> 1\n"
    )
    assert contents(copied) == before


def test_other_data_and_paintings_are_another_configuration(
    copied: Path, tmp_path: Path
) -> None:
    save_data(tmp_path)
    Image.new("RGB", (30, 30)).save(tmp_path / "photos" / "more.png")
    shutil.copy(tmp_path / "style2.png", tmp_path / "style.png")
    options = ("--data", f"{tmp_path}/photos", "--style", f"{tmp_path}/style.png")
    done = train("-o", str(copied), "--resume", *options)
    assert done.code == 2
    assert ": data " in done.err
    assert ", styles ['" in done.err


def test_a_previous_run_is_not_overwritten(finished: Finished, data: Path) -> None:
    before = contents(data / "run")
    done = train("-o", "run")
    assert done.code == 2
    assert "run holds a run already (settings.json, " in done.err
    assert contents(data / "run") == before


# --- runs that end early ------------------------------------------------------------


def test_a_loss_that_is_not_finite_leaves_the_last_good_checkpoint(
    copied: Path,
) -> None:
    before = contents(copied)
    huge = ("--style-weight", "relu1_1=3e38", "--content-weight", "relu1_2=3e38")
    for path in copied.glob("checkpoints/*/manifest.json"):
        manifest = load_object(path, {"configuration": dict, "files": dict})
        manifest["configuration"]["style"]["relu1_1"] = 3e38
        manifest["configuration"]["content"]["relu1_2"] = 3e38
        save_object(manifest, path)
    done = train("-o", str(copied), "--resume", "--steps", "9", "--quiet", *huge)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "jaxstyle train: error: the loss is not finite at step 6; the last checkpoint "
        "is of step 5\n"
    )
    assert checkpoints(copied) == [3, 4, 5]
    for name in ("metrics.jsonl", "style.safetensors", "loss.png"):
        assert (copied / name).read_bytes() == before[name]


def test_a_loss_that_never_was_finite_is_named_too(data: Path) -> None:
    huge = ("--style-weight", "relu1_1=3e38", "--content-weight", "relu1_2=3e38")
    done = train("-o", "never", *huge, "--steps", "9", "--quiet")
    assert done.code == 1
    assert done.err == (
        "jaxstyle train: error: the validation loss is not finite at step 0; the last "
        "checkpoint is of step 0\n"
    )
    assert (data / "never" / "metrics.jsonl").read_bytes() == b""


def test_a_state_that_is_not_finite_is_named() -> None:
    optimizer = make_optimizer(TRAINING_PRESETS["alone"])
    state = init_state({"conv1": {"bias": jnp.zeros(3)}}, optimizer)
    check_finite(state)
    broken = state._replace(params={"conv1": {"bias": jnp.array([0, jnp.inf, 0])}})
    with pytest.raises(NotFiniteError, match=r"^params/conv1/bias is not finite at"):
        check_finite(broken)


def test_a_full_disk_loses_nothing(copied: Path) -> None:
    before = contents(copied)
    options = ("-o", str(copied), "--resume", "--steps", "7", "--quiet", *EVERY)
    with small_files(20_000):
        done = train(*options)
    assert (done.code, done.out) == (2, "")
    folder = copied / "checkpoints"
    assert done.err == (
        f"jaxstyle train: error: cannot write the checkpoint of step 6 in {folder}: "
        "File too large\n"
    )
    kept = contents(copied)
    for name, content in before.items():
        if name not in ("settings.json", "metrics.jsonl"):
            assert kept[name] == content
    assert checkpoints(copied)[:3] == [3, 4, 5]
    assert [line["step"] for line in lines(copied) if "loss" in line] == list(
        range(1, 7)
    )


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9"),
    ],
)
def test_a_lack_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(train_command, "compile_programs", fail)
    done = train("-o", "memory", "--quiet")
    assert done == Finished(
        2,
        "",
        "jaxstyle train: error: not enough memory for --batch 2 at --size 16; use a "
        "smaller --batch or --size\n",
    )
