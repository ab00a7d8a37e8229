"""The encoded images of TFDS data sets on disk, read at random without TensorFlow.

It reads array_record with its own library, and tfrecord, which TFDS reads only with
TensorFlow, by an index of its headers.
"""

import contextlib
import io
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxstyle.data.checksums import masked_crc32c
from jaxstyle.files.atomic import describe_error, explained


def _image_feature(features: Any, name: str) -> Any:
    import tensorflow_datasets as tfds

    known = features if isinstance(features, tfds.features.FeaturesDict) else {}
    if "image" not in known or not isinstance(known["image"], tfds.features.Image):
        raise ValueError(
            f"{name} has no feature `image` that holds an image; it has "
            f"{', '.join(known) or 'no named features'}"
        )
    return known["image"]


def prepare_tfds(
    name: str, data_dir: Path, *, say: Callable[[str], None], quiet: bool = False
) -> Path:
    """Let TFDS prepare a data set as array_record files; return its folder.

    ``say`` receives a line for the user beforehand; ``quiet`` hides the progress bars.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    if quiet:
        tfds.disable_progress_bar()
    try:
        # TFDS prints how to install TensorFlow when it is missing.
        with contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(
                name, data_dir=data_dir.expanduser(), file_format="array_record"
            )
            size = sum(info.size for info in (builder.url_infos or {}).values())
            say(
                f"{name}: TFDS lists {readable(size)} of downloads for all of its "
                f"configurations; the records go to {builder.data_dir}"
            )
            builder.download_and_prepare()
    except registered.DatasetNotFoundError as error:
        raise ValueError(f"TFDS knows no data set {name}") from error
    except Exception as error:  # of many types: TFDS adds what it was doing
        reason = describe_error(error)
        if isinstance(error, ImportError) and "tensorflow" in reason:
            reason = (
                "that needs TensorFlow, which is not installed; install it, or prepare "
                "the data elsewhere, since reading them does not need it"
            )
        raise ValueError(f"TFDS cannot prepare {name}: {reason}") from error
    return Path(builder.data_dir)


def readable(size: int) -> str:
    """Format a number of bytes in readable units."""
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.0f} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


# --- files --------------------------------------------------------------------------


class Files(Protocol):
    """Serialized examples."""

    def __len__(self) -> int:
        """Count the examples."""

    def __getitem__(self, index: int) -> bytes:
        """Read an example."""


def _open_files(instructions: Sequence[Any], file_format: str, folder: Path) -> Files:
    missing = [i.filename for i in instructions if not os.path.isfile(i.filename)]
    if missing:
        raise ValueError(
            f"the TFDS data in {folder} are incomplete: {len(missing)} of "
            f"{len(instructions)} files are missing, the first is {missing[0]}"
        )
    if file_format == "tfrecord":
        return TfrecordFiles(instructions)
    if file_format == "array_record":
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(instructions)
    raise ValueError(
        f"the TFDS data in {folder} are {file_format} files, which only TensorFlow "
        "reads; expected array_record or tfrecord"
    )


class TfdsRecords:
    """The encoded images of a split of a prepared data set, or of a part of one.

    They are parsed without other features.
    """

    def __init__(self, folder: Path, *, split: str) -> None:
        import tensorflow_datasets as tfds

        with explained(f"cannot open the TFDS data in {folder}"):
            info = tfds.builder_from_directory(folder).info
            self.name = info.full_name.rpartition("/")[0]
        if not info.splits:
            raise ValueError(f"{self.name} in {folder} holds no split")
        try:
            instructions = info.splits[split].file_instructions
        except (KeyError, ValueError) as error:
            known = ", ".join(info.splits)
            raise ValueError(
                f"{self.name} in {folder} holds no split {split!r}; it holds {known}"
            ) from error
        feature = _image_feature(info.features, self.name)
        self._files = _open_files(instructions, info.file_format.value, folder)
        self.description = [self.name, split] + [
            f"{os.path.basename(i.filename)} {os.path.getsize(i.filename)} "
            f"{i.skip} {i.take}"
            for i in instructions
        ]
        self._features = tfds.features.FeaturesDict({"image": feature})
        self._decoders = {"image": tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> bytes:
        with explained(f"cannot read record {index}"):
            example = self._features.deserialize_example_np(
                self._files[index], decoders=self._decoders
            )
            return bytes(example["image"])


# --- tfrecord files -----------------------------------------------------------------


class TfrecordFiles:
    """Random access to tfrecord files, each indexed on first use."""

    def __init__(self, instructions: Sequence[Any]) -> None:
        self._instructions = instructions
        self._ends = list(accumulate(i.take for i in instructions))
        self._index = cache(index_tfrecord)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> bytes:
        number = bisect_right(self._ends, index)
        instruction = self._instructions[number]
        position = index - self._ends[number] + instruction.take + instruction.skip
        records = self._index(instruction.filename)
        offset, length = records[position] if position < len(records) else (0, DAMAGED)
        if length == DAMAGED:
            raise ValueError("its header is damaged")
        with open(instruction.filename, "rb", buffering=0) as file:
            content = os.pread(file.fileno(), int(length) + SUM.size, int(offset))
        return _checked(content)


DAMAGED = -1
"""The length of a record whose header is damaged."""

LENGTH, SUM = struct.Struct("<Q"), struct.Struct("<I")


def index_tfrecord(path: str | Path) -> np.ndarray:
    """Index the offset and length of each record of a file, int64 ``[n, 2]``.

    A record is its length (8 bytes), a checksum (4), the content, a checksum (4). After
    a header that is damaged, the next one is searched for.
    """
    found: list[tuple[int, int]] = []
    size, header = os.path.getsize(path), LENGTH.size + SUM.size
    if size == 0:
        return np.empty((0, 2), np.int64)
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        offset = 0
        while offset < size:
            try:
                (length,) = LENGTH.unpack(_checked(content[offset : offset + header]))
            except ValueError:
                found.append((offset, DAMAGED))
                offset = _find_header(content, offset + 1)
                continue
            if offset + header + length + SUM.size > size:
                raise ValueError(f"{path} breaks off within its record {len(found)}")
            found.append((offset + header, length))
            offset += header + length + SUM.size
    return np.array(found, np.int64).reshape(-1, 2)


def _checked(stored: bytes) -> bytes:
    """Split the checksum from the end of some bytes; a ValueError if it is wrong."""
    content, end = stored[: -SUM.size], stored[-SUM.size :]
    if len(end) < SUM.size or masked_crc32c(content) != SUM.unpack(end)[0]:
        raise ValueError("it is damaged: its checksum is wrong")
    return content


def _find_header(content: mmap.mmap, start: int) -> int:
    """Find the next header of a record of less than 4 GB, or the end of the file."""
    header, zeros = LENGTH.size + SUM.size, bytes(4)
    place = content.find(zeros, start + 4)
    while place >= 0:
        with contextlib.suppress(ValueError):
            _checked(content[place - 4 : place - 4 + header])
            return place - 4
        place = content.find(zeros, place + 1)
    return len(content)
