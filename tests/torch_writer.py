"""PyTorch checkpoints written by hand, so that the tests need no PyTorch.

A checkpoint is composed of fragments of a pickle: each leaves one object on the stack
of the unpickler.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGE_CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Storage(NamedTuple):
    key: str
    storage_class: str
    size: int
    data: bytes


def store(key: str, array: np.ndarray) -> Storage:
    """Return the storage that holds an array's elements in C order."""
    return Storage(key, STORAGE_CLASSES[array.dtype.name], array.size, array.tobytes())


# --- fragments ----------------------------------------------------------------------


def pickled(value: Any) -> bytes:
    """Pickle a plain value, without the marks of the start and the end."""
    return pickle.dumps(value, protocol=2)[2:-1]


def global_name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def tuple_of(*fragments: bytes) -> bytes:
    return pickle.MARK + b"".join(fragments) + pickle.TUPLE


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + pickle.REDUCE


def ordered_dict(entries: Mapping[str, bytes]) -> bytes:
    items = b"".join(pickled(name) + value for name, value in entries.items())
    empty = call(global_name("collections", "OrderedDict"))
    return empty + pickle.MARK + items + pickle.SETITEMS


def storage_reference(storage: Storage, *, extra: tuple[Any, ...] = ()) -> bytes:
    """Refer to a storage; the older layout has an ``extra`` member, often None."""
    return (
        tuple_of(
            pickled("storage"),
            global_name("torch", storage.storage_class),
            *map(pickled, (storage.key, "cpu", storage.size, *extra)),
        )
        + pickle.BINPERSID
    )


def tensor(
    storage: Storage,
    *,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    extra: tuple[Any, ...] = (),
) -> bytes:
    return call(
        global_name("torch._utils", "_rebuild_tensor_v2"),
        storage_reference(storage, extra=extra),
        *map(pickled, (offset, shape, strides, False)),
        ordered_dict({}),
    )


def whole_tensor(storage: Storage, array: np.ndarray) -> bytes:
    """Return the tensor that is all of a storage, in the shape of ``array``."""
    strides = tuple(step // array.itemsize for step in np.empty_like(array).strides)
    return tensor(storage, shape=array.shape, strides=strides)


def parameter(data: bytes) -> bytes:
    rebuild = global_name("torch._utils", "_rebuild_parameter")
    return call(rebuild, data, pickled(True), ordered_dict({}))


# --- files --------------------------------------------------------------------------


def write_zip(
    path: Path, checkpoint: bytes, *storages: Storage, byteorder: str = "little"
) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + checkpoint + pickle.STOP)
        archive.writestr("archive/byteorder", byteorder)
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.data)
        archive.writestr("archive/version", "3\n")


def write_legacy(
    path: Path, checkpoint: bytes, *storages: Storage, byteorder: str = "little"
) -> None:
    system = {"protocol_version": 1001, "little_endian": byteorder == "little"}
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(header, file, protocol=2)
        file.write(b"\x80\x02" + checkpoint + pickle.STOP)
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(struct.pack("<q", storage.size) + storage.data)


WRITERS: dict[str, Callable[..., None]] = {"zip": write_zip, "legacy": write_legacy}


def save_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], *, layout: str = "zip"
) -> None:
    """Write arrays as ``torch.save`` writes a state dict."""
    storages = [store(str(i), array) for i, array in enumerate(arrays.values())]
    tensors = map(whole_tensor, storages, arrays.values())
    checkpoint = ordered_dict(dict(zip(arrays, tensors, strict=True)))
    WRITERS[layout](path, checkpoint, *storages)
