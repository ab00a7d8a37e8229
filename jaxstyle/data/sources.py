"""Random-access sources of encoded images: a folder, or a TFDS data set on disk."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from jaxstyle.data.tfds_records import TfdsRecords
from jaxstyle.files.atomic import describe_error
from jaxstyle.files.image_decoding import SUFFIXES
from jaxstyle.files.regular_files import read_regular

TRAIN_ONLY = {"coco/2014": "coco/2014_train", "coco/2017": "coco/2017_train"}
"""Data sets, and those with only their training splits."""

_NAME = re.compile(r"[A-Za-z]\w*(/[\w.\-]+)?(:[\d.*]+)?")


class Record(NamedTuple):
    """An encoded image.

    Attributes:
        name: what reports call it: the file's path in its folder, or the data set and
            the record's number.
        data: the bytes of the image file, in any format that Pillow reads.
    """

    name: str
    data: bytes


class Source(Protocol):
    """Encoded images in a fixed order, safe to read from several threads."""

    @property
    def name(self) -> str:
        """The name of the data set, such as ``coco/2014``, or the folder."""

    @property
    def fingerprint(self) -> str:
        """A short digest that changes when the data do."""

    def __len__(self) -> int:
        """Count the records."""

    def __getitem__(self, index: int) -> Record:
        """Read a record, or raise an ``OSError`` or a ``ValueError``."""


def open_source(
    data: str, *, data_dir: str | Path | None = None, split: str = "train"
) -> Source:
    """Open a folder of images, or a TFDS data set that is prepared on disk.

    An existing folder takes precedence. One with ``dataset_info.json`` is read by TFDS;
    in any other, and in its subfolders, all image files except hidden ones are read, in
    the order of their names.

    Args:
        data: a folder, or a name such as ``coco/2014`` or ``coco/2014:1.1.0``.
        data_dir: the folder of TFDS data sets; by default that of TFDS.
        split: the split of a TFDS data set, or a part: ``train[:90%]``.

    Returns:
        A source of at least one record.

    Examples:
        >>> from pathlib import Path
        >>> examples = Path(jaxstyle.__file__).parent / "examples"
        >>> source = jaxstyle.data.open_source(str(examples))
        >>> source[0].name
        'astronaut.jpg'
    """
    folder = Path(data).expanduser()
    if folder.is_dir():
        if (folder / "dataset_info.json").is_file():  # TFDS has prepared it
            return TfdsSource(folder, split=split)
        return open_folder(folder)
    if folder.exists() or not is_tfds_name(data) or folder.suffix.lower() in SUFFIXES:
        raise ValueError(
            f"no data {data}: expected a folder of images, or the name of a TFDS data "
            "set such as coco/2014"
        )
    prepared = find_tfds(data, data_dir=data_dir)
    if prepared is None:
        where = "" if data_dir is None else f" --data-dir {data_dir}"
        raise ValueError(
            f"no data {data}: there is no such folder and no such prepared TFDS data "
            f"set; prepare it with: jaxstyle data {data}{where}"
        )
    return TfdsSource(prepared, split=split)


def is_tfds_name(name: str) -> bool:
    """Match the form of a TFDS name, ``NAME[/CONFIG][:VERSION]``."""
    return _NAME.fullmatch(name) is not None


def find_tfds(name: str, *, data_dir: str | Path | None = None) -> Path | None:
    """Locate the newest version of a prepared data set; return ``None`` if missing.

    For COCO, the training split suffices.
    """
    from tensorflow_datasets.core import read_only_builder, registered

    expanded = None if data_dir is None else str(Path(data_dir).expanduser())
    config, colon, version = name.partition(":")
    for candidate in filter(None, [config, TRAIN_ONLY.get(config)]):
        try:
            builder = read_only_builder.builder_from_files(
                candidate + colon + version, data_dir=expanded
            )
        except registered.DatasetNotFoundError:
            continue
        except Exception as error:  # of many types, when the metadata are damaged
            raise ValueError(
                f"cannot open the TFDS data {name}: {describe_error(error)}"
            ) from error
        return Path(builder.data_dir)
    return None


class FileSource:
    """Image files in a fixed order, each with the name that reports call it."""

    def __init__(self, name: str, files: Iterable[tuple[str, Path]]) -> None:
        self.name = name
        self._files = list(files)
        self.fingerprint = make_fingerprint(
            f"{file} {path.stat().st_size}" for file, path in self._files
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Record:
        name, path = self._files[index]
        return Record(name, read_regular(path))


def open_folder(folder: Path) -> FileSource:
    """Open the images in a folder and its subfolders, in the order of their names."""
    files = ((name, folder / name) for name in list_images(folder))
    return FileSource(str(folder), files)


class TfdsSource:
    """The images of a split of a TFDS data set, in the order of its records."""

    def __init__(self, folder: Path, *, split: str) -> None:
        self._records = TfdsRecords(folder, split=split)
        self.name = self._records.name
        self.fingerprint = make_fingerprint(self._records.description)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return Record(f"{self.name} record {index}", self._records[index])


class Selection:
    """Some records of another source."""

    def __init__(self, source: Source, indices: np.ndarray, *, role: str) -> None:
        self.name = source.name
        self.fingerprint = make_fingerprint((source.fingerprint, role, len(indices)))
        self._source = source
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[int(self._indices[index])]


def hold_out(source: Source, count: int) -> tuple[Source, Source]:
    """Split a source into records for training and ``count`` for validation.

    Those for validation are evenly spaced, so they depend on no seed.

    Args:
        source: of `open_source`.
        count: the number of records to hold out, at least 0.

    Returns:
        A source to train on and one to validate on, both in the order of ``source``.

    Examples:
        >>> jaxstyle.save_image(photo, "1.png")
        >>> jaxstyle.save_image(painting, "2.png")
        >>> source = jaxstyle.data.open_source(".")
        >>> [len(part) for part in jaxstyle.data.hold_out(source, 1)]
        [1, 1]
    """
    total = len(source)
    if not 0 <= count < total:
        raise ValueError(
            f"cannot hold out {count} of the {total} images of {source.name}: at least "
            "one must be left for training"
        )
    held = (2 * np.arange(count) + 1) * total // (2 * max(count, 1))
    kept = np.delete(np.arange(total), held)
    return (
        Selection(source, kept, role="training"),
        Selection(source, held, role="validation"),
    )


def make_fingerprint(parts: Iterable[object]) -> str:
    """Hash values to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def list_files(folder: Path) -> list[str]:
    """List the files in a folder by relative path, sorted, except hidden ones."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            (Path(parent) / name).relative_to(folder).as_posix()
            for name in files
            if not name.startswith(".")
        ]
    return sorted(found)


def list_images(folder: Path) -> list[str]:
    """List the images in a folder by relative path, sorted; a ValueError if none."""
    found = [name for name in list_files(folder) if name.lower().endswith(SUFFIXES)]
    if not found:
        raise ValueError(
            f"no images in the folder {folder}: expected files that end in "
            f"{', '.join(SUFFIXES)}"
        )
    return found
