"""``jaxstyle data`` prepares COCO from its zip files, whatever goes wrong."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from coco_samples import Published, data, needs_coco
from full_disk import small_files

from jaxstyle.data import coco, tfds_records
from jaxstyle.data.sources import open_source

pytestmark = needs_coco


def test_the_command_says_what_it_needs_and_what_it_did(
    published: Published,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    terminal: None,
) -> None:
    assert data("coco/2017", tmp_path) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "coco" / "2017_train" / "1.1.0"
    assert out == f"coco/2017 is ready: 40 images for training in {folder}\n"
    first = err.splitlines()[0]
    size = sum(info.size for url, info in published.infos.items() if "2017" in url)
    readable = tfds_records.readable
    assert first.startswith(
        f"coco/2017: {readable(size)} to download, {readable(2 * size)} needed of the "
        f"disk in {tmp_path}, "
    )
    assert "40/40" in err
    zips = tmp_path / "downloads" / "manual"
    assert f"the zip files in {zips} are not needed any more" in err
    names = {path.name for path in zips.iterdir()}
    assert names == {"train2017.zip", "annotations_trainval2017.zip"}


def test_a_broken_download_goes_on_where_it_stopped(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.server.breaks_after = 3_000_000
    assert data("coco/2014", tmp_path, "--quiet") == 2
    message = capsys.readouterr().err
    assert "zips/train2014.zip broke off after 3000000 of " in message
    assert len(message.splitlines()) == 1
    published.server.breaks_after = None
    assert data("coco/2014", tmp_path, "--quiet") == 0
    assert published.asked == [
        ("train2014.zip", None),
        ("train2014.zip", "bytes=3000000-"),
        ("annotations_trainval2014.zip", None),
    ]
    source = open_source("coco/2014", data_dir=tmp_path)
    assert {source[i].data for i in range(len(source))} == set(
        published.images[2014].values()
    )


def test_zip_files_that_are_there_are_used_and_kept(
    published: Published, tmp_path: Path
) -> None:
    zips = tmp_path / "downloads" / "manual"
    zips.mkdir(parents=True)
    (zips / "notes.txt").write_text("mine")
    for path, content in published.server.files.items():
        (zips / Path(path).name).write_bytes(content)
    before = {path: path.read_bytes() for path in zips.iterdir()}
    assert data("coco/2014", tmp_path, "--quiet") == 0
    assert published.asked == []
    assert {path: path.read_bytes() for path in zips.iterdir()} == before


def test_another_zip_file_is_refused_and_kept(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zips = tmp_path / "downloads" / "manual"
    zips.mkdir(parents=True)
    (zips / "train2014.zip").write_bytes(b"something else")
    assert data("coco/2014", tmp_path, "--quiet") == 2
    message = capsys.readouterr().err
    assert f"a zip file in {zips} is not the published one" in message
    assert "train2014.zip" in message
    assert len(message.splitlines()) == 1
    assert (zips / "train2014.zip").read_bytes() == b"something else"
    assert not list(tmp_path.glob("coco/2014_train/*"))


def test_what_is_not_the_published_file_is_not_kept(
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = "zips/train2014.zip"
    content = published.server.files[key]
    monkeypatch.setitem(published.server.files, key, content[:-1] + b"x")
    assert data("coco/2014", tmp_path, "--quiet") == 2
    assert "is not the published file: its SHA-256 sum" in capsys.readouterr().err
    assert list((tmp_path / "downloads" / "manual").iterdir()) == []


def test_a_small_disk_is_refused_beforehand(
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = sum(info.size for url, info in published.infos.items() if "2014" in url)
    usage = shutil.disk_usage(tmp_path)
    for free in (2 * size - 1, 2 * size):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _, free=free: usage._replace(free=free)
        )
        code = data("coco/2014", tmp_path, "--quiet")
        message = capsys.readouterr().err
        if free < 2 * size:
            assert code == 2
            assert "error: not enough room for coco/2014: " in message
            assert message.endswith("use another --data-dir\n")
            assert published.asked == []
    assert code == 0


@pytest.mark.parametrize(
    ("year", "sizes"),
    [
        (2014, "12.8 GiB to download, 25.6 GiB needed"),
        (2017, "18.2 GiB to download, 36.5 GiB needed"),
    ],
)
def test_what_tfds_lists_for_coco_itself_is_what_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    year: int,
    sizes: str,
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    assert data(f"coco/{year}", tmp_path) == 2
    message = capsys.readouterr().err
    assert f"error: not enough room for coco/{year}: {sizes} of the disk" in message
    assert ", 1.0 GiB free; " in message


def test_two_at_once_are_refused(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "downloads").mkdir()
    with coco._alone(tmp_path / "downloads"):
        assert data("coco/2014", tmp_path) == 2
    assert "another process is preparing data in" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_one_clear_line(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("coco/2014", tmp_path, "--quiet") == 0
    config = tmp_path / "coco" / "2014_train"
    shutil.rmtree(config)
    with small_files(2_000_000):
        assert data("coco/2014", tmp_path, "--quiet") == 2
    message = capsys.readouterr().err
    assert f"error: cannot write the records to {config / '1.1.0'}: " in message
    assert message.endswith("the zip files are kept, try again\n")
    assert len(message.splitlines()) == 1
    assert list(config.iterdir()) == []
    assert data("coco/2014", tmp_path, "--quiet") == 0


PROGRAM = """
import os, signal, sys, warnings
warnings.simplefilter("error")
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.object_detection.coco import Coco
from jaxstyle.data import coco
from jaxstyle.cli.main import main

zips, data_dir, images = sys.argv[1:]
Coco.url_infos = {
    coco.ROOT + kind + name: checksums.compute_url_info(zips + "/" + name)
    for kind, name in [
        ("zips/", "train2014.zip"), ("annotations/", "annotations_trainval2014.zip")
    ]
}
read = coco._read_images

def read_and_die(*arguments, **options):
    for number, example in enumerate(read(*arguments, **options)):
        if number == int(images):
            os.kill(os.getpid(), signal.SIGKILL)
        yield example

coco._read_images = read_and_die
code = main(["data", "coco/2014", "--data-dir", data_dir, "--quiet"])
assert "tensorflow" not in sys.modules
sys.exit(code)
"""


def test_a_killed_preparation_starts_again_and_needs_no_tensorflow(
    published_once: Published, tmp_path: Path
) -> None:
    zips = tmp_path / "downloads" / "manual"
    zips.mkdir(parents=True)
    for path, content in published_once.server.files.items():
        (zips / Path(path).name).write_bytes(content)

    def prepare(*, images: int) -> tuple[int, str, str]:
        arguments = map(str, (zips, tmp_path, images))
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    assert prepare(images=20) == (-signal.SIGKILL, "", "")
    config = tmp_path / "coco" / "2014_train"
    (left,) = config.iterdir()
    assert left.name.startswith("incomplete.")
    code, out, err = prepare(images=1000)
    assert (code, err) == (0, "")
    assert out.startswith("coco/2014 is ready: 40 images")
    assert [path.name for path in config.iterdir()] == ["1.1.0"]
