"""Ctrl-C ends ``jaxstyle optimize`` and keeps the picture so far."""

import os
import select
import signal
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
    with start(["optimize", *inputs, "--steps", str(STEPS)]) as process:
        assert process.stderr
        printed = read_until(process.stderr.fileno(), b"loss=")
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    result = load_settings("out.png")["result"]
    assert isinstance(result, dict)
    assert process.returncode == 130
    assert out.decode() == "out.png: {steps} steps, loss {loss:.5g}\n".format(**result)
    end = f"interrupted after step {result['steps']} of {STEPS}; --resume goes on\n"
    assert err.decode().endswith(end)
    assert b"Traceback" not in printed + err
    found = find_checkpoints(tmp_path / "out.png.unfinished" / "checkpoints")
    assert found == [result["steps"]]


def read_until(pipe: int, text: bytes) -> bytes:
    """Return what comes out of a pipe up to a text, which must come in two minutes."""
    printed = b""
    while text not in printed:
        assert select.select([pipe], [], [], 120)[0], printed
        printed += (new := os.read(pipe, 1000))
        assert new, printed
    return printed


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
