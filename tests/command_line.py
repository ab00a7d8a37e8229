"""Run the command line on tiny pictures and a shallow network, which compile fast."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from image_samples import noise, smooth
from PIL import Image

from jaxstyle import vgg
from jaxstyle.cli import main
from jaxstyle.pretrained import load_vgg
from jaxstyle.vgg_files import OXFORD, save_vgg

SHALLOW = (
    *("--size", "32"),
    *("--content-weight", "relu2_1=1"),
    *("--style-weight", "relu1_1=1e3,relu2_1=1e3"),
)

CONTENT_SHAPE = (24, 32, 3)
"""What ``--size 32`` makes of the content."""


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
    params = vgg.truncate(load_vgg(), [deepest])
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


def start(arguments: Sequence[str | Path], *, cache: Path) -> subprocess.Popen[bytes]:
    """Run ``python -m jaxstyle`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jaxstyle", *map(str, arguments)],
        env=os.environ | {"JAXSTYLE_CACHE": str(cache), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
