"""Tensors from PyTorch checkpoints, without PyTorch and without running their code.

A checkpoint is a pickle, which may call any function of any module. This unpickler
accepts only the few names that describe tensors, makes plain records of them, and
refuses all others.

Both layouts are read: the zip archives of PyTorch 1.6 and later, and the single stream
of earlier versions.
"""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from jaxstyle.files.atomic import explained

# NumPy's dtypes by storage class, without the byte order.
_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}

_BYTE_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}

_ZIP_START = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class _Storage(NamedTuple):
    """A flat array of the file; ``dtype`` is a value of ``_DTYPES``."""

    dtype: str
    size: int


class _Tensor(NamedTuple):
    """A strided view of the ``size`` elements of a storage from ``start``."""

    key: str
    start: int
    size: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load_torch_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file by ``torch.save``, by name, executing no code in it.

    They are those of the entry ``"state_dict"`` if there is one, else of the top level;
    other values are skipped; a ValueError says if the file refers to anything that is
    no tensor. Arrays are read-only and keep the tensors' types, except that bfloat16
    becomes float32.
    """
    if not Path(path).is_file():
        raise ValueError(f"no such PyTorch checkpoint: {path}")
    with explained(f"cannot read the PyTorch checkpoint {path}"):
        with open(path, "rb") as file:
            start = file.read(len(_ZIP_START))
            file.seek(0)
            read = _read_zip if start == _ZIP_START else _read_legacy
            checkpoint, arrays = read(file)
        tensors = _select_tensors(checkpoint)
        return {name: _cut(tensor, arrays) for name, tensor in tensors.items()}


class _Unpickler(pickle.Unpickler):
    """Rebuild tensors as records, collect their storages, refuse all else."""

    def __init__(self, file: IO[bytes]) -> None:
        # Names that were strings under Python 2 arrive as bytes and are decoded.
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        # Methods, unlike functions and classes, hold no state that a pickle could set.
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor": self._rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": self._rebuild_tensor,
            "torch._utils._rebuild_parameter": self._rebuild_parameter,
        } | {f"torch.{storage}": dtype for storage, dtype in _DTYPES.items()}
        full_name = f"{module}.{name}"
        if full_name not in known:
            raise pickle.UnpicklingError(
                f"it refers to {full_name}, but only tensors are read and no code "
                "is executed"
            )
        return known[full_name]

    def persistent_load(self, identifier: Any) -> tuple[str, int, int]:
        """Collect a storage; return its key, and the start and size used."""
        kind, dtype, key, _location, size, *view = identifier
        if kind != "storage" or dtype not in _DTYPES.values():
            raise pickle.UnpicklingError(f"it refers to a {kind} of {dtype}")
        storage = _Storage(dtype, size)
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError(f"it describes storage {key} in two ways")
        if view and view[0] is not None:
            _view_key, start, view_size = view[0]
            return key, start, view_size
        return key, 0, size

    def _rebuild_tensor(
        self,
        part: tuple[str, int, int],
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_training_state: object,
    ) -> _Tensor:
        return _Tensor(*part, offset, shape, strides)

    def _rebuild_parameter(self, data: _Tensor, *_training_state: object) -> _Tensor:
        return data


# --- the two layouts ----------------------------------------------------------------


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, np.ndarray]]:
    """Read an archive of ``data.pkl``, ``data/{key}`` and optionally ``byteorder``."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1 or any(
            info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()
        ):
            raise ValueError("it is a zip archive, but not one that torch.save wrote")
        folder = pickles[0].removesuffix("data.pkl")
        has_order = f"{folder}byteorder" in names
        order = archive.read(f"{folder}byteorder") if has_order else b"little"
        with archive.open(pickles[0]) as stream:
            unpickler = _Unpickler(stream)
            checkpoint = unpickler.load()
        return checkpoint, {
            key: _decode(archive.read(f"{folder}data/{key}"), storage, order=order)
            for key, storage in unpickler.storages.items()
        }


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, np.ndarray]]:
    """Read pickles of magic number, protocol, system, object, keys; then storages."""
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("it is not a file that torch.save wrote")
    if _Unpickler(file).load() != _LEGACY_PROTOCOL:
        raise ValueError(f"its protocol is not {_LEGACY_PROTOCOL}")
    order = b"little" if _Unpickler(file).load()["little_endian"] else b"big"
    unpickler = _Unpickler(file)
    checkpoint = unpickler.load()
    keys = _Unpickler(file).load()
    return checkpoint, {
        key: _read_legacy_storage(file, unpickler.storages[key], order=order)
        for key in keys
    }


def _read_legacy_storage(
    file: IO[bytes], storage: _Storage, *, order: bytes
) -> np.ndarray:
    (size,) = struct.unpack("<q", file.read(8))
    n_bytes = size * _stored_dtype(storage).itemsize
    if not 0 <= n_bytes <= os.fstat(file.fileno()).st_size - file.tell():
        raise ValueError("it is truncated")
    return _decode(file.read(n_bytes), storage, order=order)


def _decode(data: bytes, storage: _Storage, *, order: bytes) -> np.ndarray:
    """Decode a storage to a flat array in the machine's byte order."""
    stored = _stored_dtype(storage)
    if len(data) != storage.size * stored.itemsize:
        raise ValueError(
            f"a storage has {len(data)} bytes, expected {storage.size} elements"
        )
    in_file = stored.newbyteorder(_BYTE_ORDERS[order])
    values = np.frombuffer(data, in_file).astype(stored, copy=False)
    if storage.dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _stored_dtype(storage: _Storage) -> np.dtype[Any]:
    """Choose the dtype to read a storage with; bfloat16 is read as its bits."""
    return np.dtype("u2" if storage.dtype == "bfloat16" else storage.dtype)


# --- tensors ------------------------------------------------------------------------


def _select_tensors(checkpoint: Any) -> dict[str, _Tensor]:
    if not isinstance(checkpoint, dict):
        raise ValueError("it holds a single object, expected a state dict of tensors")
    nested = checkpoint.get("state_dict")
    entries = nested if isinstance(nested, dict) else checkpoint
    tensors = {
        name: value for name, value in entries.items() if isinstance(value, _Tensor)
    }
    if not tensors:
        raise ValueError("it holds no tensors")
    return tensors


def _cut(tensor: _Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Make a tensor a view of its storage, after checking that it lies inside."""
    storage = arrays[tensor.key][tensor.start :][: tensor.size]
    numbers = (tensor.start, tensor.size, tensor.offset, *tensor.shape, *tensor.strides)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    end = tensor.offset + sum((n - 1) * stride for n, stride in steps) + 1
    if min(numbers) < 0 or (0 not in tensor.shape and end > len(storage)):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches beyond its storage")
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        [stride * storage.itemsize for stride in tensor.strides],
        writeable=False,
    )
