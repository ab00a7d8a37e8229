"""``jaxstyle import``: a checkpoint in, a style file out."""

import hashlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch_writer as tw
from command_line import run

from jaxstyle import load_style
from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.files.param_files import leaves
from jaxstyle.files.style_files import load_style_file

GOLDEN = Path(__file__).parent / "golden" / "nets.npz"

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a net of pytorch/examples' layout and go to its folder."""
    monkeypatch.chdir(tmp_path)
    prefix = "examples/state/"
    with np.load(GOLDEN) as file:
        state = {
            name.removeprefix(prefix): file[name]
            for name in file.files
            if name.startswith(prefix)
        }
    tw.save_arrays(tmp_path / "net.pth", state)
    return tmp_path / "net.pth"


def refusal(capsys: Captured, *arguments: str) -> str:
    """Return the one line of a run that must change no file."""
    before = {path: path.read_bytes() for path in Path.cwd().iterdir()}
    assert run(["import", *arguments]) == 2
    assert {path: path.read_bytes() for path in Path.cwd().iterdir()} == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_a_checkpoint_becomes_a_style(checkpoint: Path, capsys: Captured) -> None:
    assert run(["import", "net.pth", "-o", "style.safetensors"]) == 0
    line = "style.safetensors: pytorch/examples' TransformerNet, width 4\n"
    assert capsys.readouterr() == (line, "")
    expected = dict(leaves(from_torch(checkpoint)[1]))
    found = dict(leaves(load_style("style.safetensors")))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("output", ["keep.png", "keep.pth", "keep"])
def test_no_other_file_is_replaced(
    checkpoint: Path, capsys: Captured, output: str
) -> None:
    Path(output).write_bytes(b"mine")
    assert "use one of .safetensors" in refusal(capsys, "net.pth", "-o", output)


def test_a_name_that_is_not_utf_8_is_recorded_as_it_can_be(
    checkpoint: Path, capsys: Captured
) -> None:
    checkpoint.rename(name := os.fsdecode(b"net-\xff.pth"))
    assert run(["import", name, "-o", "style.safetensors"]) == 0
    metadata = load_style_file("style.safetensors")[1]
    assert metadata["source"] == "net-\\udcff.pth"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_an_output_that_cannot_hold_a_name_shows_it_escaped(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert run(["import", "net.pth", "-o", "\u6d6a.safetensors"]) == 0
    sys.stdout.flush()
    line = written.getvalue().decode(encoding)
    assert line.startswith({"ascii": "\\u6d6a.saf", "utf-8": "\u6d6a.saf"}[encoding])


def test_the_metadata_say_where_a_style_is_from(checkpoint: Path) -> None:
    run(["import", str(checkpoint), "-o", "style.safetensors"])
    metadata = load_style_file("style.safetensors")[1]
    assert metadata["source"] == "net.pth"
    assert metadata["source_layout"] == "pytorch/examples' TransformerNet"
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert metadata["source_sha256"] == digest


@pytest.mark.parametrize("output", ["net.pth", "./net.pth", "link.pth"])
def test_the_input_is_not_written_over(
    checkpoint: Path, capsys: Captured, output: str
) -> None:
    Path("link.pth").symlink_to("net.pth")
    line = refusal(capsys, "net.pth", "-o", output)
    assert "net.pth is an input; writing the style would lose it" in line


def test_bad_inputs_are_one_line(checkpoint: Path, capsys: Captured) -> None:
    Path("text.pth").write_text("not a\ncheckpoint")
    Path("cut.pth").write_bytes(checkpoint.read_bytes()[:5000])
    tw.save_arrays(Path("other.pth"), {"fc.weight": np.ones((2, 2), np.float32)})
    for name, reason in {
        "missing.pth": "no such PyTorch checkpoint: missing.pth",
        "text.pth": "cannot read the PyTorch checkpoint text.pth",
        "cut.pth": "cannot read the PyTorch checkpoint cut.pth",
        "other.pth": "other.pth is of no known layout: it holds fc.weight, ",
    }.items():
        assert reason in refusal(capsys, name, "-o", "style.safetensors")


def test_an_output_that_cannot_be_written_is_one_line(
    checkpoint: Path, capsys: Captured
) -> None:
    line = refusal(capsys, "net.pth", "-o", "missing/style.safetensors")
    assert "cannot write the parameter file missing/style.safetensors" in line


def test_both_arguments_are_needed(checkpoint: Path, capsys: Captured) -> None:
    assert "-o/--output" in refusal(capsys, "net.pth")
    assert "NET.pth" in refusal(capsys, "-o", "style.safetensors")
