"""The code in the README runs as it stands, but for smaller numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parents[1] / "README.md"

SMALLER = {
    "longest_side=256": "longest_side=32",
    "pyramid_sizes(256,": "pyramid_sizes(32,",
    "steps=100": "steps=2",
    "init_net(jax.random.key(0))": "init_net(jax.random.key(0), width=2)",
}
"""What is replaced in it, so that it takes seconds."""


def snippets(heading: str) -> list[str]:
    """Return the Python code below a heading of the README."""
    text = README.read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (part for part in section if part.startswith(heading))
    return re.findall(r"^```python\n(.*?)^```", found, re.MULTILINE | re.DOTALL)


def test_the_snippets_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_convolutions: None
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
    for name, image in zip(("photo.jpg", "painting.jpg"), pixels, strict=True):
        Image.fromarray(image).save(name)
    code = "\n".join(snippets("From your own JAX code"))
    for large, small in SMALLER.items():
        assert large in code
        code = code.replace(large, small)
    names: dict[str, Any] = {"batches": iter([pixels[:, :, :24]])}
    exec(compile(code, README.name, "exec"), names)
    assert len(snippets("From your own JAX code")) == 6
    assert names["gallery"].shape == (2, 2, 2, 24, 32, 3)
    assert names["pictures"].shape == (3, 24, 32, 3)
    darker, brighter = map(names["darkness"], (names["photo"], names["brighter"]))
    assert brighter < darker
    assert names["gradient"].shape == (24, 32, 3)
    assert names["gram"].shape == (256, 256)
    assert 0 < names["loss"] < np.inf
    assert names["state"].step == 1
    for name in ("between.png", "picture.png"):
        with Image.open(name) as picture:
            assert picture.size == (32, 24)
