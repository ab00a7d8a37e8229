"""What helps at the command line: completion, ``--verbose``, and word of waiting."""

import shutil
import sys
from pathlib import Path
from threading import Event

import pytest
from command_line import run
from image_samples import noise
from PIL import Image
from shells import offer

from jaxstyle.cli import runtime
from jaxstyle.cli.completion import SHELLS
from jaxstyle.cli.main import main
from jaxstyle.cli.runtime import if_slow
from jaxstyle.training.recipes import TRAINING_PRESETS

Captured = pytest.CaptureFixture[str]

GREAT = ("great-wave", "great-wave-16", "great-wave-8")


def print_script(shell: str, capsys: Captured) -> str:
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_completes(
    shell: str, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script"
    script.write_text(print_script(shell, capsys))
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (folder := tmp_path / "photos").mkdir()
    monkeypatch.chdir(folder)
    Path("great-photo.jpg").touch()

    asked: dict[str, set[str]] = {
        "jaxstyle sty": {"styles", "stylize"},
        "jaxstyle stylize great-": {"great-photo.jpg"},
        "jaxstyle stylize --style great-": {"great-photo.jpg", *GREAT},
        "jaxstyle styles hokusai-p": {"hokusai-poppies"},
        "jaxstyle stylize --style udnie --stro": {"--stroke-size"},
        "jaxstyle optimize --keep ": {"average", "best"},
        "jaxstyle train --preset ": {*TRAINING_PRESETS},
        "jaxstyle --print-completion ": {*SHELLS},
    }
    found = offer(shell, script, list(asked))
    assert dict(zip(asked, found, strict=True)) == asked


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
