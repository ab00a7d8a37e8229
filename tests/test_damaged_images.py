"""Image files that cannot be read give one clear line."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_samples import blocks, noise, read, refusal
from PIL import Image

from jaxstyle.files.image_files import load_image, load_settings

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
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused(
    tmp_path: Path, kind: str, pixels: np.ndarray
) -> None:
    whole = encoded(pixels, kind)
    (path := tmp_path / "x").write_bytes(whole)
    assert read(path).shape == pixels.shape
    for fraction in (0.1, 0.5, 0.95):
        path.write_bytes(whole[: int(fraction * len(whole))])
        assert "cannot read the image PATH: " in refusal(path)


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
