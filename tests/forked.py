"""Processes that start at once: forked from one that has imported everything."""

import atexit
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Change = Callable[[], None]
"""Changes modules before a command runs; a function at the top of its module."""

PRELOADED = [
    *("jax", "flax.linen", "optax", "grain", "orbax.checkpoint", "tensorboardX"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
    *("jaxstyle.cli.train.train_command", "jaxstyle.cli.optimize.optimize_command"),
]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)


class Forked:
    """A command of ``jaxstyle`` in a process of its own, in the current folder.

    It has the methods of `subprocess.Popen`. JAX starts in the process itself, so that
    it may have other devices than its parent.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        change: Change,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the command."""
        self._folder = Path(tempfile.mkdtemp())
        self._streams = [self._folder / name for name in ("out", "err")]
        for stream in self._streams:
            stream.touch()
        given = (arguments, change, dict(environment or os.environ), self._streams)
        self._process = CONTEXT.Process(target=_run, args=given)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Look up the exit code, `None` while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and read what it has printed."""
        self._process.join(timeout)
        if self._folder.exists():
            out, err = (stream.read_text() for stream in self._streams)
            self._printed = out, err
        if self._process.exitcode is None:
            raise TimeoutError(f"still running after {timeout} s: {self._printed}")
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._printed


def _run(
    arguments: Sequence[str],
    change: Change,
    environment: Mapping[str, str],
    streams: Sequence[Path],
) -> None:
    """Run a command in this process, and end it as Python ends."""
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_APPEND), number)
    change()
    from jaxstyle.cli.main import main

    try:
        code = main([*arguments])
    finally:
        atexit._run_exitfuncs()
    sys.exit(code)
