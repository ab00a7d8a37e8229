"""Ctrl-C ends ``jaxstyle optimize`` and keeps the picture so far."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import SHALLOW, save_pictures, start

from jaxstyle.cli.runtime import catch_interrupts
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.image_files import load_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM)

STEPS = 100_000
"""More than can be made before the signal comes."""


@pytest.mark.parametrize("sent", SIGNALS)
def test_an_interrupt_keeps_the_current_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path)
    inputs = ("content.png", "style.png", "-o", "out.png", *SHALLOW)
    steps = ("--steps", str(STEPS), "--save-every", "5")
    with start(["optimize", *inputs, *steps]) as process:
        wait_for(Path("out.00005.png"))
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    result = load_settings("out.png")["result"]
    assert isinstance(result, dict)
    assert process.returncode == 130
    assert out.decode() == "out.png: {steps} steps, loss {loss:.5g}\n".format(**result)
    end = f"interrupted after step {result['steps']} of {STEPS}; --resume goes on\n"
    assert err.decode().endswith(end)
    assert b"Traceback" not in err
    found = find_checkpoints(tmp_path / "out.png.unfinished" / "checkpoints")
    assert found == [result["steps"]]


def wait_for(path: Path) -> None:
    """Wait for a file, which must come in two minutes."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def python_interrupts() -> Iterator[None]:
    """Let SIGINT raise, also where a shell has started this process to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_interrupts")
def test_the_first_interrupt_is_noted_and_the_second_raises() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with catch_interrupts() as interrupts:
        received = [interrupts.received]
        signal.raise_signal(signal.SIGTERM)
        received.append(interrupts.received)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert received == [False, True]
    assert [signal.getsignal(number) for number in SIGNALS] == before
