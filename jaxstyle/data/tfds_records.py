"""The encoded images of TFDS data sets on disk, read at random without TensorFlow.

Both formats that TFDS commonly writes are read: array_record by its own library, and
tfrecord, which TFDS itself reads only with TensorFlow, by an index of its headers.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxstyle.data.tfrecords import TfrecordFiles

TRAIN_ONLY = {"coco/2014": "coco/2014_train", "coco/2017": "coco/2017_train"}
"""Data sets, and what holds their training split alone."""

_NAME = re.compile(r"[A-Za-z]\w*(/[\w.\-]+)?(:[\d.*]+)?")


def is_tfds_name(name: str) -> bool:
    """Tell whether a text could name a TFDS data set: ``NAME[/CONFIG][:VERSION]``."""
    return _NAME.fullmatch(name) is not None


def is_tfds_folder(folder: Path) -> bool:
    """Tell whether TFDS has prepared a data set right in a folder."""
    return (folder / "dataset_info.json").is_file()


def find_tfds(name: str, *, data_dir: str | Path | None = None) -> Path | None:
    """Return the folder of a prepared data set, of its newest version, or ``None``.

    For COCO, a folder with the training split alone will do.

    Raises:
        ValueError: what is there is damaged, or more than one folder could be meant.
    """
    from tensorflow_datasets.core import read_only_builder, registered

    config, colon, version = name.partition(":")
    for candidate in filter(None, [config, TRAIN_ONLY.get(config)]):
        try:
            builder = read_only_builder.builder_from_files(
                candidate + colon + version, data_dir=_expanded(data_dir)
            )
        except registered.DatasetNotFoundError:
            continue
        except Exception as error:  # of many types, when the metadata are damaged
            reason = " ".join(str(error).split())
            raise ValueError(f"cannot open the TFDS data {name}: {reason}") from error
        return Path(builder.data_dir)
    return None


def _expanded(data_dir: str | Path | None) -> str | None:
    return None if data_dir is None else str(Path(data_dir).expanduser())


def open_tfds(folder: Path, *, split: str) -> "TfdsRecords":
    """Open a split, or a part of one, of a prepared data set.

    Raises:
        ValueError: the folder is damaged or incomplete, or it holds no such split, no
            images, or a file format that only TensorFlow reads.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        name = builder.info.full_name.rpartition("/")[0]
    except Exception as error:  # of many types, when a file of the metadata is damaged
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot open the TFDS data in {folder}: {reason}") from error
    if not builder.info.splits:
        raise ValueError(f"{name} in {folder} holds no split")
    try:
        instructions = builder.info.splits[split].file_instructions
    except (KeyError, ValueError) as error:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{name} in {folder} holds no split {split!r}; it holds {known}"
        ) from error
    feature = _image_feature(builder.info.features, name)
    files = _open_files(instructions, builder.info.file_format.value, folder)
    return TfdsRecords(name, split, instructions, files, feature)


def _image_feature(features: Any, name: str) -> Any:
    import tensorflow_datasets as tfds

    known = features if isinstance(features, tfds.features.FeaturesDict) else {}
    if "image" not in known or not isinstance(known["image"], tfds.features.Image):
        raise ValueError(
            f"{name} has no feature `image` that holds an image; it has "
            f"{', '.join(known) or 'no named features'}"
        )
    return known["image"]


class Files(Protocol):
    """Serialized examples."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> bytes:
        """Return one."""


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

        files: Files = ArrayRecordDataSource(instructions)
        return files
    raise ValueError(
        f"the TFDS data in {folder} are {file_format} files, which only TensorFlow "
        "reads; expected array_record or tfrecord"
    )


class TfdsRecords:
    """The encoded images of a split; nothing is decoded, and only they are parsed."""

    def __init__(
        self,
        name: str,
        split: str,
        instructions: Sequence[Any],
        files: Files,
        feature: Any,
    ) -> None:
        import tensorflow_datasets as tfds

        self.name = name
        self.description = [name, split] + [
            f"{os.path.basename(i.filename)} {os.path.getsize(i.filename)} "
            f"{i.skip} {i.take}"
            for i in instructions
        ]
        self._files = files
        self._features = tfds.features.FeaturesDict({"image": feature})
        self._decoders = {"image": tfds.decode.SkipDecoding()}

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._files)

    def __getitem__(self, index: int) -> bytes:
        """Return an encoded image.

        Raises:
            ValueError: the file is damaged there.
        """
        try:
            example = self._features.deserialize_example_np(
                self._files[index], decoders=self._decoders
            )
        except Exception as error:  # of many types, one for each library
            raise ValueError(f"cannot read record {index}: {error}") from error
        return bytes(example["image"])
