"""COCO by the genuine builder, through the command line, from zips as published."""

import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from command_line import run
from full_disk import small_files
from record_samples import FileServer, needs_coco, serve, write_coco, write_tfrecords
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.object_detection.coco import AnnotationType, Coco

from jaxstyle import coco, preparation
from jaxstyle.data import Report, make_batches
from jaxstyle.sources import open_source

pytestmark = needs_coco

YEARS = (2014, 2017)


class Published:
    """A server with the zip files of some of COCO, which the builder expects there."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        self.server = server
        self.images = {year: write_coco(folder, year, count=40) for year in YEARS}
        self.infos = {}
        for path in folder.iterdir():
            kind = "annotations" if "annotations" in path.name else "zips"
            server.files[f"{kind}/{path.name}"] = path.read_bytes()
            url = server.url(f"{kind}/{path.name}")
            self.infos[url] = checksums.compute_url_info(path)

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """What was asked of the server: file names and ranges."""
        return [(path.rpartition("/")[2], part) for path, part in self.server.requests]


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with serve({}) as server:
        yield Published(tmp_path_factory.mktemp("zips"), server)


@pytest.fixture
def published(published_once: Published, monkeypatch: pytest.MonkeyPatch) -> Published:
    server = published_once.server
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(coco, "ROOT", server.url(""))
    monkeypatch.setattr(Coco, "url_infos", published_once.infos)
    server.requests.clear()
    server.breaks_after = None
    return published_once


@pytest.fixture(scope="module")
def prepared(
    published_once: Published, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a data folder in which both years are prepared."""
    data_dir = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(coco, "ROOT", published_once.server.url(""))
        monkeypatch.setattr(Coco, "url_infos", published_once.infos)
        # Several shards, as the whole of COCO has.
        monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 2**20)
        for year in YEARS:
            assert data(f"coco/{year}", data_dir, "--quiet") == 0
    return data_dir


def data(name: str, data_dir: Path, *options: str) -> int:
    return run(["data", name, "--data-dir", data_dir, *options])


# --- what is prepared ---------------------------------------------------------------


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_the_images_are_those_of_the_zip_file_to_the_byte(
    prepared: Path,
    published_once: Published,
    tmp_path: Path,
    year: int,
    file_format: str,
) -> None:
    data_dir = prepared
    if file_format == "tfrecord":
        data_dir = tmp_path
        folder = tmp_path / "coco" / f"{year}_train" / "1.1.0"
        shutil.copytree(prepared / "coco" / f"{year}_train" / "1.1.0", folder)
        write_tfrecords(folder)
    source = open_source(f"coco/{year}", data_dir=data_dir)
    images = [source[i].data for i in range(len(source))]
    assert len(images) == 40
    assert set(images) == set(published_once.images[year].values())
    assert source.name == f"coco/{year}_train"
    report = Report()
    with closing(
        make_batches(source, size=64, batch=8, seed=0, report=report)
    ) as batches:
        taken = np.stack([next(batches) for _ in range(5)])
    assert taken.shape == (5, 8, 64, 64, 3)
    assert min(batch.std() for batch in taken) > 40
    assert report.counts["skipped"] == 0


class Generated(Coco, skip_registration=True):  # type: ignore[misc, call-arg]
    """The original, with its own order, files and names, without TensorFlow."""

    name = "coco"
    BUILDER_CONFIGS = Coco.BUILDER_CONFIGS
    zips = Path()
    _info = coco.TrainOnlyCoco._info

    def _split_generators(self, dl_manager: Any) -> Any:
        split = self.builder_config.splits[0]
        for name in (split.images, split.annotations):
            with zipfile.ZipFile(self.zips / f"{name}.zip") as archive:
                archive.extractall(self.zips / "extracted" / name)
        return {
            "train": self._generate_examples(
                self.zips / "extracted" / split.images,
                self.zips / "extracted" / split.annotations,
                split.images,
                AnnotationType.BBOXES,
                None,
            )
        }


@pytest.fixture(scope="module")
def stock(published_once: Published, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder in which TFDS's own builder has prepared coco/2014."""
    data_dir = tmp_path_factory.mktemp("stock")
    for path, content in published_once.server.files.items():
        (data_dir / Path(path).name).write_bytes(content)
    Generated.zips = data_dir
    tfds.disable_progress_bar()
    builder = Generated(config="2014", data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return data_dir


def test_records_and_their_order_are_those_of_the_original(
    prepared: Path, stock: Path
) -> None:
    folder = prepared / "coco" / "2014_train" / "1.1.0"
    ours = tfds.builder_from_directory(folder)
    original = tfds.builder_from_directory(stock / "coco" / "2014" / "1.1.0")
    assert len(ours.info.splits["train"].file_instructions) == 4
    assert ours.info.features.to_json() == original.info.features.to_json()
    names = [b.info.features["objects"]["label"].names for b in (ours, original)]
    assert names[0] == names[1]
    assert len(names[0]) == 80
    records = [list(b.as_data_source("train").data_source) for b in (ours, original)]
    assert records[0] == records[1]


def test_what_the_original_has_prepared_is_found(stock: Path, prepared: Path) -> None:
    for name in ("coco/2014", "coco/2014:1.1.0"):
        source = open_source(name, data_dir=stock)
        assert source.name == "coco/2014"
        ours = open_source(name, data_dir=prepared)
        assert [source[i].data for i in range(40)] == [ours[i].data for i in range(40)]


def test_programs_that_use_tfds_read_it(
    prepared: Path, published_once: Published
) -> None:
    records = tfds.data_source(
        "coco/2017_train:1.1.0",
        split="train",
        data_dir=prepared,
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    images = published_once.images[2017]
    for record in records:
        assert record["image"] == images[record["image/filename"].decode()]
    objects = [len(record["objects"]["label"]) for record in records]
    assert max(objects) > 5


# --- the command --------------------------------------------------------------------


def test_the_command_says_what_it_needs_and_what_it_did(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("coco/2017", tmp_path) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "coco" / "2017_train" / "1.1.0"
    assert out == f"coco/2017 is ready: 40 images for training in {folder}\n"
    first = err.splitlines()[0]
    size = sum(info.size for url, info in published.infos.items() if "2017" in url)
    readable = preparation.readable
    assert first.startswith(
        f"coco/2017: {readable(size)} to download, {readable(2 * size)} needed of the "
        f"disk in {tmp_path}, "
    )
    assert "40/40" in err
    zips = tmp_path / "downloads" / "manual"
    assert f"the zip files in {zips} are not needed any more" in err
    names = {path.name for path in zips.iterdir()}
    assert names == {"train2017.zip", "annotations_trainval2017.zip"}


def test_a_second_run_says_that_it_is_there_already(
    prepared: Path, published: Published, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("coco/2014", "coco/2014:1.1.0"):
        assert data(name, prepared) == 0
        folder = prepared / "coco" / "2014_train" / "1.1.0"
        expected = f"{name} is there already: 40 images for training in {folder}\n"
        assert capfd.readouterr() == (expected, "")
    assert published.asked == []


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
    with preparation._alone(tmp_path / "downloads"):
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
from jaxstyle import coco
from jaxstyle.cli import main

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
