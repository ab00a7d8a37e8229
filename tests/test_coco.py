"""COCO by the genuine builder: what is prepared is what was published."""

import shutil
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from coco_samples import YEARS, Published, data, needs_coco
from record_samples import write_tfrecords
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.object_detection.coco import AnnotationType, Coco

from jaxstyle.data import coco
from jaxstyle.data.batches import Report, make_batches
from jaxstyle.data.sources import open_source

pytestmark = needs_coco


@pytest.fixture(scope="module")
def prepared(
    published_once: Published, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a data folder in which both years are prepared."""
    data_dir = tmp_path_factory.mktemp("data")
    with published_once.expected(), pytest.MonkeyPatch.context() as monkeypatch:
        # Several shards, as the whole of COCO has.
        monkeypatch.setattr(shard_utils.ShardConfig, "min_shard_size", 2**20)
        for year in YEARS:
            assert data(f"coco/{year}", data_dir, "--quiet") == 0
    return data_dir


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


def test_a_second_run_says_that_it_is_there_already(
    prepared: Path, published: Published, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("coco/2014", "coco/2014:1.1.0"):
        assert data(name, prepared) == 0
        folder = prepared / "coco" / "2014_train" / "1.1.0"
        expected = f"{name} is there already: 40 images for training in {folder}\n"
        assert capfd.readouterr() == (expected, "")
    assert published.asked == []
