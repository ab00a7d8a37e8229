"""The command line: help, arguments, and one clear line for every bad input."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SHALLOW, run, save_network, save_pictures, start
from image_samples import noise
from PIL import Image

from jaxstyle.cli import file_commands, main
from jaxstyle.cli.commands import COMMANDS
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions, make_sweep_parser
from jaxstyle.cli.options import find_options, make_help, sweepable
from jaxstyle.convert.published_vgg import DOWNLOADS
from jaxstyle.losses.config import parse_blend, parse_shares, parse_weights
from jaxstyle.optimize.presets import PRESETS
from jaxstyle.optimize.scenes import INITS
from jaxstyle.vgg.layers import NETWORKS

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with pictures and with an output to leave alone."""
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    (folder := tmp_path / "pictures").mkdir()
    monkeypatch.chdir(folder)
    save_pictures(folder)
    (folder / "out.png").write_bytes(b"old")
    return folder


def refusal(capsys: Captured, *arguments: str) -> str:
    """Return the one line with which ``jaxstyle`` refuses the arguments.

    No file in the current folder may change, come or go.
    """
    before = contents(Path.cwd())
    assert run(arguments) == 2
    assert contents(Path.cwd()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle")
    assert ": error: " in line
    return line


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused_pictures(capsys: Captured, *options: str) -> str:
    """Return the line about options that follow good ones."""
    return refusal(
        capsys, "optimize", "content.png", "style.png", "-oout.png", *SHALLOW, *options
    )


# --- help and commands --------------------------------------------------------------


@pytest.mark.parametrize("command", [(), ("optimize",), ("weights",), ("push",)])
def test_help_fits_100_columns(
    command: tuple[str, ...], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run([*command, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert max(map(len, printed.out.splitlines())) <= 100


def test_help_names_every_choice(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no name is broken at a hyphen
    run(["--help"])
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in COMMANDS)
    run(["optimize", "--help"])
    text = capsys.readouterr().out
    for name, preset in PRESETS.items():
        assert f"  {name} " in text
        assert preset.summary in text
    words = set(re.findall(r"[\w-]+", text))
    for option in find_options(OptimizeOptions):
        assert option.info.positional or option.flag in words
        assert words.issuperset(option.info.choices)
    assert words.issuperset((*INITS, *sweepable(OptimizeOptions)))
    assert f"--vgg {'|'.join(NETWORKS)}|FILE" in text
    run(["weights", "--help"])
    assert " or ".join(DOWNLOADS) in capsys.readouterr().out


def test_help_shows_the_default_of_every_option() -> None:
    for command in COMMANDS.values():
        for option in find_options(command.options):
            if not (option.required or option.info.positional):
                assert "(default" in make_help(option, command.options), option.flag


def test_to_stylize_comes_first_in_the_list_of_commands() -> None:
    assert next(iter(COMMANDS)) == "stylize"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxstyle", "styles"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (141, b"")


def test_the_version_is_that_of_the_package(capsys: Captured) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxstyle {metadata.version('jaxstyle')}\n"


def test_the_installed_script_is_the_command_line() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="jaxstyle")
    assert script.load() is main.main


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "COMMAND"),
        (("paint",), "'paint'"),
        (("optimize",), "CONTENT, STYLE, -o/--output"),
        (("optimize", "content.png", "style.png"), "-o/--output"),
        (("optimize", "content.png", "-o", "out.png"), "STYLE"),
        (("weights",), "NAME"),
        (("weights", "vgg11"), "no download 'vgg11'; known are vgg16, vgg19"),
        (("weights", "vgg19", "--url", "file:///missing"), "file:///missing"),
    ],
)
def test_a_bad_command_is_refused(
    folder: Path, capsys: Captured, arguments: tuple[str, ...], named: str
) -> None:
    assert named in refusal(capsys, *arguments)


def test_weights_are_fetched_from_where_the_url_says(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str, *, url: str | None) -> Path:
        return Path(f"{name} from {url}")

    monkeypatch.setattr(file_commands, "download_vgg", download)
    assert run(["weights", "vgg19", "--url", "file:x"]) == 0
    assert capsys.readouterr().out == "vgg19 is ready: vgg19 from file:x\n"


# --- what ends a command ------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "jaxstyle weights: interrupted\n"),
        (ValueError("two\nlines"), 2, "jaxstyle weights: error: two lines\n"),
        (
            OSError(28, "Full", "x"),
            2,
            "jaxstyle weights: error: [Errno 28] Full: 'x'\n",
        ),
    ],
)
def test_what_ends_a_command_is_one_line(
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    for imported in (lambda _: raising(error), raising(error)):
        monkeypatch.setattr(main, "load_command", imported)
        assert run(["weights", "vgg19"]) == code
        assert capsys.readouterr() == ("", line)


def test_bad_input_ends_the_process_with_code_2(folder: Path, tmp_path: Path) -> None:
    arguments = ["optimize", "content.png", "missing.png", "-o", "out.png"]
    process = start(arguments)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err == b"jaxstyle optimize: error: no such image file: missing.png\n"
    assert (folder / "out.png").read_bytes() == b"old"


# --- bad settings -------------------------------------------------------------------

NO_COUNTS = ("0", "-1", "1.5", "nan", "inf", "many", "", "10000000000")
NO_WEIGHTS = ("-1", "nan", "inf", "1e39", "much", "")
NO_LAYER_WEIGHTS = ("relu1_2=", "=5", "relu1_1=1,5", "relu1_1=nan", "a=1,a=2", "a=b=1")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--size", NO_COUNTS),
        ("--style-size", NO_COUNTS),
        ("--steps", NO_COUNTS),
        ("--save-every", NO_COUNTS),
        ("--coarsest", NO_COUNTS),
        ("--strength", ("1.1", *NO_WEIGHTS)),
        ("--style-scale", ("0", *NO_WEIGHTS)),
        ("--seed", ("-1", "1.5", "nan", "x", "4294967296")),
        ("--learning-rate", ("0", *NO_WEIGHTS)),
        ("--history", NO_COUNTS),
        ("--devices", NO_COUNTS),
        ("--tv-weight", NO_WEIGHTS),
        ("--content-weight", (*NO_WEIGHTS, *NO_LAYER_WEIGHTS)),
        ("--style-weight", (*NO_WEIGHTS, *NO_LAYER_WEIGHTS)),
        ("--blend", (*NO_WEIGHTS, "0", "0,0", "1,-1", "1,,2", "1;2")),
        ("--blend", ("relu1_1=", "=1:2", "relu1_1=0:0", "relu1_1=1,relu1_1=1")),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    folder: Path, capsys: Captured, option: str, values: tuple[str, ...]
) -> None:
    for value in values:
        assert f"argument {option}: expected" in refused_pictures(capsys, option, value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--preset", "x"), "argument --preset: expected default, crowson, "),
        (("--optimizer", "x"), "--optimizer: expected lbfgs, adam, got 'x'"),
        (("--keep", "x"), "--keep: expected best, average, got 'x'"),
        (("--style-loss", "x"), "--style-loss: expected gram, wasserstein, "),
        (("--padding", "x"), "--padding: expected zero, replicate, got 'x'"),
        (("--pooling", "x"), "--pooling: expected max, average, l2, got 'x'"),
        (("--activations", "x"), "--activations: expected layer, filter, raw, got"),
        (("--learning-rate", "1"), "--learning-rate is for adam only, not for lbfgs"),
        (
            ("--optimizer", "adam", "--history", "3"),
            "--history is for lbfgs only, not for adam",
        ),
        (("--blend", "1,2"), "--blend needs one number per painting: 1, got 2"),
        (("--vgg", "vgg11"), "no VGG weights vgg11: expected vgg16, vgg19 or"),
        (("--vgg", "vgg19"), "download them with: jaxstyle weights vgg19"),
        (("--preset", "gatys2016"), "download them with: jaxstyle weights vgg19"),
        (("--init", "x"), "no such image file: x"),
        (
            ("--content-weight", "relu9_9=1,conv1_1=1", "--style-weight", "relu5_2=1"),
            "no layer relu9_9, conv1_1, relu5_2 in this network; it has relu1_1, ",
        ),
        (
            ("--size", "4", "--content-weight", "relu4_3=1"),
            "content.png at 4x3 pixels is too small for relu4_3, which needs 8x8; "
            "use a larger --size",
        ),
        (
            ("--style-size", "1"),
            "style.png at 1x1 pixels is too small for relu2_1, which needs 2x2; "
            "use a larger --style-size",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(
    folder: Path, capsys: Captured, options: tuple[str, ...], named: str
) -> None:
    assert named in refused_pictures(capsys, *options)


def test_weights_are_parsed() -> None:
    assert parse_weights("1e3") == 1000
    assert parse_weights("relu1_2=1, relu2_2=0") == {"relu1_2": 1, "relu2_2": 0}
    assert parse_shares("1,0,2.5") == [1, 0, 2.5]
    assert parse_blend("1,2") == [1, 2]
    assert parse_blend("relu1_1=1:0, relu2_1=2:1") == {
        "relu1_1": [1, 0],
        "relu2_1": [2, 1],
    }
    sweep = make_sweep_parser(OptimizeOptions)
    assert sweep("style_weight=1,1e3") == ("style_weight", [1, 1000])
    assert sweep("seed=7,0") == ("seed", [7, 0])
    assert sweep(r"style=a.jpg,b\,c.jpg") == ("style", ["a.jpg", "b,c.jpg"])
    assert sweep(r"content=C:\d\e.jpg") == ("content", [r"C:\d\e.jpg"])


# --- bad files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ("content.png", "content.png is an input; writing the picture would lose it"),
        ("./style.png", "style.png is an input"),
        ("init.png", "init.png is an input"),
        ("out", "unknown suffix '', use one of .jpeg, .jpg, .png, .tif, .tiff, .webp"),
        ("out.bmp", "unknown suffix '.bmp'"),
        ("missing/out.png", "there is no folder missing"),
        (".", "it is a folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(
    folder: Path, capsys: Captured, output: str, named: str
) -> None:
    Image.fromarray(noise(8, 8, 3)).save("init.png")
    assert named in refused_pictures(capsys, "--init", "init.png", "-o", output)


def test_a_numbered_picture_that_is_an_input_is_refused(
    folder: Path, capsys: Captured
) -> None:
    Image.fromarray(noise(8, 8, 3)).save("out.00004.png")
    options = ("--save-every", "2", "--steps", "5", "--init", "out.00004.png")
    assert "out.00004.png is an input" in refused_pictures(
        capsys, *options, "-o", "out.png"
    )


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(lambda _: b"", "the file is empty", id="empty"),
        pytest.param(lambda _: b"some\ntext", "format is unknown", id="text"),
        pytest.param(lambda png: png[: len(png) // 2], "Truncated", id="truncated"),
        pytest.param(lambda png: png.replace(b"x", b"y"), "checksum", id="corrupt"),
        pytest.param(None, "no such image file", id="missing"),
    ],
)
@pytest.mark.parametrize("role", ["content", "style", "init"])
def test_a_bad_image_is_refused(
    folder: Path,
    capsys: Captured,
    role: str,
    damage: Callable[[bytes], bytes] | None,
    named: str,
) -> None:
    Image.fromarray(noise(8, 8, 3)).save("init.png")
    path = folder / f"{role}.png"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    line = refused_pictures(capsys, "--init", "init.png")
    assert named in line
    assert f"{role}.png" in line


def test_a_decompression_bomb_is_refused(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "1728 pixels" in refused_pictures(capsys)


def test_weights_with_several_problems_are_refused_with_all(
    folder: Path, capsys: Captured
) -> None:
    layer = {
        "kernel": np.ones((5, 5, 3, 64)),
        "bias": np.full(64, np.nan),
        "surplus": np.ones(1),
    }
    save_network(folder / "bad.safetensors", conv1_1=layer, std=np.zeros(3))
    line = refused_pictures(capsys, "--vgg", "bad.safetensors")
    assert "wrong parameters in bad.safetensors: " in line
    assert "conv1_1/mean_activation is missing" in line
    assert "conv1_1/surplus is unexpected" in line
    assert "conv1_1/kernel has the shape (5, 5, 3, 64), expected (3, 3, 3, 64)" in line
    assert "conv1_1/bias holds NaN" in line
    assert "std is not positive" in line


def test_weights_of_another_network_are_refused(folder: Path, capsys: Captured) -> None:
    path = folder / "bad.safetensors"
    save_network(path, network="vgg19", deepest="relu4_1")
    line = refused_pictures(capsys, "--vgg", "bad.safetensors")
    assert "conv3_4/kernel is missing" in line


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_truncated_weights_are_refused(
    folder: Path, capsys: Captured, size: int
) -> None:
    save_network(path := folder / "bad.safetensors")
    path.write_bytes(path.read_bytes()[:size])
    line = refused_pictures(capsys, "--vgg", "bad.safetensors")
    assert "cannot read the parameter file bad.safetensors" in line


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["optimize", "a.png", "b.png", "-o", "c.png", "--siz", "64"]) == 2
    assert "unrecognized arguments: --siz 64" in capsys.readouterr().err
