"""Downloads that show progress, resume after a failure, and are checked."""

import errno
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxstyle import __version__
from jaxstyle.files.atomic import explained

_CHUNK = 2**20

SLOWEST, PATIENCE = 1000, 60.0
"""The fewest bytes a second, over so many seconds, for which a download goes on."""

_NAMES = {"md5": "MD5", "sha256": "SHA-256"}


class Checksum(NamedTuple):
    """The expected ``md5`` or ``sha256`` sum of a file, in hexadecimal digits."""

    algorithm: str
    digits: str


def download(
    url: str,
    path: Path,
    *,
    checksum: Checksum | None = None,
    largest: int | None = None,
    quiet: bool = False,
) -> None:
    """Download ``url`` to ``path``, which appears only when it is complete.

    What has arrived is kept in ``path`` with ``.part`` added. After a failure, even a
    killed process, the next call asks the server only for the rest, if the file there
    is still the same. The folder of ``path`` must exist; ``quiet`` hides the progress
    bar. Any failure is a ValueError, and so is a server that is slower than `SLOWEST`,
    or a file of more than ``largest`` bytes, of which nothing is kept.
    """
    part = partial_path(path)
    try:
        length = _fetch(url, part, largest=largest, quiet=quiet)
    except _TooLargeError:
        part.unlink()
        raise
    received = part.stat().st_size
    if length is not None and received != length:
        raise ValueError(
            f"the download of {url} broke off after {received} of {length} bytes; "
            "try again"
        )
    if checksum is not None:
        _check_sum(part, checksum, url=url, quiet=quiet)
    part.replace(path)
    _tag_path(part).unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """Append ``.part`` to the name of a file, for its incomplete download."""
    return path.with_name(f"{path.name}.part")


def _tag_path(part: Path) -> Path:
    """Append ``.tag``: the file there holds the server's own tag of what it sent."""
    return part.with_name(f"{part.name}.tag")


def missing_bytes(path: Path, length: int) -> int:
    """Count the bytes still to download of a file of ``length`` bytes."""
    if path.exists():
        return 0
    part = partial_path(path)
    return max(0, length - part.stat().st_size) if part.exists() else length


def cache_folder() -> Path:
    """Find the folder of downloads and compiled programs.

    It is ``JAXSTYLE_CACHE``, else ``jaxstyle`` in ``XDG_CACHE_HOME``, else
    ``~/.cache/jaxstyle``.

    Returns:
        The folder, which need not exist yet.

    Examples:
        >>> jaxstyle.files.cache_folder().is_absolute()
        True
    """
    if own := os.environ.get("JAXSTYLE_CACHE"):
        return Path(own)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "jaxstyle"


def _fetch(url: str, part: Path, *, largest: int | None, quiet: bool) -> int | None:
    """Append what is missing; return the length of the whole if it is known."""
    with explained(f"cannot download {url}"):
        tag = _tag_path(part)
        known = tag.read_text() if tag.is_file() else None
        start = part.stat().st_size if part.exists() else 0
        response = _open(url, start=start, tag=known)
    if response is None:  # nothing is missing
        return None
    mode = "ab" if response.status == http.HTTPStatus.PARTIAL_CONTENT else "wb"
    try:
        with response, part.open(mode) as file:
            start, rest = file.tell(), _content_length(response, url)
            length = None if rest is None else start + rest
            _check_length(length or 0, largest, url=url)
            if etag := _strong_tag(response):
                tag.write_text(etag)
            with _bar(part.stem, length, quiet=quiet, initial=start) as bar:
                for chunk in _chunks(response):
                    bar.update(file.write(chunk))
                    _check_length(file.tell(), largest, url=url)
    except OSError as error:
        hint = "; free some and try again" if error.errno == errno.ENOSPC else ""
        raise ValueError(f"cannot write {part}: {error.strerror}{hint}") from error
    return length


class _TooLargeError(ValueError):
    """A file has more bytes than are allowed."""


def _check_length(length: int, largest: int | None, *, url: str) -> None:
    if largest is not None and length > largest:
        raise _TooLargeError(f"{url} has more than {largest} bytes, too many")


def _content_length(response: Any, url: str) -> int | None:
    """Read how many bytes a server announces; a ValueError if that is no number."""
    text = response.headers.get("Content-Length")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"{url} announces a length of {text!r} bytes")
    return int(text)


def _strong_tag(response: Any) -> str | None:
    """Read the tag that equal files alone have, if the server gives one."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') and tag.isascii() else None


class _StayOnTheWeb(urllib.request.HTTPRedirectHandler):
    """Follow redirects to addresses of the web only, and not to FTP."""

    def redirect_request(
        self, request: Any, response: Any, *rest: Any
    ) -> urllib.request.Request | None:
        address = rest[-1]
        if not address.startswith(("http://", "https://")):
            response.close()
            raise urllib.error.URLError(f"it redirects to {address}")
        return super().redirect_request(request, response, *rest)


def _open(url: str, *, start: int, tag: str | None) -> Any:
    """Request everything after ``start`` bytes; return ``None`` if that is nothing.

    A server whose file no longer has the tag sends all of it.
    """
    headers = {"User-Agent": f"jaxstyle/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if start and tag:
        headers["If-Range"] = tag
    opener = urllib.request.build_opener(_StayOnTheWeb)
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield data until the end, until the connection breaks or is too slow."""
    begun, received = time.monotonic(), 0
    try:
        for chunk in iter(partial(response.read1, _CHUNK), b""):
            yield chunk
            received += len(chunk)
            if (seconds := time.monotonic() - begun) > PATIENCE:
                if received < SLOWEST * seconds:
                    return
                begun, received = time.monotonic(), 0
    except (OSError, http.client.HTTPException):
        return  # `download` compares the lengths


def _check_sum(part: Path, expected: Checksum, *, url: str, quiet: bool) -> None:
    """Delete a downloaded file, and raise, unless it is the published one."""
    digest = hashlib.new(expected.algorithm, usedforsecurity=False)
    with (
        part.open("rb") as file,
        _bar(f"checking {part.stem}", part.stat().st_size, quiet=quiet) as bar,
    ):
        for chunk in iter(partial(file.read, _CHUNK), b""):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != expected.digits:
        part.unlink()
        raise ValueError(
            f"what {url} sent is not the published file: its "
            f"{_NAMES[expected.algorithm]} sum is {digest.hexdigest()}, expected "
            f"{expected.digits}; nothing was kept"
        )


def _bar(name: str, total: int | None, *, quiet: bool, initial: int = 0) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=name,
        total=total,
        initial=initial,
        unit="B",
        unit_scale=True,
        disable=quiet or None,  # off if nobody watches a terminal
    )
