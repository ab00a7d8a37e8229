"""The logs of a training: ``metrics.jsonl`` and TensorBoard events.

Each line of ``metrics.jsonl`` is one JSON object: ``step``, metrics by name, and
``time`` in seconds since 1970. Lines are written without a buffer, and a run that
resumes from a checkpoint first drops later lines, so that the file, except its times,
is that of an uninterrupted run.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.json_files import parse_object
from jaxstyle.files.regular_files import read_regular

METRICS = "metrics.jsonl"

EVENTS = "events"
"""The prefix of the names of TensorBoard's files."""


class RunLog:
    """Both logs of a run, opened after ``step`` steps.

    Unlike tensorboardX's `SummaryWriter`, it writes in the calling thread, so that a
    full disk raises an error.
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
        """Append the metrics of a step; an OSError if the files cannot be written."""
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the files; an error in the block is not hidden by one in closing."""
        self._lines.close()
        try:
            self._events.close()
        except OSError:
            if kind is None:
                raise


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a ``metrics.jsonl``, except those that are damaged or cut."""
    return [values for _, values in _whole_lines(path)]


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each line of a step and numbers, and its values."""
    content = read_regular(path) if path.exists() else b""
    for line in content.split(b"\n")[:-1]:  # what follows the last end, a crash cut
        try:
            values = parse_object(line)
        except ValueError:
            continue
        if all(map(_is_number, values.values())) and type(values.get("step")) is int:
            yield line + b"\n", values


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and value.bit_length() < 64)


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines after a step; at the start of a run, all of them."""
    kept = [line for line, values in _whole_lines(path) if 0 < step >= values["step"]]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(kept))
