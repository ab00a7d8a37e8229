"""``--style A+B``: a mixture of nets is one more style for the command line."""

import shutil
from pathlib import Path

import jax
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from command_line import run
from stylize_samples import assert_picture, files, refusal

from jaxstyle import load_image, save_style, stylize
from jaxstyle.cli.loading import load_net, load_styles, parse_mixture
from jaxstyle.files import load_settings
from jaxstyle.nets import mix_styles
from jaxstyle.nets.transform_net import Params

pytestmark = pytest.mark.usefixtures("plain_convolutions")

BOTH = "wave.safetensors=1+tide.safetensors=3"


@pytest.fixture(autouse=True)
def tide(stylize_folder: Path, nets: dict[str, Params]) -> Params:
    """A net near the wave, as if trained from it."""
    noise = np.random.default_rng(1)
    kernel = np.asarray(nets["wave"]["conv1"]["kernel"])
    moved = kernel + 0.05 * noise.normal(size=kernel.shape).astype(np.float32)
    net = {**nets["wave"], "conv1": {**nets["wave"]["conv1"], "kernel": moved}}
    save_style(net, "tide.safetensors", metadata={})
    return net


def test_a_mixture_paints_with_the_mean_of_the_nets(
    nets: dict[str, Params], tide: Params
) -> None:
    arguments = ["--style", BOTH, "-o", "out.png", "--quiet"]
    assert run(["stylize", "photo.png", *arguments]) == 0
    paint, photo = jax.jit(stylize), load_image("photo.png")
    mixture = jax.tree.map(lambda x, y: (x + 3 * y) / 4, nets["wave"], tide)
    between, end = (np.clip(paint(net, photo), 0, 1) for net in (mixture, tide))
    assert_picture("out.png", between)
    assert np.abs(between - end).max() > 0.01
    assert load_settings("out.png")["style"] == "wave=1+tide=3"


def test_mixtures_go_with_other_styles_and_into_names_of_files() -> None:
    styles = ["wave.safetensors", "wave.safetensors+tide.safetensors", BOTH]
    arguments = [option for style in styles for option in ("--style", style)]
    assert run(["stylize", "photo.png", *arguments, "-o", "out", "--quiet"]) == 0
    names = ["wave+tide", "wave", "wave=1+tide=3"]
    assert files("out") == [f"photo.{name}.png" for name in names]
    sheet = ["-o", "sheet.png", "--contact-sheet", "--quiet"]
    assert run(["stylize", "photo.png", *arguments, *sheet]) == 0
    assert load_settings("sheet.png")["style"] == "wave, wave+tide, wave=1+tide=3"


def test_the_same_mixture_is_read_once() -> None:
    texts = ["wave+tide", "wave=2+tide=2", "wave=1+tide=3", "wave+tide=2+tide"]
    wanted = [
        text.replace("wave", "wave.safetensors").replace("tide", "tide.safetensors")
        for text in texts
    ]
    assert [x.name for x in load_styles(wanted)] == ["wave+tide", "wave=1+tide=3"]


def test_a_file_may_be_called_like_a_mixture() -> None:
    for name in ("a+b=2.safetensors", "a=2.safetensors"):
        shutil.copy("udnie.safetensors", name)
    (alone,) = load_net(parse_mixture("a+b=2.safetensors")).paths
    assert alone == Path("a+b=2.safetensors")
    both = parse_mixture("a=2.safetensors+a=2.safetensors=3+great-wave")
    assert list(both.values()) == [4, 1]


def test_styles_that_ship_mix_by_their_names() -> None:
    style = load_net(parse_mixture("great-wave=0.5+starry_night"))
    assert style.name == "great-wave=0.5+starry-night=1"
    assert [path.stem for path in style.paths] == ["great-wave", "starry-night"]


def test_a_mixture_can_be_exported(nets: dict[str, Params], tide: Params) -> None:
    assert run(["export", BOTH, "-o", "out.onnx"]) == 0
    photo = load_image("photo.png")[None]
    (found,) = onnxruntime.InferenceSession("out.onnx").run(None, {"images": photo})
    mixture = jax.jit(mix_styles)([nets["wave"], tide], [1, 3])
    np.testing.assert_allclose(found, jax.jit(stylize)(mixture, photo), atol=1e-4)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("wave.safetensors+great-wave", "cannot mix wave, great-wave: net 2 differs f"),
        ("wave.safetensors+udnie.safetensors", "cannot mix wave, udnie: net 2 has not"),
        ("wave.safetensors+nobody", "no style nobody: "),
        ("wave.safetensors+", "expected STYLE+STYLE or STYLE=NUMBER+STYLE=NUMBER, got"),
        ("wave.safetensors+=2", "expected STYLE+STYLE or STYLE=NUMBER+STYLE=NUMBER, g"),
        ("wave.safetensors+udnie.safetensors=-1", "the share of udnie.safetensors: ex"),
        ("wave.safetensors=0+tide.safetensors=0", "expected a share above 0, got wave"),
    ],
)
def test_what_is_no_mixture_is_one_line(
    capsys: pytest.CaptureFixture[str], style: str, message: str
) -> None:
    line = refusal(capsys, "photo.png", "--style", style, "-o", "out.png")
    assert message in line


def test_no_net_of_a_mixture_is_overwritten() -> None:
    Path("tide.safetensors").rename("tide.onnx")
    before = Path("tide.onnx").read_bytes()
    assert run(["export", "wave.safetensors+tide.onnx", "-o", "tide.onnx"]) == 2
    assert Path("tide.onnx").read_bytes() == before
