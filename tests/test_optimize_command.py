"""``jaxstyle optimize`` from end to end: every option does what it says."""

import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import (
    CONTENT_SHAPE,
    SHALLOW,
    TWO_SCALES,
    loss,
    make,
    optimize,
    refused_picture,
    run,
    save_network,
    settings,
    start,
)
from image_samples import assert_close, cmyk, oriented, smooth
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from jaxstyle.cli import runtime
from jaxstyle.cli.main import parse
from jaxstyle.cli.optimize import optimize_command
from jaxstyle.cli.options import describe_config, find_options
from jaxstyle.files.image_files import load_image
from jaxstyle.losses.style import STYLE_LOSSES
from jaxstyle.optimize import optimizers
from jaxstyle.optimize.optimizers import OPTIMIZERS
from jaxstyle.optimize.presets import PRESETS, OptimizeConfig

pytestmark = pytest.mark.usefixtures("picture_folder")


# --- the picture and its record -----------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_picture_is_written_with_its_settings(
    picture_folder: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    output = f"out{suffix}"
    (picture_folder / output).write_bytes(b"old")
    before = set(picture_folder.iterdir())
    assert optimize("--steps", "3", "-o", output) == 0
    assert set(picture_folder.iterdir()) == before
    assert load_image(output).shape == CONTENT_SHAPE
    made = settings(output)
    assert made["arguments"]["styles"] == ["style.png"]
    assert made["arguments"]["output"] == output
    assert made["settings"]["content"] == {"relu2_1": 1}
    assert made["settings"]["pooling"] == "max"
    for package in ("jaxstyle", "jax", "jaxlib", "optax", "numpy"):
        assert made[package] == metadata.version(package)
    assert made["result"] == {"steps": 3, "loss": pytest.approx(loss(output))}
    printed = capsys.readouterr()
    assert printed.out == f"{output}: 3 steps, loss {loss(output):.5g}\n"
    assert printed.err == ""


def test_the_loss_goes_down_with_the_steps() -> None:
    losses = []
    for steps in (1, 3, 20):
        make("--steps", str(steps))
        losses.append(loss())
    assert 0 < losses[2] < losses[1] < losses[0]


def test_progress_is_shown_unless_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], terminal: None
) -> None:
    inputs = ("content.png", "style.png", "-o", "out.png", *SHALLOW, "--steps", "3")
    assert run(["optimize", *inputs]) == 0
    bar, end = capsys.readouterr().err.split("\n")
    said = bar.split("\r")
    assert "32 px, compiling" in map(str.strip, said)
    assert any(text.startswith("32 px, compiling:   0%") for text in said)
    assert said[-1].startswith("32 px, 0.0 GB: 100%")
    assert " 3/3 " in said[-1]
    assert "loss=" in said[-1]
    assert end == ""


@pytest.mark.parametrize(
    ("coarsest", "sizes"),
    [("46", ["45"]), ("22", ["45", "22", "45"])],
)
def test_the_picture_is_made_from_coarse_to_fine(
    capsys: pytest.CaptureFixture[str],
    coarsest: str,
    sizes: list[str],
    terminal: None,
) -> None:
    inputs = ("content.png", "style.png", "-o", "out.png", *SHALLOW, "--steps", "9")
    options = ("--size", "45", "--coarsest", coarsest)
    assert run(["optimize", *inputs, *options]) == 0
    said = re.findall(r"(\d+) px, compiling", capsys.readouterr().err)
    # The finest is compiled first, so that a lack of memory is known at once.
    assert [size for size, _ in groupby(said)] == sizes
    assert load_image("out.png").shape == (34, 45, 3)
    assert settings()["settings"]["coarsest"] == int(coarsest)


def test_fewer_steps_than_scales_are_enough() -> None:
    assert make(*TWO_SCALES, "--steps", "1").shape == (34, 45, 3)
    assert settings()["result"]["steps"] == 1


@pytest.fixture
def default_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let programs be kept where they are by default, not where the tests keep them."""
    folder = jax.config.values["jax_compilation_cache_dir"]
    seconds = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("default_cache")
def test_slow_programs_are_kept(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "SLOW", 0.0)
    make("--optimizer", "lbfgs", "--history", "3")  # which no other test compiles
    assert list(cache_folder.glob("xla/*run_steps*"))


@pytest.mark.usefixtures("default_cache")
def test_the_defaults_work_without_a_cache_that_can_be_written(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXSTYLE_CACHE", str(picture_folder / "content.png"))
    inputs = ("content.png", "style.png", "-o", "out.png", "--quiet")
    arguments = ["optimize", *inputs, "--size", "32", "--steps", "2"]
    process = start(arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert out.startswith(b"out.png: 2 steps, loss ")
    assert err == b""
    assert settings()["settings"]["style"] == PRESETS["default"].loss.style


def test_the_same_seed_gives_the_same_bytes(picture_folder: Path) -> None:
    files = []
    for seed in ("1", "1", "2"):
        make("--init", "noise", "--seed", seed)
        files.append((picture_folder / "out.png").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


# --- options: where it starts -------------------------------------------------------


def test_one_step_gives_the_image_to_start_from(picture_folder: Path) -> None:
    content = load_image("content.png", longest_side=32)
    assert_close(make("--steps", "1"), content, within=0.003)
    flat = np.full((50, 20, 3), (10, 120, 240), np.uint8)
    Image.fromarray(flat).save(picture_folder / "flat.png")
    picture = make("--steps", "1", "--init", "flat.png")
    assert_close(picture, flat[0, 0] / 255, within=0.003)


def test_noise_differs_by_seed() -> None:
    pictures = [make("--steps", "1", "--init", "noise", "--seed", s) for s in "01"]
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.2
    assert all(abs(picture.mean() - 0.5) < 0.05 for picture in pictures)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_what_no_option_replaces(cache_folder: Path, name: str) -> None:
    save_network(cache_folder / "vgg19.safetensors", network="vgg19")
    make("--preset", name)
    (cache_folder / "vgg19.safetensors").unlink()
    made = settings()["settings"]
    names = ("content", "style", "style_loss", "variation", "steps", "size")
    replaced = {key: made[key] for key in names}
    assert made == describe_config(PRESETS[name]) | replaced


# --- options: the loss --------------------------------------------------------------


def test_a_weight_is_for_all_layers_or_by_layer() -> None:
    options = ("--content-weight", "relu1_1=3,relu1_2=0.5", "--style-weight", "2")
    command = ("optimize", "content.png", "style.png", "-o", "out.png")
    chosen = parse([*command, *options])[1].config.loss
    assert chosen.content == {"relu1_1": 3, "relu1_2": 0.5}
    style = PRESETS["default"].loss.style
    mean = sum(style.values()) / len(style)
    assert chosen.style == {layer: 2 * style[layer] / mean for layer in style}
    assert sum(chosen.style.values()) / len(style) == pytest.approx(2)


@pytest.mark.parametrize("option", ["--content-weight", "--style-weight"])
def test_a_weight_multiplies_its_loss(option: str) -> None:
    losses = []
    for value in ("relu2_1=0", "relu2_1=2", "relu2_1=4"):
        zeros = ("--content-weight", "relu2_1=0", "--style-weight", "relu2_1=0")
        make("--steps", "1", "--init", "noise", *zeros, option, value)
        losses.append(loss())
    assert losses[0] == 0
    assert losses[1] > 0
    assert losses[2] == pytest.approx(2 * losses[1])


def variation(picture: np.ndarray) -> float:
    down, across = np.diff(picture, axis=0), np.diff(picture, axis=1)
    return float((down**2).mean() + (across**2).mean())


def test_tv_weight_gives_a_smoother_picture() -> None:
    rough = make("--init", "noise", "--steps", "20")
    fine = make("--init", "noise", "--steps", "20", "--tv-weight", "1000")
    assert variation(fine) < 0.3 * variation(rough)


@pytest.mark.parametrize(
    ("setting", "count"),
    [("pooling", 3), ("activations", 3), ("padding", 2), ("style_loss", 5)],
)
def test_what_the_loss_is_made_of_changes_it(setting: str, count: int) -> None:
    losses = {}
    layers: tuple[str, ...] = ()
    if setting == "style_loss":
        layers = ("--style-weight", "relu1_1=1e3")  # which compiles faster
    options = {option.name: option.info for option in find_options(OptimizeConfig)}
    for name in options[setting].choices or STYLE_LOSSES:
        make("--steps", "1", f"--{setting.replace('_', '-')}", name, *layers)
        losses[name] = loss()
    assert len(losses) == count
    if setting == "style_loss":
        exact = losses.pop("wasserstein-exact")
        assert exact == pytest.approx(losses["wasserstein"], rel=0.02)
    assert len({round(value, 3) for value in losses.values()}) == len(losses)


def test_precision_changes_what_the_network_computes_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make("--steps", "1")
    expected = loss()
    make("--steps", "1", "--precision", "bfloat16")
    assert settings()["settings"]["precision"] == "bfloat16"
    assert loss() != expected
    assert loss() == pytest.approx(expected, rel=0.02)
    capsys.readouterr()
    line = refused_picture(capsys, "--precision", "half")
    assert "--precision: expected float32, bfloat16, got 'half'" in line


def test_the_network_may_be_a_file(picture_folder: Path) -> None:
    save_network(picture_folder / "same.safetensors")
    expected = make()
    assert_close(make("--vgg", "same.safetensors"), expected)
    save_network(picture_folder / "other.safetensors", mean=np.zeros(3, np.float32))
    assert np.abs(make("--vgg", "other.safetensors") - expected).max() > 0.01


# --- options: the run ---------------------------------------------------------------


def test_the_optimizer_and_its_learning_rate_move_the_pixels() -> None:
    start = make("--steps", "1")
    moved = {}
    for rate in ("0.001", "0.01"):
        picture = make("--optimizer", "adam", "--learning-rate", rate, "--steps", "2")
        moved[rate] = np.abs(picture - start).max()
    assert moved == {"0.001": 0, "0.01": pytest.approx(0.01, abs=0.004)}
    made = [make("--optimizer", name) for name in OPTIMIZERS]
    assert np.abs(made[0] - made[1]).max() > 0.01


def test_lbfgs_remembers_as_many_steps_as_are_asked_for() -> None:
    """The first step has none to remember, the second one, the third two."""
    by_lbfgs = ("--optimizer", "lbfgs", "--steps", "4")
    of_one, of_two, of_many = (
        make(*by_lbfgs, *("--history", str(n))) for n in (1, 2, 9)
    )
    assert np.abs(of_one - of_two).max() > 0.004
    np.testing.assert_array_equal(of_two, of_many)
    assert settings()["arguments"]["history"] == 9


def test_the_average_is_kept_or_the_best() -> None:
    adam = ("--optimizer", "adam", "--learning-rate", "0.1", "--steps", "1")
    start = make(*adam, "--keep", "best")
    assert_close(start, load_image("content.png", longest_side=32), within=0.003)
    moved = np.abs(make(*adam, "--keep", "average") - start)  # where there is room
    assert moved.max() == pytest.approx(0.05, abs=0.004)
    assert np.median(moved) == pytest.approx(0.05, abs=0.004)


# --- awkward images -----------------------------------------------------------------

RGB = np.rint(smooth(24, 32) * 255).astype(np.uint8)
AWKWARD: Mapping[str, tuple[Image.Image, Mapping[str, Any]]] = {
    "alpha.png": (Image.fromarray(np.dstack([RGB, RGB[..., :1]])), {}),
    "palette.gif": (Image.fromarray(RGB).quantize(8), {}),
    "gray.png": (Image.fromarray(RGB[..., 0]), {}),
    "cmyk.jpg": (cmyk(np.dstack([RGB, RGB[..., :1]])), {}),
    "16-bit.png": (Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), {}),
    "rotated.jpg": (Image.fromarray(np.rot90(RGB).copy()), {"exif": oriented(6)}),
    "animated.webp": (
        Image.fromarray(RGB),
        {"save_all": True, "append_images": [Image.fromarray(RGB[::-1].copy())]},
    ),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_images_simply_work(name: str) -> None:
    picture, options = AWKWARD[name]
    picture.save(name, **options)
    inputs = [name, name, "-o", "out.png", *SHALLOW, "--quiet", "--steps", "2"]
    assert run(["optimize", *inputs, "--init", name]) == 0
    assert load_image("out.png").shape == CONTENT_SHAPE


# --- runs that end early ------------------------------------------------------------


def test_a_loss_that_is_not_finite_keeps_the_last_good_picture(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "LONGEST_STEP", 10.0)  # far out of range
    huge = ("--style-weight", "relu1_1=1e38,relu2_1=1e38", "--save-every", "1")
    anew = ("--history", "7")  # compiled for no other test
    assert optimize(*huge, *anew, "--steps", "9") == 1
    printed = capsys.readouterr().err
    step = settings()["result"]["steps"]
    assert printed == (
        f"jaxstyle optimize: error: the loss is not finite at step {step}; "
        "out.png is the best picture before it\n"
    )
    assert 1 < step < 9
    assert np.isfinite(loss())
    assert not Path(f"out.{step:05d}.png").exists()


def test_without_a_finite_loss_the_old_picture_stays(
    picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (picture_folder / "out.png").write_bytes(b"old")
    before = set(picture_folder.iterdir())
    huge = ("--style-weight", "relu2_1=3e38", "--activations", "raw")
    assert optimize(*huge, "--save-every", "1", "--film", "film.gif") == 1
    line = (
        "jaxstyle optimize: error: the loss is not finite at step 1; out.png is not "
        "written\n"
    )
    assert capsys.readouterr() == ("", line)
    assert (picture_folder / "out.png").read_bytes() == b"old"
    assert set(picture_folder.iterdir()) == before


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9"),
    ],
)
def test_a_lack_of_memory_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(optimize_command, "make_programs", fail)
    assert optimize() == 2
    line = (
        "jaxstyle optimize: error: not enough memory for --size 32; "
        "use a smaller one, or --tile\n"
    )
    assert capsys.readouterr() == ("", line)


def test_tiles_make_the_same_picture(capsys: pytest.CaptureFixture[str]) -> None:
    one_scale = ("--size", "45", "--coarsest", "45", "--optimizer", "adam")
    whole = make(*one_scale)
    expected = settings()["result"]["loss"]
    tiled = make(*one_scale, "--tile", "24")
    assert settings()["arguments"]["tile"] == 24
    assert loss() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(tiled, whole, atol=2 / 255)
    assert optimize(*one_scale, "--tile", "6") == 2
    assert "error: tiles must have sides of 14 or more" in capsys.readouterr().err
