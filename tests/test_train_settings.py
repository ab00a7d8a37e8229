"""The settings of ``jaxstyle train``, and what is refused before any work."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from command_line import contents, save_network
from PIL import Image
from training_runs import TINY, train

from jaxstyle.cli.main import parse
from jaxstyle.cli.train.training_inputs import (
    check_arguments,
    choose_settings,
    describe_settings,
)
from jaxstyle.cli.train.training_programs import make_optimizer
from jaxstyle.losses.config import LossConfig
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainConfig

pytestmark = pytest.mark.usefixtures("data")


def settings(*options: str) -> TrainConfig:
    command = ["train", "--style", "x.png", "-o", "out", *options]
    return choose_settings(parse(command)[1])


# --- settings -----------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINING_PRESETS)
def test_a_preset_gives_what_no_option_replaces(name: str) -> None:
    assert settings("--preset", name) == TRAINING_PRESETS[name]


def test_weights_are_replaced_as_for_optimize() -> None:
    chosen = settings("--content-weight", "relu1_1=3", "--style-weight", "2")
    assert chosen.loss.content == {"relu1_1": 3}
    shares = TRAINING_PRESETS["default"].loss.style
    assert sum(shares.values()) == pytest.approx(len(shares))
    expected = {layer: 2 * share for layer, share in shares.items()}
    assert chosen.loss.style == pytest.approx(expected)


def test_the_variation_is_of_the_kind_that_the_preset_has() -> None:
    default = settings("--tv-weight", "2")
    assert default.loss.variation == {"total": 2}
    assert default.loss.weights().total_variation == 2
    assert default.loss.weights().absolute_variation == 0
    seed = settings("--preset", "seed", "--tv-weight", "2")
    assert seed.loss.variation == {"absolute": 2}
    assert seed.loss.weights().total_variation == 0
    assert seed.loss.weights().absolute_variation == 2


def test_the_learning_rate_is_halved_in_time() -> None:
    sizes = []
    for options in ((), ("--halve-every", "2")):
        optimizer = make_optimizer(settings("--learning-rate", "0.5", *options))
        params, moved = jnp.zeros(()), []
        state = optimizer.init(params)
        for _ in range(5):
            update, state = optimizer.update(jnp.ones(()), state)
            moved.append(float(-update))
        sizes.append(moved)
    assert sizes[0] == pytest.approx([0.5] * 5, rel=1e-4)
    assert sizes[1] == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.125], rel=1e-4)


def test_all_that_shapes_a_net_is_in_its_configuration() -> None:
    names = set(describe_settings(TRAINING_PRESETS["default"]))
    fields = {*TrainConfig.__dataclass_fields__, *LossConfig.__dataclass_fields__}
    assert fields - names == {"summary", "loss", "steps"}


# --- bad input ----------------------------------------------------------------------

BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no painting": (("--style", "no.png"), "no such image file: no.png"),
    "a painting that is none": (
        ("--style", "photos/07.png"),
        "cannot read the image photos/07.png: its format is unknown, or its first "
        "bytes are damaged",
    ),
    "no data": (
        ("--data", "nothing"),
        "no data nothing",
    ),
    "no photos": (("--data", "empty"), "no images in the folder empty"),
    "too few photos": (
        ("--batch", "10"),
        "photos holds 12 images, too few for a batch of 10 beside 3 held out; use a "
        "smaller --batch or --validation",
    ),
    "crops too small for the net": (
        ("--size", "15"),
        "--size 15 is too small: nets need 16 pixels or more",
    ),
    "crops too small for a layer": (
        ("--content-weight", "relu6_1=1", "--vgg", "deep.safetensors"),
        "no layer relu6_1",
    ),
    "a painting too small for a layer": (
        ("--content-weight", "relu5_1=1", "--style-size", "12"),
        "style.png at 10x12 pixels is too small for relu5_1, which needs 16x16; use a "
        "larger --style-size",
    ),
    "a painting that only enlarging makes large enough": (
        ("--content-weight", "relu5_1=1", "--style", "tiny.png"),
        "tiny.png at 10x12 pixels is too small for relu5_1, which needs 16x16; use a "
        "larger --style-size",
    ),
    "no such layer": (
        ("--style-weight", "relu9_9=1"),
        "no layer relu9_9 in this network",
    ),
    "no such norm": (
        ("--norm", "layer"),
        "argument --norm: expected affine, instance, batch, got 'layer'",
    ),
    "no such precision": (
        ("--precision", "float16"),
        "argument --precision: expected float32, bfloat16, got 'float16'",
    ),
    "no such pooling": (
        ("--pooling", "min"),
        "argument --pooling: expected max, average, l2, ",
    ),
    "no network": (("--vgg", "vgg11"), "no VGG weights vgg11"),
    "too many shares": (
        ("--blend", "1,2"),
        "--blend needs one number per painting: 1, got 2",
    ),
    "nothing to go on from": (
        ("--resume",),
        "there is no checkpoint in new to go on from; start a run there without "
        "--resume",
    ),
    "a folder that is a file": (
        ("-o", "style.png"),
        "cannot write to the folder style.png: File exists",
    ),
    "a folder below a file": (
        ("-o", "style.png/run"),
        "cannot write to the folder style.png/run: Not a directory",
    ),
    "a folder in the data": (
        ("-o", "photos/run"),
        "the folder of the run, photos/run, lies in the data, photos",
    ),
    "a folder that is the data": (
        ("-o", "photos"),
        "the folder of the run, photos, lies in the data, photos",
    ),
    "a painting that is an output": (
        ("-o", ".", "--style", "loss.png"),
        "loss.png is an input; the run would write over it",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(data: Path, case: str) -> None:
    options, message = BAD[case]
    (data / "empty").mkdir(exist_ok=True)
    Image.new("RGB", (10, 12)).save(data / "tiny.png")
    save_network(data / "deep.safetensors")
    before = contents(data)
    done = train("-o", "new", *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"jaxstyle train: error: {message}")
    assert len(done.err.splitlines()) == 1
    assert contents(data) == before
    assert not (data / "new").exists()


@pytest.mark.parametrize(
    "found", ["style.safetensors", "metrics.jsonl", "loss.png", "settings.json"]
)
def test_nothing_is_overwritten(tmp_path: Path, found: str) -> None:
    (tmp_path / found).write_bytes(b"mine")
    done = train("-o", str(tmp_path))
    assert done.code == 2
    assert done.err == (
        f"jaxstyle train: error: {tmp_path} holds a run already ({found}); go on with "
        "it by --resume, or choose another folder\n"
    )
    assert contents(tmp_path) == {found: b"mine"}


def test_what_was_killed_before_its_first_checkpoint_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "0.orbax-checkpoint-tmp").mkdir(parents=True)
    command = ["train", *TINY, "-o", str(tmp_path)]
    check_arguments(parse(command)[1])
    check_arguments(parse([*command, "--resume"])[1])  # which starts it again
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="there is no checkpoint in"):
        check_arguments(parse([*command, "--resume"])[1])
