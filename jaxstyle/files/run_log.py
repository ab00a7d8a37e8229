"""What a training leaves behind as it goes: ``metrics.jsonl`` and TensorBoard events.

Each line of ``metrics.jsonl`` is one JSON object: ``step``, metrics by name, and
``time`` in seconds since 1970. Every line is on its way to the disk when it is written,
and a run that goes on from a checkpoint first drops what came after it, so that the
file is that of a run which was never interrupted, but for the times.
"""

import errno
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jaxstyle.files.atomic import atomic_path

METRICS = "metrics.jsonl"

EVENTS = "events"
"""What the names of TensorBoard's files start with."""


class RunLog:
    """Both logs of a run, opened after some step.

    TensorBoard's file is written here and now, not by a thread as tensorboardX's
    `SummaryWriter` does: when the disk is full the caller hears of it.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        _keep_until(folder / METRICS, step)
        self._lines = (folder / METRICS).open("ab", buffering=0)
        try:
            # A file's name has its time in seconds only.
            suffix = f".{step:05d}.{os.getpid()}"
            self._events = EventsWriter(str(folder / EVENTS), suffix)
            # TensorBoard then forgets what other files of the run hold from there on.
            start = SessionLog(status=SessionLog.START)
            self._write_event(Event(step=step + 1, session_log=start))
        except OSError:
            self._lines.close()
            raise

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the metrics of a step.

        Raises:
            OSError: the disk is full, or the files cannot be written.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        now = time.time()
        line = json.dumps({"step": step, **metrics, "time": round(now, 3)}) + "\n"
        if self._lines.write(line.encode()) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._lines.name)
        values = [Summary.Value(tag=k, simple_value=v) for k, v in metrics.items()]
        summary = Summary(value=values)
        self._write_event(Event(step=step, wall_time=now, summary=summary))

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        os.fsync(self._lines.fileno())

    def _write_event(self, event: Any) -> None:
        self._events.write_event(event)
        self._events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files; an error in the block is not hidden by one in closing."""
        self._lines.close()
        try:
            self._events.close()
        except OSError:
            if kind is None:
                raise


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``, up to the first that is not whole."""
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> Iterable[bytes]:
    content = path.read_bytes() if path.exists() else b""
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):  # a crash cut it
            return
        yield line


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines after a step; at the start of a run, all of them."""
    kept = [
        line
        for line in _whole_lines(path)
        if step > 0 and int(json.loads(line)["step"]) <= step
    ]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(kept))
