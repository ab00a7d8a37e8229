"""Downloads: whole or not at all, and never twice."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from record_samples import FileServer, serve

from jaxstyle.files import downloads
from jaxstyle.files.downloads import Checksum, download, missing_bytes, partial_path

BODY = np.random.default_rng(0).bytes(300_000)
SUM = Checksum("sha256", hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve({"file": BODY}) as running:
        yield running


def refusal(server: FileServer, path: Path, checksum: Checksum | None = SUM) -> str:
    """Return the line that says why a download failed; there is no file."""
    with pytest.raises(ValueError, match="http") as caught:
        download(server.url("file"), path, checksum=checksum, quiet=True)
    assert not path.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_arrives_whole(
    server: FileServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    terminal: None,
) -> None:
    download(server.url("file"), tmp_path / "x", checksum=SUM)
    assert (tmp_path / "x").read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]
    assert "300k/300k" in capfd.readouterr().err


def test_quiet_downloads_show_nothing(
    server: FileServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    download(server.url("file"), tmp_path / "x", checksum=SUM, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_a_broken_download_goes_on_where_it_stopped(
    server: FileServer, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    server.breaks_after = 120_000
    assert "broke off after 120000 of 300000 bytes; try again" in refusal(server, path)
    assert missing_bytes(path, len(BODY)) == 180_000
    assert "broke off after 240000 of 300000 bytes" in refusal(server, path)
    download(server.url("file"), path, checksum=SUM, quiet=True)
    assert path.read_bytes() == BODY
    wanted = [bytes_ for _, bytes_ in server.requests]
    assert wanted == [None, "bytes=120000-", "bytes=240000-"]
    assert missing_bytes(path, len(BODY)) == 0


def test_a_server_that_only_sends_all_of_it_is_read_from_the_start(
    server: FileServer, tmp_path: Path
) -> None:
    server.ranges = False
    partial_path(tmp_path / "x").write_bytes(b"some bytes of another file")
    download(server.url("file"), tmp_path / "x", checksum=SUM, quiet=True)
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_part_that_is_the_whole_is_checked_and_kept(
    server: FileServer, tmp_path: Path
) -> None:
    partial_path(tmp_path / "x").write_bytes(BODY)
    download(server.url("file"), tmp_path / "x", checksum=SUM, quiet=True)
    assert (tmp_path / "x").read_bytes() == BODY


def test_another_file_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    wrong = Checksum("md5", "0" * 32)
    message = refusal(server, tmp_path / "x", wrong)
    got = hashlib.md5(BODY).hexdigest()
    assert f"its MD5 sum is {got}, expected {wrong.digits}" in message
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_file_is_found_out(
    server: FileServer, tmp_path: Path
) -> None:
    partial_path(tmp_path / "x").write_bytes(bytes(1000))
    assert "is not the published file: its SHA-256 sum is" in refusal(
        server, tmp_path / "x"
    )
    download(server.url("file"), tmp_path / "x", checksum=SUM, quiet=True)
    assert (tmp_path / "x").read_bytes() == BODY


def test_an_absent_file_is_one_clear_line(server: FileServer, tmp_path: Path) -> None:
    server.files.clear()
    assert refusal(server, tmp_path / "x").endswith("HTTP Error 404: Not Found")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_clear_line(
    server: FileServer, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"cannot write .*nowhere.*No such file"):
        download(server.url("file"), tmp_path / "nowhere" / "x", quiet=True)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(
    server: FileServer, tmp_path: Path
) -> None:
    # A device that is always full stands for the disk.
    partial_path(tmp_path / "x").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"cannot write .*No space left.*free some"):
        download(server.url("file"), tmp_path / "x", quiet=True)


def test_a_killed_download_goes_on_where_it_stopped(
    server: FileServer, tmp_path: Path
) -> None:
    path, part = tmp_path / "x", partial_path(tmp_path / "x")
    server.pauses_after = 100_000
    program = (
        "import sys; from pathlib import Path;"
        "from jaxstyle.files.downloads import download;"
        "download(sys.argv[1], Path(sys.argv[2]), quiet=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, server.url("file"), str(path)]
    ) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -9
    server.go_on.set()
    kept = part.stat().st_size
    assert 0 < kept <= 100_000
    server.pauses_after = None
    download(server.url("file"), path, checksum=SUM, quiet=True)
    assert server.requests[-1] == ("/file", f"bytes={kept}-")
    assert path.read_bytes() == BODY


def test_a_server_that_is_too_slow_is_left(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PATIENCE", 0.1)
    server.drips = True
    message = refusal(server, tmp_path / "x")
    assert "broke off after" in message
    assert partial_path(tmp_path / "x").stat().st_size < 1000
    server.drips = False
    download(server.url("file"), tmp_path / "x", checksum=SUM, quiet=True)
    assert (tmp_path / "x").read_bytes() == BODY


@pytest.mark.parametrize("changed", [False, True])
def test_a_download_goes_on_only_with_the_same_file(
    server: FileServer, tmp_path: Path, changed: bool
) -> None:
    server.tag, server.breaks_after = '"1"', 120_000
    refusal(server, tmp_path / "x")
    server.breaks_after = None
    body = BODY[::-1] if changed else BODY
    if changed:
        server.tag, server.files["file"] = '"2"', body
    download(server.url("file"), tmp_path / "x", quiet=True)
    assert (tmp_path / "x").read_bytes() == body
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


@pytest.mark.parametrize("length", ["many", "-1", "1e5", "9" * 30, "12 12"])
def test_a_length_that_is_no_number_is_one_clear_line(
    server: FileServer, tmp_path: Path, length: str
) -> None:
    server.length = length
    assert f"announces a length of {length!r} bytes" in refusal(server, tmp_path / "x")


@pytest.mark.parametrize("scheme", ["ftp", "file", "data"])
def test_redirects_stay_on_the_web(
    server: FileServer, tmp_path: Path, scheme: str
) -> None:
    server.redirect = f"{scheme}://127.0.0.1/file"
    message = refusal(server, tmp_path / "x")
    assert message.startswith(f"cannot download {server.url('file')}: ")
    assert scheme in message
