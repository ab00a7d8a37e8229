"""Sources of encoded images: folders, TFDS data sets, and parts of them."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from record_samples import (
    encode,
    gradient,
    masked_sum,
    write_photos,
    write_tfds,
    write_tfrecords,
)

from jaxstyle.data.checksums import crc32c, masked_crc32c
from jaxstyle.data.crops import Crop, CropReader, Report
from jaxstyle.data.sources import Source, hold_out, open_source
from jaxstyle.data.tfds_records import index_tfrecord
from jaxstyle.files.image_decoding import SUFFIXES


def everything(source: Source) -> list[tuple[str, bytes]]:
    return [(source[i].name, source[i].data) for i in range(len(source))]


def refusal(
    data: Path | str, data_dir: Path | None = None, split: str = "train"
) -> str:
    """Return the one line that says why data cannot be opened."""
    with pytest.raises(ValueError, match=re.escape(str(data))) as caught:
        open_source(str(data), data_dir=data_dir, split=split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- folders ------------------------------------------------------------------------


def test_a_folder_gives_its_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.PNG", "c/d/e.webp", "a.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = open_source(str(tmp_path))
    names = ["a.jpeg", "a/z.PNG", "b.jpg", "c/d/e.webp"]
    assert everything(source) == [(name, name.encode()) for name in names]
    assert source.name == str(tmp_path)


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    for name in ("notes.txt", "._a.jpg", ".thumbnails/b.jpg", "jpg", "labels.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert refusal(tmp_path) == (
        f"no images in the folder {tmp_path}: expected files that end in "
        f"{', '.join(SUFFIXES)}"
    )


def test_a_fingerprint_follows_names_and_sizes_but_not_the_place(
    tmp_path: Path,
) -> None:
    write_photos(tmp_path / "one", 3)
    write_photos(tmp_path / "two", 3)
    before = open_source(str(tmp_path / "one")).fingerprint
    assert len(before) == 16
    assert open_source(str(tmp_path / "two")).fingerprint == before
    (tmp_path / "two" / "001.jpg").rename(tmp_path / "two" / "003.jpg")
    assert open_source(str(tmp_path / "two")).fingerprint != before
    (tmp_path / "one" / "002.jpg").write_bytes(b"less")
    assert open_source(str(tmp_path / "one")).fingerprint != before


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal("./photos").startswith("no data ./photos: expected a folder")
    assert "expected a folder" in refusal(tmp_path / "absent")
    assert "expected a folder" in refusal("photos/one.png")
    (tmp_path / "photo").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert "expected a folder" in refusal("photo")
    message = refusal("coco/2014", data_dir=tmp_path)
    assert message.endswith(
        f"prepare it with: jaxstyle data coco/2014 --data-dir {tmp_path}"
    )


def test_the_place_of_tfds_is_searched_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path))
    write_tfds(tmp_path, "birds", [encode(gradient(20, 10))])
    assert len(open_source("birds")) == 1
    assert refusal("fish").endswith("prepare it with: jaxstyle data fish")


# --- TFDS ---------------------------------------------------------------------------


@pytest.fixture
def images() -> list[bytes]:
    return [encode(gradient(20 + i, 10, blue=i)) for i in range(7)]


def test_records_are_the_encoded_images(tmp_path: Path, images: list[bytes]) -> None:
    write_tfds(tmp_path, "birds", images)
    source = open_source("birds", data_dir=tmp_path)
    names = [f"birds record {i}" for i in range(7)]
    assert [record.name for record in map(source.__getitem__, range(7))] == names
    assert [data for _, data in everything(source)] == images
    assert source.name == "birds"


def test_its_folder_may_be_given(tmp_path: Path, images: list[bytes]) -> None:
    folder = write_tfds(tmp_path, "birds", images)
    by_name = open_source("birds:1.0.0", data_dir=tmp_path)
    by_folder = open_source(str(folder))
    assert everything(by_folder) == everything(by_name)
    assert by_folder.fingerprint == by_name.fingerprint


def test_a_part_of_a_split_may_be_asked_for(
    tmp_path: Path, images: list[bytes]
) -> None:
    write_tfds(tmp_path, "birds", images, shards=3)
    for convert in (False, True):
        if convert:
            write_tfrecords(tmp_path / "birds" / "1.0.0")
        source = open_source("birds", data_dir=tmp_path, split="train[2:6]")
        assert [data for _, data in everything(source)] == images[2:6]
        whole = open_source("birds", data_dir=tmp_path)
        assert [data for _, data in everything(whole)] == images
        assert source.fingerprint != whole.fingerprint


def test_the_newest_version_is_taken(tmp_path: Path, images: list[bytes]) -> None:
    write_tfds(tmp_path, "birds", images[:2], version="1.9.0")
    write_tfds(tmp_path, "birds", images[:3], version="1.10.0")
    assert len(open_source("birds", data_dir=tmp_path)) == 3
    assert len(open_source("birds:1.9.0", data_dir=tmp_path)) == 2
    assert "no data birds:2.0.0" in refusal("birds:2.0.0", tmp_path)


def test_tfrecord_files_are_as_tfds_writes_them(
    tmp_path: Path, images: list[bytes]
) -> None:
    """Grain's own reader, which checks the sums, reads what the tests write."""
    import grain

    folder = write_tfds(tmp_path, "birds", images)
    write_tfrecords(folder)
    (path,) = folder.glob("*.tfrecord*")
    records = list(grain.experimental.TFRecordIterDataset(str(path)))
    assert len(records) == 7
    assert all(image in record for image, record in zip(images, records, strict=True))


def test_a_truncated_tfrecord_file_is_named(
    tmp_path: Path, images: list[bytes]
) -> None:
    folder = write_tfds(tmp_path, "birds", images)
    write_tfrecords(folder)
    (path,) = folder.glob("*.tfrecord*")
    source = open_source("birds", data_dir=tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f"{path} breaks off within its record 6"):
        source[0]


def test_a_damaged_record_leaves_the_others_readable(
    tmp_path: Path, images: list[bytes]
) -> None:
    """In each place of a record one bit is flipped: header, names, pixels, sums."""
    folder = write_tfds(tmp_path, "birds", images)
    write_tfrecords(folder)
    (path,) = folder.glob("*.tfrecord*")
    whole = path.read_bytes()
    source = open_source("birds", data_dir=tmp_path)
    start, length = (int(x) for x in index_tfrecord(path)[2])
    for place in (-12, -9, -5, -1, 3, 17, 20, 99, length - 1, length, length + 3):
        damaged = bytearray(whole)
        damaged[start + place] ^= 4
        path.write_bytes(damaged)
        source = open_source("birds", data_dir=tmp_path)
        reason = "header is damaged" if place < 0 else "checksum is wrong"
        with pytest.raises(ValueError, match=f"cannot read record 2: .*{reason}"):
            source[2]
        kept = [source[i].data for i in range(7) if i != 2]
        assert kept == images[:2] + images[3:]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 127, 128, 129, 511, 1024, 1025, 5000])
def test_checksums_are_those_of_tfrecord_files(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert struct.pack("<I", masked_crc32c(data)) == masked_sum(data)
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the standard


def test_a_damaged_array_record_leaves_the_others_readable(
    tmp_path: Path, images: list[bytes]
) -> None:
    folder = write_tfds(tmp_path, "birds", images)
    (path,) = folder.glob("*array_record*")
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        report = Report()
        try:
            source = open_source("birds", data_dir=tmp_path)
            reader = CropReader(source, 4, (4, 4), report)
            center = Crop(4, 0.5, 0.5, mirrored=False)
            crops = [reader.try_crop(i, center) for i in range(7)]
        except ValueError:
            continue
        assert report.counts["skipped"] == sum(crop is None for crop in crops)


def test_a_missing_file_is_named(tmp_path: Path, images: list[bytes]) -> None:
    folder = write_tfds(tmp_path, "birds", images, shards=2)
    gone = sorted(folder.glob("*array_record*"))[1]
    gone.unlink()
    assert f"1 of 2 files are missing, the first is {gone}" in refusal(folder)


def test_damaged_metadata_are_one_clear_line(
    tmp_path: Path, images: list[bytes]
) -> None:
    folder = write_tfds(tmp_path, "birds", images)
    (folder / "dataset_info.json").write_text("{")
    assert f"cannot open the TFDS data in {folder}" in refusal(folder)
    assert "cannot open the TFDS data birds" in refusal("birds", tmp_path)


def test_an_absent_split_is_refused(tmp_path: Path, images: list[bytes]) -> None:
    write_tfds(tmp_path, "birds", images)
    message = refusal("birds", tmp_path, split="test")
    assert message.endswith("holds no split 'test'; it holds train")


def test_a_data_set_without_images_is_refused(tmp_path: Path) -> None:
    write_tfds(tmp_path, "words", ["one", "two"])
    message = refusal("words", tmp_path)
    assert message == ("words has no feature `image` that holds an image; it has text")


def test_files_that_only_tensorflow_reads_are_refused(
    tmp_path: Path, images: list[bytes]
) -> None:
    folder = write_tfds(tmp_path, "birds", images)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "riegeli"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for path in folder.glob("*array_record*"):
        path.rename(str(path).replace("array_record", "riegeli"))
    assert "riegeli files, which only TensorFlow reads" in refusal(folder)


# --- holding out --------------------------------------------------------------------


@pytest.mark.parametrize(("total", "count"), [(10, 3), (7, 6), (5, 1), (100, 32)])
def test_held_out_records_are_evenly_spaced(
    tmp_path: Path, total: int, count: int
) -> None:
    for number in range(total):
        (tmp_path / f"{number:03d}.jpg").write_bytes(bytes([number]))
    source = open_source(str(tmp_path))
    training, validation = hold_out(source, count)
    held = [record.data[0] for record in map(validation.__getitem__, range(count))]
    kept = [training[i].data[0] for i in range(len(training))]
    assert sorted(held + kept) == list(range(total))
    assert kept == sorted(kept)
    gaps = np.diff(held)
    assert (gaps >= total // count).all()
    assert (gaps <= -(-total // count)).all()
    prints = {s.fingerprint for s in (source, training, validation)}
    assert len(prints) == 3
    assert hold_out(source, count)[0].fingerprint == training.fingerprint


def test_holding_out_nothing_keeps_everything(tmp_path: Path) -> None:
    write_photos(tmp_path, 3)
    source = open_source(str(tmp_path))
    training, validation = hold_out(source, 0)
    assert everything(training) == everything(source)
    assert len(validation) == 0


@pytest.mark.parametrize("count", [-1, 3, 4])
def test_something_must_be_left_for_training(tmp_path: Path, count: int) -> None:
    write_photos(tmp_path, 3)
    source = open_source(str(tmp_path))
    with pytest.raises(ValueError, match=f"cannot hold out {count} of the 3 images"):
        hold_out(source, count)
