"""Random access to the records of tfrecord files, without TensorFlow."""

import os
import struct
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np


class TfrecordFiles:
    """Random access to tfrecord files; each is indexed when it is first asked for."""

    def __init__(self, instructions: Sequence[Any]) -> None:
        self._instructions = instructions
        self._ends = list(accumulate(i.take for i in instructions))
        self._offsets: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many records there are."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> bytes:
        """Return the content of a record."""
        number = bisect_right(self._ends, index)
        instruction = self._instructions[number]
        position = index - self._ends[number] + instruction.take + instruction.skip
        offset, length = self._index(number)[position]
        with open(instruction.filename, "rb", buffering=0) as file:
            return os.pread(file.fileno(), int(length), int(offset))

    def _index(self, number: int) -> np.ndarray:
        with self._lock:
            if number not in self._offsets:
                self._offsets[number] = index_tfrecord(
                    self._instructions[number].filename
                )
            return self._offsets[number]


def index_tfrecord(path: str | Path) -> np.ndarray:
    """Return where the records of a file begin and how long they are, ``[n, 2]``.

    A record is its length (8 bytes), a checksum (4), the content, a checksum (4).

    Raises:
        ValueError: the file breaks off within a record.
    """
    found: list[tuple[int, int]] = []
    offset, size = 0, os.path.getsize(path)
    with open(path, "rb", buffering=0) as file:
        while offset < size:
            header = os.pread(file.fileno(), 8, offset)
            length = struct.unpack("<Q", header)[0] if len(header) == 8 else size
            if offset + 16 + length > size:
                raise ValueError(f"{path} breaks off within its record {len(found)}")
            found.append((offset + 12, length))
            offset += 16 + length
    return np.array(found, np.int64).reshape(-1, 2)
