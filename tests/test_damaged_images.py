"""Image files that cannot be read give one clear line."""

import io
import os
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pillow_heif
import pytest
from image_samples import blocks, noise, read, refusal, smooth
from PIL import Image, ImageFile, UnidentifiedImageError

from jaxstyle.files import image_decoding
from jaxstyle.files.image_decoding import SUFFIXES, ImageFileWarning, open_image
from jaxstyle.files.image_files import load_image, load_settings
from jaxstyle.scaling import memory

KINDS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "WEBP": {},
    "lossless WEBP": {"lossless": True},
    "TIFF": {},
    "deflated TIFF": {"compression": "tiff_adobe_deflate"},
    "GIF": {},
    "BMP": {},
}


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind.split()[-1], **KINDS[kind])
    return buffer.getvalue()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.png") == "no such image file: PATH"
    assert refusal(tmp_path / "x.png", load_settings) == "no such image file: PATH"


def test_what_may_have_been_meant_by_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    assert refusal(tmp_path / "phto.png").endswith(
        f"no such image file: PATH; did you mean {tmp_path / 'photo.png'}?"
    )


@pytest.mark.parametrize("name", ["great-wave", "great_wave", "hokusai-poppies"])
def test_the_name_of_a_style_is_no_image(name: str) -> None:
    with pytest.raises(ValueError, match="no such image file: ") as refused:
        load_image(name)
    assert str(refused.value).endswith(
        f"; that is a style, not an image: use jaxstyle stylize PHOTO --style {name}, "
        "or give an image of a painting"
    )


def test_a_file_of_parameters_is_no_image(tmp_path: Path) -> None:
    (path := tmp_path / "mine.safetensors").write_bytes(bytes(9))
    assert "it holds parameters; use jaxstyle stylize PHOTO --style" in refusal(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "not a regular file" in refusal(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "x.png")
    assert "not a regular file" in refusal(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "x.png").touch()
    assert "empty" in refusal(path)


def test_a_read_protected_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(blocks()).save(path := tmp_path / "x.png")

    # An administrator may read everything, so permission bits alone prove nothing.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"this is text\nof two lines\n", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="signature only"),
        pytest.param(b"P6 0 0 255\n", id="no pixels"),
        pytest.param(bytes(1000), id="zeros"),
    ],
)
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "x.png").write_bytes(content)
    assert "format is unknown" in refusal(path)


@pytest.mark.parametrize(
    "values",
    [np.array([[0, np.nan]], np.float32), np.array([[0, -1]], np.int32)],
    ids=["NaN", "negative"],
)
def test_gray_without_a_meaning_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path := tmp_path / "x.tif")
    assert "some pixels are NaN" in refusal(path)


@pytest.mark.parametrize("pixels", [noise(24, 40, 3), blocks()], ids=["noise", "flat"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "JPEG" not in kind])
def test_a_truncated_file_is_refused(
    tmp_path: Path, kind: str, pixels: np.ndarray
) -> None:
    whole = encoded(pixels, kind)
    (path := tmp_path / "x").write_bytes(whole)
    assert read(path).shape == pixels.shape
    for fraction in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(fraction * len(whole))])
        assert "cannot read the image PATH: " in refusal(path)


# --- cut JPEG files -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG"])
def test_of_a_cut_jpeg_file_what_is_there_is_read(tmp_path: Path, kind: str) -> None:
    whole = encoded(rows := np.repeat(noise(40, 1, 1), 64, 1).repeat(3, 2), kind)
    (path := tmp_path / "x.jpg").write_bytes(whole)
    intact = read(path)
    for lacking in (1, 2, 10):
        path.write_bytes(whole[:-lacking])
        with pytest.warns(ImageFileWarning, match="x.jpg breaks off") as warned:
            cut = read(path)
        assert len(warned) == 1
        assert cut.shape == rows.shape
        assert np.abs(cut[:16] - intact[:16]).mean() < 10
        if lacking < 3:  # the end marker
            assert np.array_equal(cut, intact)


def test_a_jpeg_file_cut_in_its_header_is_refused(tmp_path: Path) -> None:
    whole = encoded(noise(24, 40, 3), "JPEG")
    (path := tmp_path / "x.jpg").write_bytes(whole[: whole.index(b"\xff\xda")])
    assert "cannot read the image PATH: " in refusal(path)


def test_a_whole_jpeg_file_with_other_bytes_behind_is_read_silently(
    tmp_path: Path,
) -> None:
    whole = encoded(noise(24, 40, 3), "JPEG")
    (path := tmp_path / "x.jpg").write_bytes(whole)
    intact = read(path)
    path.write_bytes(whole + b"of a telephone")
    assert np.array_equal(read(path), intact)


# --- other files --------------------------------------------------------------------


PROGRAMS = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n{} loop",
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(8) + b"\x48\0\0\0\x01\0\x09\0" + bytes(60),
    "xpm": b'/* XPM */\nstatic char *x[] = {\n"1 1 1 1",\n"a c #ff0000",\n"a"\n};\n',
}
"""Files that Pillow knows, of formats that photos never have."""


@pytest.mark.parametrize("kind", PROGRAMS)
def test_other_formats_are_refused_whatever_their_name(
    tmp_path: Path, kind: str
) -> None:
    (path := tmp_path / "x.jpg").write_bytes(PROGRAMS[kind])
    assert "format is unknown" in refusal(path)
    with pytest.raises(UnidentifiedImageError), path.open("rb") as file:
        open_image(file)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_of_photos_is_of_a_format_that_is_read(
    tmp_path: Path, suffix: str
) -> None:
    image, path = Image.fromarray(blocks()), tmp_path / f"x{suffix}"
    if suffix in (".heic", ".heif"):
        pillow_heif.from_pillow(image).save(path)
    else:
        image.save(path)
    assert read(path).shape == blocks().shape


def test_a_socket_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path := tmp_path / "x.png"))
        assert "not a regular file" in refusal(path)
    assert "not a regular file" in refusal(Path("/dev/zero"))


def test_a_png_with_any_damaged_byte_is_refused(tmp_path: Path) -> None:
    whole = encoded(blocks(), "PNG")
    path = tmp_path / "x.png"
    for position in range(len(whole) - 12):  # the last 12 only say that it ends
        path.write_bytes(with_damage(whole, position))
        assert "cannot read the image PATH: " in refusal(path)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "GIF"])
def test_a_damaged_byte_gives_a_picture_or_one_clear_line(
    tmp_path: Path, kind: str
) -> None:
    whole = encoded(noise(16, 16, 3), kind)
    path = tmp_path / "x"
    outcomes = []
    for position in range(0, len(whole), len(whole) // 80):
        path.write_bytes(with_damage(whole, position))
        try:
            outcomes.append(load_image(path).shape[-1])
        except ValueError:
            outcomes.append(refusal(path)[:11])
    assert set(outcomes) == {3, "cannot read"}


def with_damage(content: bytes, position: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 0x55
    return bytes(damaged)


# --- large files --------------------------------------------------------------------


def test_a_large_image_in_too_few_bytes_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_decoding, "LARGE", 100)
    Image.new("RGB", (3000, 3000)).save(path := tmp_path / "x.webp", lossless=True)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert "it claims 3000x3000 pixels, which" in refusal(path)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif", ".jpg", ".jp2"])
def test_a_large_image_is_compared_with_the_free_memory_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    Image.fromarray(noise(20, 30, 3)).save(path := tmp_path / f"x{suffix}")
    monkeypatch.setattr(image_decoding, "LARGE", 100)
    monkeypatch.setattr(memory, "free_host_memory", lambda: 10_000)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    reason = refusal(path).removeprefix("cannot read the image PATH: ")
    assert reason == "needs 0.0 GB, but only 0.0 GB is free"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm", ".jp2"])
@pytest.mark.parametrize("size", [(300_000, 1), (1, 300_000)])
def test_a_row_of_pixels_that_is_too_long_is_refused_before_it_is_decoded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    size: tuple[int, int],
) -> None:
    Image.new("L", size).save(path := tmp_path / f"x{suffix}")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    width, height = size
    assert refusal(path) == (
        f"cannot read the image PATH: it is {width}x{height} pixels; "
        "at most 262144 are read on a side"
    )


def test_a_row_of_178_million_pixels_takes_neither_time_nor_memory(
    tmp_path: Path,
) -> None:
    """It takes Pillow minutes and gigabytes, in a file of 173 kB."""
    Image.new("L", (9, 9)).save(path := tmp_path / "x.png")
    png = bytearray(path.read_bytes())
    png[16:24] = (178_000_000).to_bytes(4) + (1).to_bytes(4)
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4)
    path.write_bytes(png)
    before, started = getrusage(RUSAGE_SELF).ru_maxrss, time.process_time()
    assert "it is 178000000x1 pixels" in refusal(path)
    assert time.process_time() - started < 1
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


def test_a_panorama_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (2**18, 2)).save(path := tmp_path / "x.png")
    assert load_image(path, shrink_to=1000).shape == (1, 1000, 3)


def test_an_image_that_pillow_cannot_copy_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError  # as for rows of 178 million pixels

    Image.fromarray(blocks()).save(path := tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "tobytes", fail)
    assert refusal(path) == "cannot read the image PATH: not enough memory"


def test_large_images_are_decoded_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(20, 30, 3)).save(path := tmp_path / "x.png")
    monkeypatch.setattr(image_decoding, "_ROOM", image_decoding._Room(1000))
    decoding, most = [], []
    load = image_decoding.load_pixels

    def slowly(*arguments: Any) -> None:
        decoding.append(1)
        most.append(len(decoding))
        time.sleep(0.01)
        decoding.pop()
        load(*arguments)

    monkeypatch.setattr(image_decoding, "load_pixels", slowly)
    with ThreadPoolExecutor(4) as executor:
        images = list(executor.map(load_image, [path] * 8))
    assert len(images) == len(most) == 8
    assert max(most) == 1


def test_a_large_jpeg_file_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.rint(smooth(400, 600) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "x.jpg", quality=95)
    exact = load_image(path, shrink_to=60)
    monkeypatch.setattr(image_decoding, "DRAFTED", 1000)
    with image_decoding.decoded(path, least=120) as image:
        assert image.size == (150, 100)
    shrunk = load_image(path, shrink_to=60)
    assert shrunk.shape == exact.shape
    assert np.abs(shrunk - exact).mean() < 0.005
    assert load_image(path).shape == pixels.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (21, 10)).save(path := tmp_path / f"x{suffix}")
    assert "210 pixels" in refusal(path)


def test_an_image_in_pillows_warning_range_loads_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (19, 10)).save(path := tmp_path / "x.png")
    with pytest.warns(Image.DecompressionBombWarning):  # Pillow on its own
        Image.open(path).close()
    assert load_image(path).shape == (10, 19, 3)
