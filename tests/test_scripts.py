"""Every script tells how it is called, but for those that compute by PyTorch alone."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def has_options(source: str) -> bool:
    lines = source.splitlines()
    return {"import argparse", 'if __name__ == "__main__":'} <= {*lines}


SOURCES = {path: path.read_text() for path in sorted(SCRIPTS.glob("*.py"))}
WITH_OPTIONS = [
    path
    for path, source in SOURCES.items()
    if has_options(source) and "\nimport torch\n" not in source
]


@pytest.mark.parametrize("script", WITH_OPTIONS, ids=lambda path: path.stem)
def test_scripts_tell_how_they_are_called(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script.stem}")
