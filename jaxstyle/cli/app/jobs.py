"""Pictures that the app makes: commands of this package in a process of their own.

So they are those of the command line, with their settings in them; a job that is
stopped stops as by Ctrl-C, and its memory is free again.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxstyle.optimize.presets import PRESETS

POLL = 0.25
"""How many seconds pass between two looks at a job."""

UPDATES = 25
"""About how many pictures of an optimization are shown on the way."""

DEFAULT = PRESETS["default"]
"""What an optimization is by default."""

PASS, OPTIMIZE = "In one pass: seconds", "Optimized: a minute or two, and better"
"""The ways to paint."""


class Request(NamedTuple):
    """What to paint: the photo's file, a style's name or file, and how.

    The stroke size is relative to the usual one; ``size`` and ``steps`` are those of an
    optimization.
    """

    photo: str
    style: str
    way: str
    strength: float
    stroke_size: float
    size: int = DEFAULT.size
    steps: int = DEFAULT.steps

    def command(self, output: Path) -> list[str]:
        """Write the command line that makes the picture."""
        if self.way == PASS:
            options = ["--stroke-size", str(self.stroke_size)]
            begin = ["stylize", self.photo, "--style", self.style, *options]
        else:
            every = max(1, self.steps // UPDATES)
            begin = ["optimize", self.photo, self.style]
            begin += ["--style-scale", str(self.stroke_size), "--size", str(self.size)]
            begin += ["--steps", str(self.steps), "--save-every", str(every)]
        return [*begin, "--strength", str(self.strength), "-o", str(output)]


class Update(NamedTuple):
    """What there is to show: a picture, if there is one, and a line about it."""

    picture: Path | None
    line: str


@dataclass
class Jobs:
    """The jobs that run, by the session of the browser that asked for them."""

    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """End all when the app ends."""
        atexit.register(self.stop_all)

    def stop(self, session: str) -> None:
        """Stop the job of a session, if one runs: what is painted so far stays."""
        if process := self.running.get(session):
            process.send_signal(signal.SIGINT)

    def stop_all(self) -> None:
        """Stop the jobs of all sessions."""
        for process in list(self.running.values()):
            process.terminate()

    def run(self, request: Request, session: str) -> Iterator[Update]:
        """Make a picture; yield it as it comes about. A ValueError says what failed.

        The files are there until the next update is asked for.
        """
        with tempfile.TemporaryDirectory(prefix="jaxstyle-app-") as folder:
            output, log = Path(folder, "picture.png"), Path(folder, "log")
            command = [sys.executable, "-m", "jaxstyle", *request.command(output)]
            with log.open("wb") as file:
                process = subprocess.Popen(
                    command,
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},  # lines in their order
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
            self.running[session] = process
            try:
                yield from _follow(process, request, output, log)
            finally:
                del self.running[session]
                if process.poll() is None:  # the page is gone
                    process.terminate()
                process.wait()


def _follow(
    process: subprocess.Popen[bytes], request: Request, output: Path, log: Path
) -> Iterator[Update]:
    """Yield updates of a process until it ends."""
    started, shown = time.monotonic(), Update(None, "")
    while process.poll() is None:
        seconds, made = time.monotonic() - started, _newest(output)
        line = _last_line(log) if made is None else _describe(made, request.steps)
        update = Update(made, f"{line or 'starting'} ({seconds:.0f} s)")
        if update != shown:
            yield (shown := update)
        time.sleep(POLL)
    line = _last_line(log)
    if not output.exists():
        stopped = process.returncode in (128 + signal.SIGINT, -signal.SIGINT)
        if not stopped:
            raise ValueError(line.partition("error: ")[2] or line)
        yield Update(_newest(output), "stopped")
        return
    seconds = time.monotonic() - started
    told = line.partition(";")[0]  # to resume is for the command line
    yield Update(output, told if process.returncode else f"done in {seconds:.0f} s")


def _newest(output: Path) -> Path | None:
    """Find the last picture on the way."""
    found: Sequence[Path] = sorted(output.parent.glob(f"{output.stem}.*.png"))
    return found[-1] if found else None


def _describe(picture: Path, steps: int) -> str:
    """Say how far an optimization is, by the name of its last picture."""
    return f"step {int(picture.suffixes[0][1:])} of {steps}"


def _last_line(log: Path) -> str:
    """Read the last line that a command has printed, without names of our files."""
    lines = log.read_text(errors="replace").replace(f"{log.parent}{os.sep}", "")
    return next((x.strip() for x in reversed(lines.split("\n")) if x.strip()), "")
