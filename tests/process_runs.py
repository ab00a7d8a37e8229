"""Trainings by several processes, each with its own devices."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from forked import Forked
from training_runs import TINY, Finished, make_nets_small

DEADLINE = 240
"""After how many seconds a process that has not ended is killed."""


def virtual_devices(count: int) -> dict[str, str]:
    """Return the environment of a process with as many CPU devices."""
    flags = os.environ["XLA_FLAGS"]
    return os.environ | {
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}"
    }


def train_apart(*options: str, devices: int = 1) -> Finished:
    """Run ``jaxstyle train`` in a process of its own."""
    return finish([_start([*options], devices)])[0]


def train_together(
    *options: str, processes: int, devices: int = 1, own: Sequence[Sequence[str]] = ()
) -> list[Finished]:
    """Run one training in several processes.

    Args:
        options: of all of them.
        processes: how many.
        devices: of each.
        own: further options of each.
    """
    with started(*options, processes=processes, devices=devices, own=own) as running:
        return finish(running)


@contextmanager
def started(
    *options: str, processes: int, devices: int = 1, own: Sequence[Sequence[str]] = ()
) -> Iterator[list[Forked]]:
    """Start the processes of one training; kill those that still run at the end."""
    where = f"127.0.0.1:{_free_port()}"
    each = own or [()] * processes
    running = [
        _start(
            [
                *("--coordinator", where, "--num-processes", str(processes)),
                *("--process-id", str(index), *options, *each[index]),
            ],
            devices,
        )
        for index in range(processes)
    ]
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()


def finish(running: Sequence[Forked]) -> list[Finished]:
    """Return how processes end, without what Gloo says of its connections."""
    deadline = time.monotonic() + DEADLINE
    finished = []
    for process in running:
        try:
            out, err = process.communicate(timeout=max(1, deadline - time.monotonic()))
        except TimeoutError as expired:
            process.kill()
            raise AssertionError("".join(process.communicate())) from expired
        assert process.returncode is not None
        finished.append(Finished(process.returncode, _without_gloo(out), err))
    return finished


def wait_for(path: Path, running: Sequence[Forked]) -> None:
    """Wait until a file is there, which processes must make before they end."""
    deadline = time.monotonic() + DEADLINE
    while not path.exists() and time.monotonic() < deadline:
        assert all(process.poll() is None for process in running), finish(running)
        time.sleep(0.01)
    assert path.exists()


def _start(options: Sequence[str], devices: int) -> Forked:
    command = ["train", *TINY, *options]
    environment = virtual_devices(devices)
    return Forked(command, change=make_nets_small, environment=environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _without_gloo(text: str) -> str:
    kept = (line for line in text.splitlines(True) if not line.startswith("[Gloo]"))
    return "".join(kept)
