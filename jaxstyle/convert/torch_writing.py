"""PyTorch checkpoints, written without PyTorch: the archives of PyTorch 1.6 and later.

A checkpoint is a pickle that names functions of PyTorch, and Python's pickler writes
such names only where PyTorch is installed. So the pickle is put together here, from
fragments that each leave one object on the stack of the reader.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np


def dump_torch_state_dict(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return what ``torch.save`` writes of a state dict of float32 tensors.

    Equal arrays give equal bytes. `jaxstyle.files.torch_checkpoints` reads them back.
    """
    tensors = enumerate(arrays.items())
    items = (_plain(name) + _tensor(key, array.shape) for key, (name, array) in tensors)
    state = _ORDERED_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS
    files = {"data.pkl": b"\x80\x02" + state + pickle.STOP, "byteorder": b"little"}
    for key, array in enumerate(arrays.values()):
        files[f"data/{key}"] = array.astype("<f4").tobytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in {**files, "version": b"3\n"}.items():
            # A ZipInfo, unlike a name, does not bear the time.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return content.getvalue()


def _tensor(key: int, shape: tuple[int, ...]) -> bytes:
    """Return the tensor that is all of a storage."""
    strides = tuple(step // 4 for step in np.empty(shape, "f4").strides)
    return _call(
        _global("torch._utils", "_rebuild_tensor_v2"),
        _storage(key, int(np.prod(shape))),
        *map(_plain, (0, shape, strides, False)),
        _ORDERED_DICT,  # of hooks
    )


def _storage(key: int, size: int) -> bytes:
    """Refer to ``data/{key}`` of the archive."""
    elements = _global("torch", "FloatStorage")
    rest = map(_plain, (str(key), "cpu", size))
    return _tuple(_plain("storage"), elements, *rest) + pickle.BINPERSID


def _plain(value: Any) -> bytes:
    """Pickle a value, without the marks of the start and the end."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(*fragments: bytes) -> bytes:
    return pickle.MARK + b"".join(fragments) + pickle.TUPLE


def _call(function: bytes, *arguments: bytes) -> bytes:
    return function + _tuple(*arguments) + pickle.REDUCE


_ORDERED_DICT = _call(_global("collections", "OrderedDict"))
