"""Downloads that show progress, go on where they broke off, and are checked."""

import errno
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_CHUNK = 2**20
_NAMES = {"md5": "MD5", "sha256": "SHA-256"}


class Checksum(NamedTuple):
    """The sum that a file must have: ``md5`` or ``sha256``, in hexadecimal digits."""

    algorithm: str
    digits: str


def download(
    url: str, path: Path, *, checksum: Checksum | None = None, quiet: bool = False
) -> None:
    """Fetch what is at ``url`` into a file, which appears only when it is whole.

    What has arrived lies in ``path`` with ``.part`` added. When the download breaks
    off, or the process is killed, the next call asks the server for the rest only.

    Args:
        url: an address that ``urllib`` opens.
        path: the file; its folder must exist.
        checksum: what the file must have.
        quiet: whether to show no progress.

    Raises:
        ValueError: the server cannot be reached or refuses, the download breaks off,
            what was sent is another file, or the disk is full.
    """
    part = partial_path(path)
    length = _fetch(url, part, quiet=quiet)
    received = part.stat().st_size
    if length is not None and received != length:
        raise ValueError(
            f"the download of {url} broke off after {received} of {length} bytes; "
            "try again"
        )
    if checksum is not None:
        _check_sum(part, checksum, url=url, quiet=quiet)
    part.replace(path)


def partial_path(path: Path) -> Path:
    """Return where the beginning of a file lies while it is downloaded."""
    return path.with_name(f"{path.name}.part")


def missing_bytes(path: Path, length: int) -> int:
    """Return how many of the ``length`` bytes of a file are still to be downloaded."""
    if path.exists():
        return 0
    part = partial_path(path)
    return max(0, length - part.stat().st_size) if part.exists() else length


def cache_folder() -> Path:
    """Return where downloads are kept.

    It is ``JAXSTYLE_CACHE``, else ``jaxstyle`` in ``XDG_CACHE_HOME``, else
    ``~/.cache/jaxstyle``. It need not exist yet.
    """
    if own := os.environ.get("JAXSTYLE_CACHE"):
        return Path(own)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "jaxstyle"


def _fetch(url: str, part: Path, *, quiet: bool) -> int | None:
    """Append what is missing; return the length of the whole if it is known."""
    from tqdm import tqdm

    with _explained(url):
        response = _open(url, start=part.stat().st_size if part.exists() else 0)
    if response is None:  # nothing is missing
        return None
    with response, _opened(part, keep=response.status == 206) as file:
        start = file.tell()
        rest = response.headers.get("Content-Length")
        length = None if rest is None else start + int(rest)
        with tqdm(
            desc=part.stem,
            initial=start,
            total=length,
            unit="B",
            unit_scale=True,
            disable=quiet,
        ) as bar:
            for chunk in _chunks(response):
                bar.update(file.write(chunk))
    return length


def _open(url: str, *, start: int) -> Any:
    """Ask for what follows the first ``start`` bytes; ``None`` if that is nothing."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=60
        )
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield what arrives, until the end or until the connection breaks."""
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException):
        return  # the length tells


@contextmanager
def _opened(part: Path, *, keep: bool) -> Iterator[Any]:
    """Open a partial file at its end, or emptied where the server sends all of it."""
    try:
        with part.open("ab" if keep else "wb") as file:
            yield file
    except OSError as error:
        hint = "; free some and try again" if error.errno == errno.ENOSPC else ""
        raise ValueError(f"cannot write {part}: {error.strerror}{hint}") from error


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ValueError(f"cannot download {url}: {error}") from error


def _check_sum(part: Path, expected: Checksum, *, url: str, quiet: bool) -> None:
    """Raise, and keep nothing, unless a downloaded file is the published one."""
    got = _sum(part, expected.algorithm, quiet=quiet)
    if got != expected.digits:
        part.unlink()
        raise ValueError(
            f"what {url} sent is not the published file: its "
            f"{_NAMES[expected.algorithm]} sum is {got}, expected {expected.digits}; "
            "nothing was kept"
        )


def _sum(path: Path, algorithm: str, *, quiet: bool) -> str:
    from tqdm import tqdm

    digest = hashlib.new(algorithm, usedforsecurity=False)
    with (
        path.open("rb") as file,
        tqdm(
            desc=f"checking {path.stem}",
            total=os.fstat(file.fileno()).st_size,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=quiet,
        ) as bar,
    ):
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
