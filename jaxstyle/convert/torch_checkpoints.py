"""Tensors from PyTorch checkpoints, without PyTorch and without running their code.

A checkpoint is a pickle, which may call any function of any module. This reader
accepts only the few names that describe tensors, makes plain records of them, and
refuses all others. All sizes are compared with that of the file before any array is
made.

Both layouts are read: the zip archives of PyTorch 1.6 and later, and the single stream
of earlier versions.
"""

import io
import math
import mmap
import os
import struct
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from jaxstyle.convert.pickle_machine import fill_dict, run_pickle
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

    They are those of the dict that holds most, at any depth, inside the entry
    ``"state_dict"`` if there is one. Other values are skipped; a ValueError says if the
    file refers to anything that is no tensor. Arrays are read-only and keep the
    tensors' types, except that bfloat16 becomes float32.
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


class _Reader:
    """Make records of the tensors of pickles, and collect their storages."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def read(self, stream: IO[bytes]) -> Any:
        """Build the value of the next pickle of a stream."""
        return run_pickle(
            stream, find_name=self._find, load_persistent=self._load_storage
        )

    def _find(self, name: str) -> Any:
        known = {
            "collections.OrderedDict": _make_dict,
            "torch._utils._rebuild_tensor": self._rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": self._rebuild_tensor,
            "torch._utils._rebuild_parameter": self._rebuild_parameter,
        } | {f"torch.{storage}": dtype for storage, dtype in _DTYPES.items()}
        if name not in known:
            raise ValueError(
                f"it refers to {name}, but only tensors are read and no code "
                "is executed"
            )
        return known[name]

    def _load_storage(self, identifier: Any) -> tuple[str, int, int]:
        """Collect a storage; return its key, and the start and size used."""
        kind, dtype, key, _location, size, *view = identifier
        if kind != "storage" or dtype not in _DTYPES.values():
            raise ValueError("it refers to what is no storage")
        if not isinstance(key, str) or not _are_sizes([size]):
            raise ValueError("it describes a storage without a key or a size")
        storage = _Storage(dtype, size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"it describes storage {key} in two ways")
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
        if not _are_sizes([*part[1:], offset, *shape, *strides]):
            raise ValueError("a tensor has a negative or an impossible size")
        return _Tensor(*part, offset, shape, strides)

    def _rebuild_parameter(self, data: _Tensor, *_training_state: object) -> _Tensor:
        return data


def _make_dict(items: Iterable[Any] = ()) -> dict[Any, Any]:
    """Make a dict of pairs, in order, as ``OrderedDict`` does."""
    made: dict[Any, Any] = {}
    for key, value in items:
        fill_dict(made, key, value)
    return made


def _are_sizes(numbers: Iterable[Any]) -> bool:
    """Test whether all are integers from 0 that fit in 64 bits."""
    return all(isinstance(x, int) and 0 <= x < 2**63 for x in numbers)


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
        reader = _Reader()
        checkpoint = reader.read(io.BytesIO(archive.read(pickles[0])))
        _check_sizes(reader.storages, os.fstat(file.fileno()).st_size)
        return checkpoint, {
            key: _decode(archive.read(f"{folder}data/{key}"), storage, order=order)
            for key, storage in reader.storages.items()
        }


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, np.ndarray]]:
    """Read pickles of magic number, protocol, system, object, keys; then storages."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        stream: Any = content  # which reads no more than there is
        if _Reader().read(stream) != _LEGACY_MAGIC:
            raise ValueError("it is not a file that torch.save wrote")
        if _Reader().read(stream) != _LEGACY_PROTOCOL:
            raise ValueError(f"its protocol is not {_LEGACY_PROTOCOL}")
        order = b"little" if _Reader().read(stream)["little_endian"] else b"big"
        reader = _Reader()
        checkpoint, keys = reader.read(stream), _Reader().read(stream)
        _check_sizes(reader.storages, len(content))
        if not all(isinstance(key, str) for key in keys):
            raise ValueError("the keys of its storages are no text")
        return checkpoint, {
            key: _read_legacy_storage(stream, reader.storages[key], order=order)
            for key in keys
        }


def _check_sizes(storages: Mapping[str, _Storage], most: int) -> None:
    """Raise a ValueError if storages take more bytes than their file has."""
    sizes = (x.size * _stored_dtype(x).itemsize for x in storages.values())
    if (total := sum(sizes)) > most:
        raise ValueError(f"it is truncated: of {total} bytes of tensors it has {most}")


def _read_legacy_storage(
    file: IO[bytes], storage: _Storage, *, order: bytes
) -> np.ndarray:
    (size,) = struct.unpack("<q", file.read(8))
    n_bytes = size * _stored_dtype(storage).itemsize
    return _decode(file.read(max(0, n_bytes)), storage, order=order)


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
    """Choose the dict with the most tensors, wherever it lies, but a state dict first.

    An optimizer keeps its tensors in a dict for each parameter.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError("it holds a single object, expected a state dict of tensors")
    for root in (checkpoint.get("state_dict"), checkpoint):
        found = [
            {name: x for name, x in each.items() if isinstance(x, _Tensor)}
            for each in _find_dicts(root)
        ]
        if most := max(found, key=len, default=None):
            return {str(name): tensor for name, tensor in most.items()}
    raise ValueError("it holds no tensors")


def _find_dicts(root: Any) -> Iterator[dict[Any, Any]]:
    """Yield each dict in a value once, outer ones first."""
    waiting, seen = deque([root]), set()
    while waiting:
        value = waiting.popleft()
        if not isinstance(value, dict | list) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        else:
            waiting.extend(value)


def _cut(tensor: _Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Make a tensor a view of its storage, after checking that it lies inside."""
    storage = arrays[tensor.key][tensor.start :][: tensor.size]
    steps = zip(tensor.shape, tensor.strides, strict=True)
    end = tensor.offset + sum((n - 1) * stride for n, stride in steps) + 1
    if 0 not in tensor.shape and end > len(storage):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches beyond its storage")
    # Strides of 0 repeat elements.
    if math.prod(tensor.shape) > sum(array.nbytes for array in arrays.values()):
        raise ValueError(f"a tensor of shape {tensor.shape} exceeds its file")
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        [stride * storage.itemsize for stride in tensor.strides],
        writeable=False,
    )


def unwrapped(
    state: Mapping[str, np.ndarray], depth: int = 8
) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield a state dict, and the parts of it under each prefix, without the prefix.

    Wrappers put ``module.`` (DataParallel) or ``_orig_mod.`` (compiled) before names,
    and networks the names of their parts.
    """
    yield state
    heads = dict.fromkeys(name.partition(".")[0] for name in state if "." in name)
    for head in heads if depth else ():
        part = {
            name.removeprefix(f"{head}."): array
            for name, array in state.items()
            if name.startswith(f"{head}.")
        }
        yield from unwrapped(part, depth - 1)
