"""Every script tells how it is called, except those that compute by PyTorch alone."""

import runpy
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
def test_scripts_tell_how_they_are_called(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr()
    assert (stop.value.code, printed.err) == (0, "")
    assert printed.out.startswith(f"usage: {script.stem}")
