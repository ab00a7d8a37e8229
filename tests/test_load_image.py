"""Every kind of image file arrives upright, in sRGB and opaque."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import pytest
from image_samples import (
    FINEST,
    assert_close,
    blocks,
    cmyk,
    gray,
    noise,
    oriented,
    read,
)
from PIL import Image, ImageCms

from jaxstyle.files import image_pixels
from jaxstyle.files.image_files import load_image


def png_chunk(name: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def png_16_bit(values: np.ndarray, *, color_type: int, clear: bytes = b"") -> bytes:
    """Encode what Pillow cannot write: 16 bits in several channels or with tRNS."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunk(b"tRNS", clear) if clear else b"")
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


# --- kinds of pixels ----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_8_bit_rgb_is_exact(tmp_path: Path, suffix: str) -> None:
    pixels = noise(9, 14, 3)
    Image.fromarray(pixels).save(path := tmp_path / f"x{suffix}")
    assert_close(read(path), pixels)
    assert np.array_equal(load_image(str(path)), load_image(path))


def test_8_bit_gray_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    assert_close(read(path), gray(pixels))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    pixels = noise(7, 13) > 127
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    assert_close(read(path), gray(pixels * 255))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palette_is_looked_up(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(blocks()).quantize(4).save(path := tmp_path / f"x{suffix}")
    assert_close(read(path), blocks())


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_without_a_profile_is_ink_on_white(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((8, 40, 4), np.uint8)
    for i, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0)]):
        inks[:, 8 * i : 8 * i + 8] = ink
    inks[:, 24:32] = 0, 0, 0, 255
    inks[:, 32:] = 0, 0, 0, 55
    cmyk(inks).save(path := tmp_path / f"x{suffix}", **FINEST[suffix])
    expected = (255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int))
    assert_close(read(path), expected / 255, within=3)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_luminance_and_chroma_become_srgb(tmp_path: Path, mode: str) -> None:
    x, y = np.meshgrid(np.linspace(90, 170, 60), np.linspace(90, 170, 40))
    pastel = np.rint(np.stack([x, y, 170 - (x + y) / 4], -1)).astype(np.uint8)
    path = tmp_path / "x.tif"
    Image.fromarray(pastel).convert(mode).save(path, compression="tiff_lzw")
    assert_close(read(path), pastel, within=4)


RAMP = np.linspace(0, 65535, 512).round().astype(np.uint16).reshape(16, 32)


@pytest.mark.parametrize(
    ("suffix", "dtype", "mode"),
    [(".png", "<u2", "I;16"), (".tif", ">u2", "I;16B"), (".tif", "<i4", "I")],
)
def test_16_bit_gray_keeps_its_range(
    tmp_path: Path, suffix: str, dtype: str, mode: str
) -> None:
    Image.fromarray(RAMP.astype(dtype)).save(path := tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert image.mode == mode
    assert_close(read(path), gray(RAMP / 257), within=0.501)


def test_dark_16_bit_gray_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 2570, np.uint16)).save(path := tmp_path / "x.png")
    assert_close(read(path), 10)


def test_16_bit_rgb_keeps_its_range(tmp_path: Path) -> None:
    values = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
    (path := tmp_path / "x.png").write_bytes(png_16_bit(values, color_type=2))
    assert_close(read(path), values / 257, within=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.1, 0.5], [0, 26, 128]),
        ([-0.5, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 51.0, 255.0], [0, 51, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_gray_is_white_at_one_or_at_a_larger_maximum(
    tmp_path: Path, values: list[float], expected: list[int]
) -> None:
    Image.fromarray(np.array([values], np.float32)).save(path := tmp_path / "x.tif")
    assert_close(read(path)[0, :, 0], expected)


def test_32_bit_gray_beyond_16_bits_is_white_at_its_maximum(tmp_path: Path) -> None:
    values = np.array([[0, 2**30, 2**31 - 1]], np.int32)
    Image.fromarray(values).save(path := tmp_path / "x.tif")
    assert_close(read(path)[0, :, 0], [0, 128, 255])


# --- transparency -------------------------------------------------------------------


def over_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return np.rint(color * opacity + 255 * (1 - opacity))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_rgba_is_laid_over_white(tmp_path: Path, suffix: str) -> None:
    pixels = noise(16, 16, 4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    Image.fromarray(pixels).save(path := tmp_path / f"x{suffix}", **FINEST[suffix])
    assert_close(read(path), over_white(pixels[..., :3], pixels[..., 3]))


def test_gray_with_alpha_is_laid_over_white(tmp_path: Path) -> None:
    pixels = noise(16, 16, 2)
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    assert_close(read(path), over_white(gray(pixels[..., 0]), pixels[..., 1]))


@pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow cannot read this"
)
def test_premultiplied_gray_is_laid_over_white(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    pixels = np.array([[[50, 100], [0, 0], [255, 255]]], np.uint8)
    Image.fromarray(pixels).save(path)
    straight, premultiplied = (struct.pack("<HHII", 338, 3, 1, n) for n in (2, 1))
    assert straight in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(straight, premultiplied))
    assert_close(read(path)[0, :, 0], [50 + 155, 255, 255], within=1)


def test_palette_with_an_alpha_channel_is_laid_over_white(tmp_path: Path) -> None:
    palette = Image.fromarray(blocks()).quantize(4).convert("PA")
    alpha = noise(*blocks().shape[:2])
    palette.putalpha(Image.fromarray(alpha))
    palette.save(path := tmp_path / "x.tif")
    with Image.open(path) as image:
        assert image.mode == "PA"
    assert_close(read(path), over_white(blocks(), alpha))


@pytest.mark.parametrize(
    ("suffix", "transparency", "alpha"),
    [
        (".png", bytes([0, 128, 255]), [0, 128, 255]),
        (".png", 1, [255, 0, 255]),
        (".gif", 1, [255, 0, 255]),
    ],
)
def test_palette_with_clear_colors_is_laid_over_white(
    tmp_path: Path, suffix: str, transparency: bytes | int, alpha: list[int]
) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(path := tmp_path / f"x{suffix}", transparency=transparency)
    assert_close(read(path), over_white(200 * np.eye(3)[None], np.array([alpha])))


def test_one_clear_value_of_rgb_and_gray_is_laid_over_white(tmp_path: Path) -> None:
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    Image.fromarray(rgb).save(path := tmp_path / "x.png", transparency=(1, 2, 3))
    assert_close(read(path), [[[255, 255, 255], [4, 5, 6]]])
    Image.fromarray(rgb[..., 0]).save(path, transparency=4)
    assert_close(read(path), [[[1, 1, 1], [255, 255, 255]]])


def test_one_clear_value_of_16_bit_gray_is_laid_over_white(tmp_path: Path) -> None:
    values = np.array([[0, 256, 1000, 257 * 9]])
    path = tmp_path / "x.png"
    path.write_bytes(png_16_bit(values, color_type=0, clear=struct.pack(">H", 1000)))
    assert_close(read(path)[0, :, 0], [0, 1, 255, 9])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_one_clear_value_of_gray_below_8_bits_is_laid_over_white(
    tmp_path: Path, bits: int
) -> None:
    values = np.arange(2**bits)
    packed = sum(int(v) << (8 - bits) - i * bits for i, v in enumerate(values[:2]))
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    path = tmp_path / "x.png"
    for clear in (0, 1):
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + png_chunk(b"IHDR", header)
            + png_chunk(b"tRNS", struct.pack(">H", clear))
            + png_chunk(b"IDAT", zlib.compress(bytes([0, packed])))
            + png_chunk(b"IEND", b"")
        )
        expected = values[:2] * 255 / (2**bits - 1)
        expected[clear] = 255
        assert_close(read(path)[0, :, 0], expected)


def test_one_clear_color_of_16_bit_rgb_is_compared_in_16_bits(tmp_path: Path) -> None:
    clear = (0x1234, 0x5678, 0x9ABC)
    values = np.array([[clear, (0x1235, 0x5678, 0x9ABC), (0x3412, 0x7856, 0xBC9A)]])
    path = tmp_path / "x.png"
    body = png_16_bit(values, color_type=2, clear=struct.pack(">HHH", *clear))
    path.write_bytes(body)
    opaque = [[0x12, 0x56, 0x9A], [0x34, 0x78, 0xBC]]
    assert_close(read(path), [[[255, 255, 255], *opaque]])


# --- frames, orientation, size ------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_the_first_frame_is_read(tmp_path: Path, suffix: str) -> None:
    colors = ["#c80000", "#00c800", "#0000c8"]
    first, *others = (Image.new("RGB", (12, 8), color) for color in colors)
    path = tmp_path / f"x{suffix}"
    options = FINEST.get(suffix, {})
    first.save(path, save_all=True, append_images=others, **options)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert_close(read(path), [200, 0, 0])


# What a camera stores so that EXIF orientation n leads back to the upright picture.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize(
    ("suffix", "orientation"),
    [*((".jpg", n) for n in STORED), (".png", 6), (".webp", 6), (".tif", 6)],
)
def test_exif_orientation_is_undone(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    stored = np.ascontiguousarray(STORED[orientation](blocks()))
    path = tmp_path / f"x{suffix}"
    Image.fromarray(stored).save(path, exif=oriented(orientation), **FINEST[suffix])
    assert_close(read(path), blocks(), within=3)
    assert load_image(path, longest_side=8).shape == (4, 8, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_wide_gray_is_turned_too(tmp_path: Path, suffix: str) -> None:
    stored = np.rot90(RAMP).copy()
    Image.fromarray(stored).save(path := tmp_path / f"x{suffix}", exif=oriented(6))
    assert_close(read(path), gray(RAMP / 257), within=0.501)


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(oriented(9).tobytes(), id="no such orientation"),
        pytest.param(b"Exif\0\0not a TIFF header at all", id="text"),
        pytest.param(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(60)), id="noise"),
        pytest.param(b"Exif\0\0" + oriented(6).tobytes()[6:-9], id="truncated"),
    ],
)
def test_a_damaged_exif_block_is_ignored(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(blocks()).save(path := tmp_path / "x.png", exif=exif)
    assert_close(read(path), blocks())


def test_the_orientation_beside_a_damaged_tag_is_undone(tmp_path: Path) -> None:
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    bad_pointer = struct.pack("<HHIi", 0x8825, 9, 1, -4)
    tags = struct.pack("<H", 2) + orientation + bad_pointer + bytes(4)
    path = tmp_path / "x.png"
    stored = np.rot90(blocks()).copy()
    Image.fromarray(stored).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0" + tags)
    assert_close(read(path), blocks())


@pytest.mark.parametrize(
    ("size", "longest_side", "expected"),
    [
        ((30, 60), 20, (10, 20)),
        ((60, 30), 120, (120, 60)),
        ((7, 7), 7, (7, 7)),
        ((3, 1000), 100, (1, 100)),
    ],
)
def test_longest_side_keeps_the_aspect_ratio(
    tmp_path: Path, size: tuple[int, int], longest_side: int, expected: tuple[int, int]
) -> None:
    pixels = np.full((*size, 3), (10, 128, 250), np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    image = load_image(path, longest_side=longest_side)
    assert image.shape == (*expected, 3)
    assert_close(image * 255, [10, 128, 250])


def test_shrinking_averages_fine_detail(tmp_path: Path) -> None:
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkerboard).save(path := tmp_path / "x.png")
    assert_close(load_image(path, longest_side=8), 0.5, within=0.02)


def test_enlarging_stays_within_the_range(tmp_path: Path) -> None:
    Image.fromarray(blocks() // 200 * 255).save(path := tmp_path / "x.png")
    image = load_image(path, longest_side=500)
    assert image.min() == 0
    assert image.max() == 1


def test_what_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "x.png")
    with pytest.raises(MemoryError, match=r"needs 1\d{10}\.0 GB, but only .* free"):
        load_image(tmp_path / "x.png", longest_side=10**9)


def test_a_longest_side_of_zero_is_refused(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(path := tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        load_image(path, longest_side=0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "I;16", "F", "P", "1"])
def test_strips_make_the_same_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    image = Image.fromarray(noise(23, 17, 4)).convert("L" if mode == "I;16" else "RGBA")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    own = profile if mode in ("RGB", "RGBA") else None
    if mode in ("F", "CMYK"):
        image = image.convert("RGB")
    image.convert(mode).save(path := tmp_path / "x.tif", icc_profile=own)
    whole = load_image(path)
    monkeypatch.setattr(image_pixels, "STRIP", 40)
    np.testing.assert_array_equal(load_image(path), whole)
