"""Files that appear whole or not at all, and errors that name them in one line."""

import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxstyle.files.regular_files import check_regular


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path whose file replaces ``path`` when the block succeeds.

    The temporary file is in the same folder and keeps the suffix, so that the final
    step is one rename. If the block raises, the file at ``path`` stays unchanged. An
    OSError says if the folder does not exist or cannot be written to.
    """
    path = Path(path)
    # A short name, for the name of the file may be as long as one may be.
    suffix = path.suffix if len(path.suffix) < 16 else ""
    temporary = path.with_name(f".jaxstyle-{secrets.token_hex(8)}{suffix}")
    temporary.touch(0o666, exist_ok=False)  # less the umask, unlike `mkstemp`
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_output_path(
    path: str | Path, *, kind: str, suffixes: Collection[str]
) -> None:
    """Raise, before any long work, unless a file can be written to ``path``.

    ``kind`` is what messages call the file, ``suffixes`` those that can be written.
    """
    path = Path(path)
    with explained(f"cannot write the {kind} {path}"):
        if os.path.isdir(path):
            raise ValueError("it is a folder")
        if path.suffix.lower() not in suffixes:
            known = ", ".join(sorted(suffixes))
            raise ValueError(f"unknown suffix {path.suffix!r}, use one of {known}")
        if not os.path.isdir(path.parent):
            raise ValueError(f"there is no folder {path.parent}")
        check_regular(path)
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise ValueError("the file is write-protected")
        with suppress(FileNotFoundError):
            os.lstat(path)  # its name may be too long
        tempfile.NamedTemporaryFile(prefix=".jaxstyle-", dir=path.parent).close()


def describe_error(error: BaseException) -> str:
    """Describe an exception in one line, without the path that an OSError repeats."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its message names a Python object
        return "its format is unknown, or its first bytes are damaged"
    if isinstance(error, MemoryError) and not str(error):
        return "not enough memory"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())


@contextmanager
def explained(
    failure: str, *, describe: Callable[[BaseException], str] = describe_error
) -> Iterator[None]:
    """Turn any exception in the block into the ``ValueError`` "failure: reason".

    Everything is caught because, on damaged files, the libraries that read them raise
    nearly every exception there is.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{failure}: {describe(error)}") from error
