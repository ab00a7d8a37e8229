"""Parameter trees on disk: safetensors whose names are tree paths, and metadata.

The path of an array in the tree is its name in the file: ``conv1_1/kernel``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.files.atomic import atomic_path, explained

STEPS = 127
"""The largest of the whole numbers that stand for others."""


def save_params(
    params: Mapping[str, Any], path: str | Path, *, metadata: Mapping[str, str]
) -> None:
    """Write nested dicts of arrays, and metadata, to a new or replaced file.

    Args:
        params: nested dicts of arrays of any dtype that safetensors knows; no key may
            hold a ``/``.
        path: the file; one that exists is replaced.
        metadata: what `load_params` returns beside the tree.

    Examples:
        >>> jaxstyle.files.save_params(net, "net.safetensors", metadata={"by": "me"})
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(leaf, order="C") for name, leaf in leaves(params)}
    told = {_text(key): _text(value) for key, value in metadata.items()}
    content = save(arrays, metadata=told)
    with (
        explained(f"cannot write the parameter file {path}"),
        atomic_path(path) as temporary,
    ):
        temporary.write_bytes(content)


def _text(value: str) -> str:
    """Escape what is not Unicode, in names of files that are not UTF-8."""
    return str.encode(value, "utf-8", "backslashreplace").decode()


def load_params(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a tree of arrays and its metadata from a safetensors file.

    Args:
        path: the file, such as `save_params` writes.

    Returns:
        The arrays, widened to float32, and the metadata.

    Examples:
        >>> jaxstyle.files.save_params(net, "net.safetensors", metadata={"by": "me"})
        >>> params, metadata = jaxstyle.files.load_params("net.safetensors")
        >>> metadata
        {'by': 'me'}
    """
    with _open(path) as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _tree(arrays), dict(file.metadata() or {})


def load_header(path: str | Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Read the shapes of a file's arrays, by name, and its metadata, but no values."""
    with _open(path) as file:
        names = file.keys()
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        return shapes, dict(file.metadata() or {})


@contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    """Open a safetensors file; what goes wrong in the block is the file's fault."""
    from safetensors import safe_open

    path = Path(path)
    if not path.exists():
        raise ValueError(f"no such parameter file: {path}")
    if not path.is_file():
        raise ValueError(f"cannot read the parameter file {path}: it is not a file")
    failure = f"cannot read the parameter file {path}: damaged or not safetensors"
    with explained(failure), safe_open(path, framework="numpy") as file:
        yield file


def quantize(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Replace kernels by whole numbers of 8 bits, and a scale for each channel."""
    found: dict[str, Any] = {
        name: quantize(value) if isinstance(value, Mapping) else np.asarray(value)
        for name, value in tree.items()
    }
    if "kernel" in found:
        kernel = found["kernel"]
        scale = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(0) / STEPS
        found["scale"] = np.maximum(scale, np.finfo(np.float32).tiny)
        found["kernel"] = np.rint(kernel / found["scale"]).astype(np.int8)
    return found


def restore(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `quantize`, where a scale has the shape that it gives."""
    found: dict[str, Any] = {
        name: restore(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
    }
    kernel, scale = np.asarray(found.get("kernel")), np.asarray(found.get("scale"))
    if kernel.shape and scale.shape == kernel.shape[-1:]:
        found["kernel"] = kernel * found.pop("scale")
    return found


def check_params(
    params: Mapping[str, Any],
    expected_shapes: Mapping[str, Any],
    *,
    path: str | Path,
    others: Iterable[str] = (),
) -> None:
    """Raise unless a tree has exactly the arrays of the tree of shapes, all finite.

    One ValueError names all problems of the file, also ``others`` that are known.
    """
    arrays, shapes = dict(leaves(params)), dict(leaves(expected_shapes))
    problems = [f"{name} is missing" for name in shapes if name not in arrays]
    problems += [f"{name} is unexpected" for name in arrays if name not in shapes]
    for name in (name for name in shapes if name in arrays):
        array, shape = arrays[name], shapes[name]
        if tuple(array.shape) != shape:
            problems.append(
                f"{name} has the shape {tuple(array.shape)}, expected {shape}"
            )
        if not np.isfinite(array).all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems := [*problems, *others]:
        raise ValueError(f"wrong parameters in {path}: {'; '.join(problems)}")


def not_positive(arrays: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Describe which of some arrays hold values that are not positive."""
    return [
        f"{name} holds values that are not positive"
        for name in names
        if name in arrays and (arrays[name] <= 0).any()
    ]


def check_format(
    metadata: Mapping[str, str],
    expected: Mapping[str, str],
    *,
    path: str | Path,
    made_by: str,
) -> None:
    """Raise a ValueError unless metadata have the format and version of a kind of file.

    The message calls it as the format, ``jaxstyle-KIND``, does.
    """
    if not expected.items() <= metadata.items():
        kind = expected["format"].removeprefix("jaxstyle-")
        raise ValueError(
            f"{path} holds no {kind} of this package's format; make one with {made_by}"
        )


def digest_params(params: Mapping[str, Any]) -> str:
    """Digest the names, the order and the values of a tree of arrays.

    Args:
        params: a tree of arrays, compared in float32.

    Returns:
        16 hexadecimal digits.

    Examples:
        >>> same = jaxstyle.load_style("great-wave-8")
        >>> jaxstyle.files.digest_params(same) == jaxstyle.files.digest_params(net)
        True
    """
    digest = hashlib.sha256()
    for name, array in leaves(params):
        digest.update(name.encode())
        digest.update(np.asarray(array, np.float32).tobytes())
    return digest.hexdigest()[:16]


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path, in the order of the tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Nest arrays by their paths."""
    root: dict[str, Any] = {}
    # Short names first: where "a" and "a/b" both exist, "a" is the one in the way.
    for name in sorted(arrays, key=len):
        *folders, leaf = name.split("/")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name} lies below {folder}, which is an array")
        node[leaf] = np.asarray(arrays[name], np.float32)
    return root


def package_file(folder: str, name: str) -> Path:
    """Locate a file that ships in the package."""
    return Path(str(resources.files("jaxstyle") / folder / name))
