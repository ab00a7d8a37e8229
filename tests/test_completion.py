"""What helps at the command line: completion, ``--verbose``, and word of waiting."""

import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from command_line import run
from image_samples import noise
from PIL import Image

from jaxstyle.cli import runtime
from jaxstyle.cli.completion import SHELLS
from jaxstyle.cli.main import main
from jaxstyle.cli.runtime import if_slow

Captured = pytest.CaptureFixture[str]


def print_script(shell: str, capsys: Captured) -> str:
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: Captured) -> None:
    script = print_script(shell, capsys)
    for known in ("stylize", "stroke-size", "covariance"):
        assert known in script
    assert ("hokusai-poppies" in script) == (shell != "fish")


def complete(script: str, *words: str) -> list[str]:
    """Return what Bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_jaxstyle"
    code = f"{script}\n{asked}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("great-photo.jpg").touch()
    script = print_script("bash", capsys)
    assert complete(script, "jaxstyle", "sty") == ["stylize", "styles"]
    assert complete(script, "jaxstyle", "stylize", "gr") == ["great-photo.jpg"]
    style = ("jaxstyle", "stylize", "--style")
    assert {"great-photo.jpg", "great-wave"} <= {*complete(script, *style, "great-")}
    assert complete(script, *style, "udnie", "--stro") == ["--stroke-size"]
    keep = complete(script, "jaxstyle", "optimize", "--keep", "")
    assert keep == ["best", "average"]


def test_an_unknown_shell_is_refused(capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["--print-completion", "command.com"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("expected bash, zsh, fish, got 'command.com'")


def test_verbose_tells_what_led_to_an_error(capsys: Captured) -> None:
    assert run(["styles", "none", "--verbose"]) == 2
    *before, line = capsys.readouterr().err.splitlines()
    assert before[0].startswith("Traceback")
    assert line.startswith("jaxstyle styles: error: no style none")


def test_what_is_done_at_once_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(runtime, "PATIENCE", 60.0)
    with if_slow(said.append, "compiling"):
        pass
    assert said == []


def test_what_takes_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Event()
    monkeypatch.setattr(runtime, "PATIENCE", 0.0)
    with if_slow(lambda _: told.set(), "compiling"):
        assert told.wait(60)


@pytest.mark.parametrize(
    ("library", "command", "extra"),
    [
        ("matplotlib", "optimize photo.png photo.png -o a.png --plot b.png", "plots"),
        ("av", "optimize photo.png photo.png -o a.png --film b.mp4", "video"),
        (
            "tensorflow_datasets",
            "train --style photo.png --data coco/2014 --output run --steps 1",
            "train",
        ),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    library: str,
    command: str,
    extra: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(noise(64, 64, 3)).save("photo.png")
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert run(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    missing = f"{library} is not installed: pip install 'jaxstyle[{extra}]'"
    assert line.endswith(f"error: {missing}")
    assert not list(tmp_path.glob("[ab].*"))
