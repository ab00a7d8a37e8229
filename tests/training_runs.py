"""Trainings of tiny nets on tiny photos, which compile and run fast."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_line import run
from image_samples import noise, smooth
from PIL import Image

from jaxstyle.cli.train import training_inputs
from jaxstyle.kernels import convolutions
from jaxstyle.nets.transform_net import init_net

TINY = (
    *("--preset", "alone", "--scales", "1"),
    *("--style", "style.png", "--style-size", "24", "--data", "photos"),
    *("--size", "16", "--batch", "2", "--width", "2", "--validation", "3"),
    *("--content-weight", "relu1_2=1", "--style-weight", "relu1_1=10"),
    *("--halve-every", "20"),
)
"""What ``jaxstyle train`` needs beside ``-o``, where `save_data` has been."""


def make_nets_small(patch: pytest.MonkeyPatch | None = None) -> None:
    """Make nets compile fast: a single residual block, XLA's own convolutions."""
    patch = patch or pytest.MonkeyPatch()
    defaults = {**(init_net.__kwdefaults__ or {}), "blocks": 1}
    patch.setattr(init_net, "__kwdefaults__", defaults)
    patch.setattr(convolutions, "by_blocks", convolutions.directly)


class Finished(NamedTuple):
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str


def save_data(folder: Path) -> None:
    """Write a painting, another, and twelve photos, one of them gray, one damaged."""
    Image.fromarray(noise(30, 24, 3)).save(folder / "style.png")
    Image.fromarray(noise(24, 24, 3) // 3).save(folder / "style2.png")
    photos = folder / "photos"
    photos.mkdir()
    for index in range(12):
        photo = np.roll(smooth(20 + index, 28), index * 3, axis=1)
        Image.fromarray(np.rint(photo * 255).astype(np.uint8)).save(
            photos / f"{index:02d}.png"
        )
    Image.fromarray(noise(20, 20)).save(photos / "03.png")
    (photos / "07.png").write_bytes(b"no image")


class Terminal(io.StringIO):
    """What looks like a terminal, where progress bars are shown."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def train(*options: str, terminal: bool = True) -> Finished:
    """Run ``jaxstyle train`` in this process, in the folder of the data."""
    return run_train(*TINY, *options, terminal=terminal)


def run_train(*options: str, terminal: bool = True) -> Finished:
    """Run it with these options alone; its sheets show pictures of 16 pixels."""
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(training_inputs, "SHOWN_SIDE", 16)
        code = run(["train", *options])
    return Finished(code, out.getvalue(), err.getvalue())


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl``."""
    text = (folder / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def timeless(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines without their times."""
    return [{key: record[key] for key in record if key != "time"} for record in records]


def checkpoints(folder: Path) -> list[int]:
    """Return the steps of the checkpoints of a run."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
