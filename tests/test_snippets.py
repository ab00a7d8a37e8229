"""The code in the README and on the pages runs as it stands, with smaller numbers."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxstyle.cli.main import parse
from jaxstyle.optimize.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FROM_JAX = ROOT / "docs" / "from-jax.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

SMALLER = {
    "longest_side=256": "longest_side=32",
    "longest_side=512": "longest_side=64",
    "size=256)": "size=32, coarsest=32, steps=2)",
    "steps=100": "steps=2",
    "init_net(jax.random.key(0))": "init_net(jax.random.key(0), width=2, blocks=1)",
}
"""What is replaced, so that it takes seconds."""

DEFAULT = PRESETS["default"]
SHALLOW = replace(
    DEFAULT,
    loss=replace(
        DEFAULT.loss, content={"relu3_1": 1.0}, style={"relu1_1": 1.0, "relu3_1": 1.0}
    ),
)
"""The default preset for the first layers, for the same reason."""


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Go to a folder with a photo and a painting; see the network less deep."""
    monkeypatch.chdir(tmp_path)
    presets = {**PRESETS, "default": SHALLOW}
    monkeypatch.setattr("jaxstyle.optimize.PRESETS", presets)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
    for name, image in zip(("photo.jpg", "painting.jpg"), pixels, strict=True):
        Image.fromarray(image).save(name)
    return pixels


def run(page: Path, photos: np.ndarray) -> dict[str, Any]:
    """Run the Python code of a page and return the names that it defines."""
    code = "\n".join(blocks(page, "python"))
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    assert "256" not in code
    names: dict[str, Any] = {"batches": iter([photos[:, :, :24]])}
    exec(compile(code, page.name, "exec"), names)
    return names


def test_the_readme_runs(photos: np.ndarray, plain_convolutions: None) -> None:
    names = run(README, photos)
    assert len(blocks(README, "python")) == 5
    darker, brighter = map(names["darkness"], (names["photo"], names["brighter"]))
    assert brighter < darker
    assert names["gradient"].shape == (24, 32, 3)
    assert 0 < names["loss"] < np.inf
    assert names["state"].step == 1
    with Image.open("picture.png") as picture:
        assert picture.size == (32, 24)


def test_the_page_for_jax_runs(photos: np.ndarray, plain_convolutions: None) -> None:
    names = run(FROM_JAX, photos)
    assert names["gallery"].shape == (2, 2, 2, 24, 32, 3)
    assert names["pictures"].shape == (3, 24, 32, 3)
    assert names["gram"].shape == (256, 256)
    for name in ("between.png", "picture.png"):
        with Image.open(name) as picture:
            assert picture.size == (32, 24)


def command_lines() -> Iterator[str]:
    """Yield every call of ``jaxstyle`` in the README and on the pages."""
    for page in PAGES:
        for block in [*blocks(page, "bash"), *blocks(page, "sh")]:
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"[|>]", line):
                    if part.split()[:1] == ["jaxstyle"]:
                        yield part.strip()


def test_there_are_commands() -> None:
    assert len({*command_lines()}) > 40


@pytest.mark.parametrize("line", sorted({*command_lines()}))
def test_every_command_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)[1:]
    if words[:2] == ["train", "--resume"]:  # whose options are in its folder
        arguments = {"styles": ["wave.jpg"], "output": words[2]}
        Path(words[2]).mkdir(parents=True)
        record = json.dumps({"arguments": arguments, "directory": str(tmp_path)})
        Path(words[2], "settings.json").write_text(record)
    parse(words)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200
