"""The logs of a run."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from full_disk import small_files

from jaxstyle.files.figures import plot_losses
from jaxstyle.files.run_log import EVENTS, METRICS, RunLog, read_metrics


def write(folder: Path, steps: range, *, start: int = 0) -> None:
    """Log steps after one from which a run starts or goes on."""
    with RunLog(folder, step=start) as log:
        for step in steps:
            log.write(step, {"loss": 1 / (step + 1), "style": 0.5})


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in read_metrics(folder / METRICS)]


def read_events(path: Path) -> Iterator[Any]:
    """Yield the records of a TensorBoard file: length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def curve(folder: Path, tag: str) -> dict[int, float]:
    """Return what TensorBoard shows: a later start of a run hides what is after it."""
    shown: dict[int, float] = {}
    for path in sorted(folder.glob(f"{EVENTS}.*")):
        for event in read_events(path):
            if event.HasField("session_log"):
                shown = {step: x for step, x in shown.items() if step < event.step}
            for value in event.summary.value:
                if value.tag == tag:
                    shown[event.step] = value.simple_value
    return shown


# --- lines --------------------------------------------------------------------------


def test_each_line_is_a_step_with_its_metrics_and_time(tmp_path: Path) -> None:
    before = time.time()
    write(tmp_path, range(1, 4))
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [list(json.loads(line)) for line in lines] == [
        ["step", "loss", "style", "time"]
    ] * 3
    found = read_metrics(tmp_path / METRICS)
    assert [(line["step"], line["loss"]) for line in found] == [
        (1, 1 / 2),
        (2, 1 / 3),
        (3, 1 / 4),
    ]
    assert all(before - 1 <= line["time"] <= time.time() + 1 for line in found)


def test_lines_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with RunLog(tmp_path, step=0) as log:
        log.write(1, {"loss": 2.0})
        assert steps(tmp_path) == [1]
        assert curve(tmp_path, "loss") == {1: 2.0}
        log.sync()


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    kept = (tmp_path / METRICS).read_bytes().splitlines(keepends=True)[:5]
    write(tmp_path, range(6, 8), start=5)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert (tmp_path / METRICS).read_bytes().startswith(b"".join(kept))


def test_a_line_that_a_crash_has_cut_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert steps(tmp_path) == [1, 2, 3]
    write(tmp_path, range(4, 6), start=3)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"", b"{", b"[]", b"3", b"{}", b"\xff", b"[" * 10**5, b'{"loss": 1}'),
        *(b'{"step": "2"}', b'{"step": 2, "loss": "x"}', b'{"step": 2, "loss": []}'),
        *(b'{"step": null}', b'{"step": true}', b'{"step": 2.5}'),
        b'{"step": 1, "loss": 1' + b"0" * 400 + b"}",
    ],
)
def test_a_damaged_line_is_left_out_and_the_run_goes_on(
    tmp_path: Path, damaged: bytes
) -> None:
    write(tmp_path, range(1, 4))
    one, _, three = (tmp_path / METRICS).read_bytes().splitlines(keepends=True)
    (tmp_path / METRICS).write_bytes(one + damaged + b"\n" + three)
    assert steps(tmp_path) == [1, 3]
    write(tmp_path, range(4, 5), start=3)
    assert steps(tmp_path) == [1, 3, 4]
    plot_losses(read_metrics(tmp_path / METRICS), tmp_path / "loss.png")


def test_a_run_from_the_start_has_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    write(tmp_path, range(2))
    assert steps(tmp_path) == [0, 1]


# --- TensorBoard --------------------------------------------------------------------


def test_tensorboard_finds_every_metric(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    assert curve(tmp_path, "loss") == pytest.approx({n: 1 / (n + 1) for n in range(4)})
    assert curve(tmp_path, "style") == dict.fromkeys(range(4), 0.5)


def test_tensorboard_hides_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, range(1, 9))
    write(tmp_path, range(4, 6), start=3)
    assert len(list(tmp_path.glob(f"{EVENTS}.*"))) == 2
    assert list(curve(tmp_path, "loss")) == [1, 2, 3, 4, 5]


# --- writing fails ------------------------------------------------------------------


def test_a_full_disk_is_an_error_at_once(tmp_path: Path) -> None:
    refusal = pytest.raises(OSError, match=r"No space left|File too large")
    with refusal, small_files(500):
        write(tmp_path, range(1, 100))
    whole = steps(tmp_path)
    assert 1 < len(whole) < 10
    assert whole == list(range(1, len(whole) + 1))


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RunLog(tmp_path / "missing", step=0)
