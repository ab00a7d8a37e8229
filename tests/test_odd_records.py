"""Records that are damaged or odd: skipped or repaired, and reported."""

import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from record_samples import (
    blues,
    encode,
    gradient,
    take,
    write_photos,
    write_tfds,
    write_tfrecords,
)

from jaxstyle.data.batches import Report, validation_batches
from jaxstyle.data.crops import NAMES_LISTED, Crop, decode
from jaxstyle.data.sources import Record, Source, open_source

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def large_png(width: int, height: int) -> bytes:
    """Return a file of 80 bytes that claims to hold so many pixels."""
    whole = bytearray(encode(Image.new("L", (9, 9)), "PNG"))
    whole[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


PHOTO = gradient(60, 40)
JPEG = encode(PHOTO)

BAD = {
    "truncated": (JPEG[:-100], "image file is truncated"),
    "header alone": (JPEG[:300], "Truncated File Read"),
    "without its end": (encode(PHOTO, "PNG")[:-60], ""),
    "text": (b"this is text\n" * 40, "its format is unknown"),
    "empty": (b"", "its format is unknown"),
    "zeros": (bytes(5000), "its format is unknown"),
    "one pixel": (encode(PHOTO[:1, :1]), "1x1 pixels are far too few"),
    "a line": (encode(PHOTO[:1]), "60x1 pixels are far too few"),
    "bomb": (large_png(20000, 10000), "decompression bomb"),
    "lesser bomb": (large_png(10000, 8000), "10000x8000 pixels"),
    "long row": (large_png(300_000, 100), "it is 300000x100 pixels; at most"),
    "least bomb": (large_png(12000, 10000), "12000x10000 pixels"),
    "program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "its format is unknown",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_skipped_and_reported(tmp_path: Path, kind: str) -> None:
    data, reason = BAD[kind]
    write_photos(tmp_path, 3)
    (tmp_path / "bad.jpg").write_bytes(data)
    source, report = open_source(str(tmp_path)), Report()
    batches = take(source, 12, report=report)
    assert report.counts == {"skipped": 1}
    assert list(report.reasons) == ["bad.jpg"]
    assert reason in report.reasons["bad.jpg"]
    assert report.summary() == f"skipped 1 (bad.jpg: {report.reasons['bad.jpg']})"
    assert "\n" not in report.summary()
    np.testing.assert_array_equal(take(source, 6, start=6), batches[6:])
    half = take(source, 12, process_index=1, process_count=2)
    np.testing.assert_array_equal(half, batches[:, 2:])


def ink(color: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.full((40, 60, 3), color, np.uint8))


def palette() -> bytes:
    return encode(
        ink((200, 40, 40)).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"
    )


def half_clear() -> bytes:
    picture = ink((200, 40, 40)).convert("RGBA")
    picture.putalpha(128)
    return encode(picture, "PNG")


ODD = {
    "gray": (encode(Image.new("L", (60, 40), 100)), "gray", (100, 100, 100)),
    "CMYK": (encode(ink((200, 40, 40)).convert("CMYK")), "CMYK", (200, 40, 40)),
    "palette": (palette(), "palette", (200, 40, 40)),
    "clear": (half_clear(), "alpha", (227, 147, 147)),
    "gray, clear": (
        encode(Image.new("LA", (60, 40), (0, 128)), "PNG"),
        "gray",
        (127, 127, 127),
    ),
    "16 bits": (encode(np.full((40, 60), 25700, np.uint16), "PNG"), "I;16", (100,) * 3),
    "bilevel": (encode(Image.new("1", (60, 40), 1), "PNG"), "1", (255, 255, 255)),
    "tiny": (encode(ink((200, 40, 40)).resize((9, 6))), "upscaled", (200, 40, 40)),
    "WebP": (encode(ink((200, 40, 40)), "WEBP", quality=100), None, (200, 40, 40)),
    "TIFF": (encode(ink((200, 40, 40)), "TIFF"), None, (200, 40, 40)),
    "GIF": (encode(ink((200, 40, 40)), "GIF"), "palette", (200, 40, 40)),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_record_is_repaired_and_reported(tmp_path: Path, kind: str) -> None:
    data, name, color = ODD[kind]
    (tmp_path / "odd.jpg").write_bytes(data)
    report = Report()
    batches = take(open_source(str(tmp_path)), 3, report=report)
    np.testing.assert_allclose(batches, np.broadcast_to(color, batches.shape), atol=6)
    expected = {} if name is None else {name: 1}
    assert report.counts == expected | {"skipped": 0}
    assert report.summary() == ("" if name is None else f"repaired 1 {name}")


def test_pillows_warnings_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    write_photos(tmp_path, 2)
    report = Report()
    take(open_source(str(tmp_path)), 3, report=report)
    assert report.summary() == ""
    assert len(recwarn) == 0


def test_a_file_that_vanishes_is_skipped(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    source, report = open_source(str(tmp_path)), Report()
    (tmp_path / "002.jpg").unlink()
    take(source, 4, report=report)
    assert "No such file" in report.reasons[f"{tmp_path} record 2"]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_damaged_file_of_records_ends_no_run(
    tmp_path: Path, source: Source, file_format: str
) -> None:
    folder = write_tfds(
        tmp_path, "birds", [source[i].data for i in range(10)], shards=2
    )
    if file_format == "tfrecord":
        write_tfrecords(folder)
    path = sorted(folder.glob("*-00000*"))[0]
    content = bytearray(path.read_bytes())
    content[100:] = bytes(len(content) - 100)
    path.write_bytes(content)
    report = Report()
    batches = take(open_source("birds", data_dir=tmp_path), 5, report=report)
    assert 1 <= report.counts["skipped"] <= 5
    assert set(report.reasons) <= {f"birds record {i}" for i in range(5)}
    assert set(blues(batches)) <= set(range(5, 10)) | {0}


@pytest.mark.parametrize("count", [1, 3])
def test_a_source_without_a_usable_record_ends(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"{number}.jpg").write_bytes(b"no image")
    source = open_source(str(tmp_path))
    expected = (
        rf"in a row cannot be decoded: skipped {count} \(0.jpg: its format is unknown"
    )
    with pytest.raises(ValueError, match=expected):
        take(source, 1)
    with pytest.raises(ValueError, match=r"no image of .* can be decoded: skipped"):
        next(validation_batches(source, size=8, batch=2))


def test_a_summary_names_the_first_few() -> None:
    report = Report()
    assert report.summary() == ""
    for name in "fedcbag":
        report.skipped(name, "truncated")
        report.skipped(name, "truncated")
    report.repaired("x", "gray")
    report.repaired("x", "gray")
    report.repaired("y", "CMYK")
    named = "; ".join(f"{name}: truncated" for name in "abcdefg"[:NAMES_LISTED])
    assert report.summary() == (
        f"repaired 1 CMYK, 1 gray, skipped 7 ({named}; and {7 - NAMES_LISTED} more)"
    )


def test_threads_may_report_at_once() -> None:
    report = Report()

    def work(number: int) -> None:
        for i in range(300):
            report.repaired(f"{number} {i}", "gray")
            report.skipped(f"{number} {i}", "truncated")
            report.summary()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert report.counts == {"gray": 2400, "skipped": 2400}


def test_a_transparent_color_of_a_record_is_laid_over_white() -> None:
    pixels = np.full((20, 20, 3), 9, np.uint8)
    data = encode(pixels, "PNG", transparency=(9, 9, 9))
    crop = Crop(16, 0.5, 0.5, mirrored=False)
    assert (decode(Record("x", data), crop, size=16, report=Report()) == 255).all()
