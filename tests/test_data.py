"""Batches of crops: the same for a seed whatever happens, random, and never the end."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image, ImageFile
from record_samples import blues, encode, gradient, take, write_photos, write_tfds

from jaxstyle.data.batches import (
    Report,
    make_batches,
    prefetch_to_device,
    read_squares,
    validation_batches,
)
from jaxstyle.data.crops import Crop, decode
from jaxstyle.data.sources import Record, Source, open_source

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


# --- the same for a seed ------------------------------------------------------------


def test_batches_are_bytes_of_rgb(source: Source) -> None:
    batches = take(source, 3)
    assert batches.shape == (3, 4, 16, 16, 3)
    assert batches.dtype == np.uint8


def test_a_seed_gives_the_same_batches_and_another_seed_others(source: Source) -> None:
    first = take(source, 8)
    np.testing.assert_array_equal(take(source, 8, workers=1), first)
    np.testing.assert_array_equal(take(source, 8, workers=5), first)
    other = take(source, 8, seed=2)
    assert not any((other == batch).all((1, 2, 3, 4)).any() for batch in first)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 40])
def test_a_run_goes_on_where_it_stopped(source: Source, start: int) -> None:
    # 10 images in batches of 4: epochs end within batches.
    whole = take(source, start + 5)
    np.testing.assert_array_equal(take(source, 5, start=start), whole[start:])


@pytest.mark.parametrize("batch", [1, 3, 10, 11])
def test_any_batch_takes_the_same_crops_in_the_same_order(
    source: Source, batch: int
) -> None:
    crops = take(source, 3, batch=batch, start=2)
    expected = take(source, 14).reshape(-1, *crops.shape[2:])
    np.testing.assert_array_equal(
        crops.reshape(-1, *crops.shape[2:]), expected[2 * batch : 5 * batch]
    )


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch(source: Source, processes: int) -> None:
    parts = [
        take(source, 6, process_index=index, process_count=processes)
        for index in range(processes)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), take(source, 6))


def test_folders_and_records_of_the_same_images_give_the_same_batches(
    tmp_path: Path, source: Source
) -> None:
    write_tfds(tmp_path, "birds", [source[i].data for i in range(10)], shards=2)
    records = open_source("birds", data_dir=tmp_path)
    np.testing.assert_array_equal(take(records, 5), take(source, 5))


# --- random -------------------------------------------------------------------------


def test_every_epoch_has_all_images_in_an_order_of_its_own(source: Source) -> None:
    photos = np.reshape(blues(take(source, 20)), (8, 10))
    assert (np.sort(photos) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in photos}) == 8


def test_crops_are_of_all_sizes_and_places_and_half_are_mirrored(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.png").write_bytes(encode(gradient(400, 300), "PNG"))
    crops = take(open_source(str(tmp_path)), 100, shorter_side=(16, 48))
    crops = crops.reshape(400, 16, 16, 3).astype(float) / 255
    left, right = crops[:, :, 0, 0].mean(1), crops[:, :, -1, 0].mean(1)
    top, bottom = crops[:, 0, :, 1].mean(1), crops[:, -1, :, 1].mean(1)
    mirrored = left > right
    assert 0.4 < mirrored.mean() < 0.6
    assert (top < bottom).all()
    # From the centers of the first and last pixels to the edges.
    side = (bottom - top) * 16 / 15
    x = (np.minimum(left, right) - side * 3 / 4 / 32) * 4 / 3
    y = top - side / 32
    # 16/48 to 16/16 of the height, each of the 33 shorter sides alike.
    sizes = np.rint(16 / side).astype(int)
    assert set(range(16, 49)) >= set(sizes)
    assert len(set(sizes)) > 28
    assert 28 < sizes.mean() < 36
    room = side < 0.9
    for place, free in ((x, 4 / 3 - side), (y, 1 - side)):
        assert (place > -0.01).all()
        assert (place < free + 0.01).all()
        places = (place / free)[room]
        assert abs(places.mean() - 0.5) < 0.06
        assert places.min() < 0.05
        assert places.max() > 0.95
    assert abs(np.corrcoef(x[room], y[room])[0, 1]) < 0.3
    assert abs(np.corrcoef(mirrored[room], (x / (4 / 3 - side))[room])[0, 1]) < 0.2


def test_the_range_of_sizes_starts_at_the_crop(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(gradient(64, 64), "PNG"))
    source = open_source(str(tmp_path))
    whole = take(source, 1, size=64, shorter_side=(16, 32))[0]
    for crop in whole:
        crop = crop if crop[0, 0, 0] == 0 else crop[:, ::-1]
        np.testing.assert_array_equal(crop, gradient(64, 64))


def test_cropping_and_resizing_at_once_equals_doing_both(tmp_path: Path) -> None:
    """Antialiased: the mean of all pixels stays, where others would alias."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (96, 128, 3), np.uint8))
    record = Record("noise", encode(noise, "PNG"))
    crop = decode(record, Crop(24, 0.5, 1, False), size=16, report=Report())
    resized = noise.resize((32, 24), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((8, 8, 24, 24)), float)
    np.testing.assert_allclose(crop[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1.01)
    assert crop.std() < 40 < np.asarray(noise).std()
    mirrored = decode(record, Crop(24, 0.5, 1, True), size=16, report=Report())
    np.testing.assert_array_equal(mirrored, crop[:, ::-1])


def test_a_large_jpeg_is_decoded_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    load = ImageFile.ImageFile.load

    def spy(image: ImageFile.ImageFile) -> Any:
        sizes.append(image.size)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", spy)
    record = Record("large", encode(gradient(640, 480), quality=95))
    crop = decode(record, Crop(60, 0, 0, False), size=60, report=Report())
    assert sizes[0] == (80, 60)
    expected = Image.fromarray(gradient(640, 480)).resize((80, 60)).crop((0, 0, 60, 60))
    np.testing.assert_allclose(crop, np.asarray(expected, int), atol=6)


# --- validation ---------------------------------------------------------------------


def test_validation_takes_every_center_once_in_order(tmp_path: Path) -> None:
    write_photos(tmp_path, 8, width=64, height=32)
    (tmp_path / "003.jpg").write_bytes(b"no image")
    source, report = open_source(str(tmp_path)), Report()
    batches = list(validation_batches(source, size=16, batch=3, report=report))
    assert [batch.shape for batch in batches] == [(3, 16, 16, 3)] * 2
    assert [
        round(blue * 8 / 255) for blue in np.stack(batches)[..., 2].mean((2, 3)).flat
    ] == [0, 1, 2, 4, 5, 6]
    assert report.counts == {"skipped": 1}
    image = Image.fromarray(gradient(64, 32, blue=0)).crop((16, 0, 48, 32))
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR), int)
    np.testing.assert_allclose(batches[0][0], expected, atol=6)
    again = list(validation_batches(source, size=16, batch=3, workers=1))
    np.testing.assert_array_equal(np.stack(again), np.stack(batches))


def test_fewer_images_than_a_batch_come_as_a_smaller_one(source: Source) -> None:
    (batch,) = validation_batches(source, size=8, batch=64)
    assert batch.shape == (10, 8, 8, 3)


def test_validation_may_be_broken_off(source: Source) -> None:
    batches = validation_batches(source, size=8, batch=2)
    next(batches)
    batches.close()


# --- all at once --------------------------------------------------------------------


def test_every_photo_gives_one_square_in_order(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(read_squares(source, side=18))
    assert [block.shape for block in whole] == [(10, 18, 18, 3)]
    assert blues(whole[0]) == list(range(10))
    monkeypatch.setattr("jaxstyle.data.batches.BLOCK", 4)
    parts = list(read_squares(source, side=18, workers=1))
    assert [len(block) for block in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])
    # The shorter side is whole, and the place along the longer one is random.
    left, right = (whole[0][:, 9, x, 0].astype(int) for x in (0, -1))
    np.testing.assert_allclose(np.abs(right - left), 255 * 2 / 3, atol=20)
    assert np.ptp(np.minimum(left, right)) > 40


def test_a_damaged_photo_is_replaced_by_another(tmp_path: Path) -> None:
    write_photos(tmp_path, 10)
    (tmp_path / "004.jpg").write_bytes(b"no image")
    report = Report()
    (squares,) = read_squares(open_source(str(tmp_path)), side=18, report=report)
    found = blues(squares)
    assert found.pop(4) in found
    assert found == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert report.counts == {"skipped": 1}


def test_photos_that_are_all_damaged_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"records of .* in a row cannot be decoded"):
        list(read_squares(open_source(str(tmp_path)), side=18))


# --- to the device ------------------------------------------------------------------


def test_batches_on_the_device_are_the_same(source: Source) -> None:
    expected = take(source, 6)
    batches = prefetch_to_device(
        make_batches(source, size=16, batch=4, seed=1, shorter_side=(16, 30))
    )
    got = [next(batches) for _ in range(6)]
    assert all(isinstance(batch, jax.Array) for batch in got)
    np.testing.assert_array_equal(np.stack(got), expected)
    batches.close()


def test_batches_may_be_sharded(source: Source) -> None:
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    batches = prefetch_to_device(
        make_batches(source, size=16, batch=4, seed=1, shorter_side=(16, 30)),
        sharding=sharding,
    )
    batch = next(batches)
    assert batch.sharding == sharding
    np.testing.assert_array_equal(batch, take(source, 1)[0])
    batches.close()


# --- arguments ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "expected a size and a batch of at least 1"),
        ({"batch": 0}, "expected a size and a batch of at least 1"),
        ({"start": -1}, "a start of at least 0, got 16, 4 and -1"),
        ({"shorter_side": (30, 20)}, "range of the shorter side, got 30 to 20"),
        ({"shorter_side": (0, 20)}, "range of the shorter side, got 0 to 20"),
        ({"process_count": 3}, "the batch must be a multiple of the processes"),
        ({"process_index": 1}, "process 1 of 1 cannot take"),
        ({"seed": -1}, "expected a seed from 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "expected a seed from 0 to 4294967295"),
    ],
)
def test_wrong_arguments_are_refused(
    source: Source, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        take(source, 1, **options)


def test_reading_needs_no_tensorflow(tmp_path: Path, source: Source) -> None:
    write_tfds(tmp_path, "birds", [source[i].data for i in range(4)])
    program = """
import sys, warnings
warnings.simplefilter("error")
from jaxstyle.data.batches import make_batches
from jaxstyle.data.sources import open_source
source = open_source("birds", data_dir=sys.argv[1])
batches = make_batches(source, size=8, batch=4, seed=0)
assert next(batches).shape == (4, 8, 8, 3)
batches.close()
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
