"""Regular files, the only ones that are read.

To open a pipe, a socket or a device may wait forever, or have an effect of its own.
"""

import os
from pathlib import Path


def check_regular(path: str | Path) -> None:
    """Raise a ValueError if there is something at a path that is not a regular file."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("it is not a regular file")


def read_regular(path: str | Path) -> bytes:
    """Read a regular file; a ValueError if it is another kind, else an OSError."""
    check_regular(path)
    return Path(path).read_bytes()
