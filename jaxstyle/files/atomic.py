"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path whose file replaces ``path`` when the block succeeds.

    The temporary file lies in the same folder and keeps the suffix, so that the final
    step is one rename. When the block raises, the file at ``path`` stays as it was.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(
        suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions_of_new_files())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _permissions_of_new_files() -> int:
    """Return what the umask allows; ``mkstemp`` gives 0o600, which is too private."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
