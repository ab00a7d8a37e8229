"""HEIC images, which phones take and the package pillow-heif decodes."""

import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from image_samples import assert_close, blocks, read
from PIL import Image

from jaxstyle import load_image
from jaxstyle.files.image_files import load_opacity

HEADER = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"


def test_without_the_package_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (path := tmp_path / "photo.jpg").write_bytes(HEADER + bytes(99))
    with pytest.raises(ValueError, match=r"photo\.jpg: it is a HEIC image") as refused:
        load_image(path)
    assert str(refused.value).endswith("pip install pillow-heif")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
def test_other_images_do_not_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.fromarray(blocks()).save(path := tmp_path / "photo.heic", kind)
    assert load_image(path).shape == blocks().shape


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A HEIC file of four colors, the left half transparent."""
    pixels = np.full((64, 96, 4), 255, np.uint8)
    pixels[..., :3] = blocks(64, 96)
    pixels[:, :48, 3] = 0
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95)
    return path


def test_colors_and_opacity_are_read(photo: Path) -> None:
    found = read(photo)
    assert_close(found[:, 52:], blocks(64, 96)[:, 52:], within=12)
    assert_close(found[:, :44], np.full((64, 44, 3), 255.0), within=1)
    opacity = load_opacity(photo, (64, 96))
    assert opacity is not None
    assert np.asarray(opacity)[:, :44].max() == 0


def test_a_damaged_file_is_refused_in_one_line(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot read the image") as refused:
        load_image(photo)
    assert "\n" not in str(refused.value)


def test_a_photo_on_its_side_is_upright(photo: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = pillow_heif.from_pillow(Image.fromarray(blocks(64, 96)))
    image.save(photo, exif=exif.tobytes(), quality=95)
    found = read(photo)
    assert_close(found, np.rot90(blocks(64, 96), -1), within=12)
