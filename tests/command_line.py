"""Run the command line on tiny pictures and a shallow network, which compile fast."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_samples import noise, smooth
from PIL import Image

from jaxstyle.cli.main import main
from jaxstyle.files.image_files import load_image, load_settings
from jaxstyle.files.vgg_files import OXFORD, load_vgg, save_vgg
from jaxstyle.scaling import memory
from jaxstyle.vgg import params as vgg_params

SHALLOW = (
    *("--size", "32"),
    *("--content-weight", "relu2_1=1"),
    *("--style-weight", "relu1_1=1e3,relu2_1=1e3"),
    *("--style-loss", "gram", "--tv-weight", "0"),
)

CONTENT_SHAPE = (24, 32, 3)
"""What ``--size 32`` makes of the content."""

TWO_SCALES = ("--size", "45", "--coarsest", "32", "--preset", "crowson")
"""What makes the picture coarse at 32 pixels, then fine at 45."""


def save_pictures(folder: Path) -> None:
    """Write a smooth content, 48x36 pixels, and two noisy styles."""
    content = np.rint(smooth(36, 48) * 255).astype(np.uint8)
    Image.fromarray(content).save(folder / "content.png")
    Image.fromarray(noise(40, 30, 3)).save(folder / "style.png")
    Image.fromarray(noise(20, 40, 3) // 3).save(folder / "style2.png")


def save_network(
    path: Path, *, network: str = "vgg16", deepest: str = "relu2_1", **changes: Any
) -> None:
    """Write the shipped VGG-16 down to a layer, with changed convolutions."""
    params = vgg_params.truncate(load_vgg(), [deepest])
    save_vgg(
        {**params, **changes},
        path,
        network=network,
        origin=OXFORD,
        source="a test",
        photos=1,
    )


def run(arguments: Sequence[str | Path]) -> int:
    """Run ``jaxstyle`` in this process and return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # from argparse
        return int(str(stop.code))


def start(arguments: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """Run ``python -m jaxstyle`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxstyle", *map(str, arguments)],
        env=os.environ | {"COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def optimize(
    *options: str,
    content: str = "content.png",
    styles: Sequence[str] = ("style.png",),
) -> int:
    """Make ``out.png`` without a word; return the exit code."""
    inputs = (content, *styles, "-o", "out.png", *SHALLOW, "--quiet")
    return run(["optimize", *inputs, *options])


def make(
    *options: str,
    content: str = "content.png",
    styles: Sequence[str] = ("style.png",),
) -> np.ndarray:
    """Return the picture that is made in three steps, or in as many as are given."""
    assert optimize("--steps", "3", *options, content=content, styles=styles) == 0
    return load_image("out.png")


def offer(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """Let so many bytes be free; one number after the other, the last for ever."""
    left = [*free]
    monkeypatch.setattr(
        memory, "free_memory", lambda: left.pop(0) if len(left) > 1 else left[0]
    )


def settings(path: str = "out.png") -> dict[str, Any]:
    """Return what is recorded in a picture."""
    return dict(load_settings(path))


def loss(path: str = "out.png") -> float:
    """Return the loss that is recorded in a picture."""
    return float(settings(path)["result"]["loss"])


def refused_picture(
    capsys: pytest.CaptureFixture[str],
    *options: str,
    styles: Sequence[str] = ("style.png",),
) -> str:
    """Return the line with which a picture is refused; no file may come or go."""
    before = contents(Path.cwd())
    assert optimize(*options, styles=styles) == 2
    assert contents(Path.cwd()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle optimize: error: ")
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files in a folder, by their names in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
