import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from jaxstyle.image_files import (
    check_output_path,
    load_image,
    load_settings,
    save_image,
)

SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"]
LOSSLESS = [".png", ".tif", ".tiff"]

needs_pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow cannot read this"
)

# Pillow's arguments for pixels as exact as the format allows.
FINEST: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"quality": 100, "subsampling": 0},
    ".webp": {"lossless": True, "exact": True},
    ".tif": {},
}


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def blocks(height: int = 16, width: int = 32) -> np.ndarray:
    """Four quadrants of different colours, which JPEG keeps nearly exactly."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[: height // 2, : width // 2] = 255, 0, 0
    image[height // 2 :, : width // 2] = 0, 160, 0
    image[: height // 2, width // 2 :] = 20, 20, 220
    return image


def smooth(height: int = 40, width: int = 60) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([x, y, 1 - (x + y) / 2], -1)


def cmyk(inks: np.ndarray) -> Image.Image:
    return Image.merge(
        "CMYK", [Image.fromarray(ink) for ink in np.moveaxis(inks, 2, 0)]
    )


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def read(path: Path) -> np.ndarray:
    """Load an image, check what holds for every image, and return it in 0..255."""
    image = load_image(path)
    assert image.dtype == np.float32
    assert image.ndim == 3
    assert image.shape[-1] == 3
    assert image.min() >= 0
    assert image.max() <= 1
    return image.astype(np.float64) * 255


def assert_close(image: np.ndarray, expected: Any, *, within: float = 1e-4) -> None:
    np.testing.assert_allclose(
        image, np.broadcast_to(expected, image.shape), atol=within, rtol=0
    )


def refusal(path: Path, function: Callable[[Path], object] = load_image) -> str:
    """Return the reason for which a function refuses a path, on one line."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
        function(path)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    return message.replace(str(path), "PATH")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def png_16_bit(values: np.ndarray, *, colour_type: int, clear: bytes = b"") -> bytes:
    """Encode what Pillow cannot write: 16 bits in several channels or with tRNS."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunk(b"tRNS", clear) if clear else b"")
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


# Reading: pixel modes


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm"])
def test_8_bit_rgb_is_exact(tmp_path: Path, suffix: str) -> None:
    pixels = noise(9, 14, 3)
    Image.fromarray(pixels).save(path := tmp_path / f"x{suffix}")
    assert_close(read(path), pixels)
    assert np.array_equal(load_image(str(path)), load_image(path))


def test_8_bit_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    assert_close(read(path), grey(pixels))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    pixels = noise(7, 13) > 127
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    assert_close(read(path), grey(pixels * 255))


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_palette_is_looked_up(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(blocks()).quantize(4)
    image.save(path := tmp_path / f"x{suffix}")
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


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"compression": "tiff_lzw"}, id="compressed"),
        pytest.param({}, id="plain", marks=needs_pillow_13),
    ],
)
def test_luminance_and_chroma_become_srgb(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    pixels = np.rint(smooth() * 255).astype(np.uint8)
    image = Image.fromarray(pixels).convert("YCbCr")
    image.save(path := tmp_path / "x.tif", **options)
    assert_close(read(path), pixels, within=3)


def test_lab_becomes_srgb(tmp_path: Path) -> None:
    pastel = np.rint(90 + smooth() * 80).astype(np.uint8)  # 8-bit Lab is coarse
    Image.fromarray(pastel).convert("LAB").save(path := tmp_path / "x.tif")
    with Image.open(path) as image:
        assert image.mode == "LAB"
    assert_close(read(path), pastel, within=4)


RAMP = np.linspace(0, 65535, 512).round().astype(np.uint16).reshape(16, 32)


@pytest.mark.parametrize(
    ("suffix", "dtype", "mode"),
    [
        (".png", "<u2", "I;16"),
        (".tif", "<u2", "I;16"),
        (".tif", ">u2", "I;16B"),
        (".tif", "<i4", "I"),
    ],
)
def test_16_bit_grey_keeps_its_range(
    tmp_path: Path, suffix: str, dtype: str, mode: str
) -> None:
    Image.fromarray(RAMP.astype(dtype)).save(path := tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert image.mode == mode
    image_255 = read(path)
    assert_close(image_255, grey(RAMP / 257), within=0.501)
    assert image_255[0, 0, 0] == 0
    assert image_255[-1, -1, 0] == 255


def test_16_bit_pgm_keeps_its_range(tmp_path: Path) -> None:
    path = tmp_path / "x.pgm"
    path.write_bytes(b"P5 32 16 65535\n" + RAMP.astype(">u2").tobytes())
    assert_close(read(path), grey(RAMP / 257), within=0.501)


def test_dark_16_bit_grey_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 2570, np.uint16)).save(path := tmp_path / "x.png")
    assert_close(read(path), 10)


def test_16_bit_rgb_keeps_its_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (5, 9, 3))
    values[0, 0], values[0, 1] = 0, 65535
    path = tmp_path / "x.png"
    path.write_bytes(png_16_bit(values, colour_type=2))
    image = read(path)
    assert_close(image, values / 257, within=1)
    assert_close(image[0, 0], 0)
    assert_close(image[0, 1], 255)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 0.1, 0.5], [0, 26, 128]),
        ([-0.5, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 1.0, 2.0], [0, 128, 255]),
        ([0.0, 51.0, 255.0], [0, 51, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_grey_is_white_at_one_or_at_a_larger_maximum(
    tmp_path: Path, values: list[float], expected: list[int]
) -> None:
    Image.fromarray(np.array([values], np.float32)).save(path := tmp_path / "x.tif")
    assert_close(read(path)[0, :, 0], expected)


def test_32_bit_grey_beyond_16_bits_is_white_at_its_maximum(tmp_path: Path) -> None:
    values = np.array([[0, 2**30, 2**31 - 1]], np.int32)
    Image.fromarray(values).save(path := tmp_path / "x.tif")
    assert_close(read(path)[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, np.nan]], np.float32),
        np.array([[0, np.inf]], np.float32),
        np.array([[0, -1]], np.int32),
    ],
)
def test_grey_without_a_meaning_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path := tmp_path / "x.tif")
    assert "pixels" in refusal(path)


# Reading: transparency


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return np.rint(colour * opacity + 255 * (1 - opacity))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_rgba_is_laid_over_white_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = noise(16, 16, 4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    Image.fromarray(pixels).save(path := tmp_path / f"x{suffix}", **FINEST[suffix])
    assert_close(read(path), over_white(pixels[..., :3], pixels[..., 3]))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_with_alpha_is_laid_over_white(tmp_path: Path, suffix: str) -> None:
    pixels = noise(16, 16, 2)
    Image.fromarray(pixels).save(path := tmp_path / f"x{suffix}")
    assert_close(read(path), over_white(grey(pixels[..., 0]), pixels[..., 1]))


@pytest.mark.parametrize("channels", [4, pytest.param(2, marks=needs_pillow_13)])
def test_premultiplied_colours_are_laid_over_white(
    tmp_path: Path, channels: int
) -> None:
    pixels = np.zeros((1, 3, channels), np.uint8)
    pixels[0, 0], pixels[0, 2] = 50, 255
    pixels[0, 0, -1] = 100
    straight, premultiplied = (struct.pack("<HHII", 338, 3, 1, n) for n in (2, 1))
    tiff = encoded(Image.fromarray(pixels), "TIFF")
    assert straight in tiff
    (path := tmp_path / "x.tif").write_bytes(tiff.replace(straight, premultiplied))
    assert_close(read(path)[0, :, 0], [50 + 155, 255, 255], within=1)


def test_palette_with_an_alpha_channel_is_laid_over_white(tmp_path: Path) -> None:
    palette = Image.fromarray(blocks()).quantize(4).convert("PA")
    alpha = noise(*blocks().shape[:2])
    palette.putalpha(Image.fromarray(alpha))
    palette.save(path := tmp_path / "x.tif")
    with Image.open(path) as image:
        assert image.mode == "PA"
    assert_close(read(path), over_white(blocks(), alpha))


def test_palette_with_an_opacity_per_colour_is_laid_over_white(tmp_path: Path) -> None:
    indices = np.arange(4, dtype=np.uint8).reshape(1, 4)
    image = Image.fromarray(indices)
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    image.save(path := tmp_path / "x.png", transparency=bytes([0, 128, 255, 64]))
    colour = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200], [9, 9, 9]]])
    assert_close(read(path), over_white(colour, np.array([[0, 128, 255, 64]])))


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palette_with_one_clear_colour_is_laid_over_white(
    tmp_path: Path, suffix: str
) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(path := tmp_path / f"x{suffix}", transparency=1)
    assert_close(read(path), [[[200, 0, 0], [255, 255, 255], [0, 0, 200]]])


def test_one_clear_value_of_rgb_and_grey_is_laid_over_white(tmp_path: Path) -> None:
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    Image.fromarray(rgb).save(path := tmp_path / "x.png", transparency=(1, 2, 3))
    assert_close(read(path), [[[255, 255, 255], [4, 5, 6]]])
    Image.fromarray(rgb[..., 0]).save(path, transparency=4)
    assert_close(read(path), [[[1, 1, 1], [255, 255, 255]]])


def test_one_clear_value_of_16_bit_grey_is_laid_over_white(tmp_path: Path) -> None:
    values = np.array([[0, 256, 1000, 257 * 9]])
    path = tmp_path / "x.png"
    path.write_bytes(png_16_bit(values, colour_type=0, clear=struct.pack(">H", 1000)))
    assert_close(read(path)[0, :, 0], [0, 1, 255, 9])


# Reading: frames, orientation, size


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_the_first_frame_is_read(tmp_path: Path, suffix: str) -> None:
    colours = ["#c80000", "#00c800", "#0000c8"]
    first, *others = (Image.new("RGB", (12, 8), colour) for colour in colours)
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


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", FINEST)
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    stored = np.ascontiguousarray(STORED[orientation](blocks()))
    path = tmp_path / f"x{suffix}"
    Image.fromarray(stored).save(path, exif=oriented(orientation), **FINEST[suffix])
    assert_close(read(path), blocks(), within=3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_wide_grey_is_turned_too(tmp_path: Path, suffix: str) -> None:
    stored = np.rot90(RAMP).copy()
    Image.fromarray(stored).save(path := tmp_path / f"x{suffix}", exif=oriented(6))
    assert_close(read(path), grey(RAMP / 257), within=0.501)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(blocks()).save(path, exif=oriented(orientation))
    assert_close(read(path), blocks())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0not a TIFF header at all",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(60)),
        b"Exif\0\0" + oriented(6).tobytes()[6:-9],
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_damaged_exif_block_is_ignored(
    tmp_path: Path, suffix: str, exif: bytes
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(blocks()).save(path, exif=exif, **FINEST[suffix])
    assert_close(read(path), blocks(), within=3)


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
        ((60, 30), 20, (20, 10)),
        ((30, 60), 120, (60, 120)),
        ((7, 7), 7, (7, 7)),
        ((3, 1000), 100, (1, 100)),
        ((5, 4), 1, (1, 1)),
    ],
)
def test_longest_side_keeps_the_aspect_ratio(
    tmp_path: Path, size: tuple[int, int], longest_side: int, expected: tuple[int, int]
) -> None:
    pixels = np.full((*size, 3), (10, 128, 250), np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "x.png")
    image = load_image(path, longest_side=longest_side)
    assert image.shape == (*expected, 3)
    assert image.dtype == np.float32
    assert_close(image * 255, [10, 128, 250])


def test_longest_side_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    Image.fromarray(blocks(16, 32)).save(path := tmp_path / "x.png", exif=oriented(6))
    assert load_image(path, longest_side=8).shape == (8, 4, 3)


def test_shrinking_averages_fine_detail(tmp_path: Path) -> None:
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkerboard).save(path := tmp_path / "x.png")
    assert_close(load_image(path, longest_side=8), 0.5, within=0.02)


def test_enlarging_stays_within_the_range(tmp_path: Path) -> None:
    Image.fromarray(blocks() // 200 * 255).save(path := tmp_path / "x.png")
    image = load_image(path, longest_side=500)
    assert image.min() == 0
    assert image.max() == 1


def test_a_longest_side_of_zero_is_refused(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(path := tmp_path / "x.png")
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        load_image(path, longest_side=0)


# Reading: colour profiles

# The primaries as an ICC profile holds them: XYZ relative to D50.
SRGB_PRIMARIES = np.array(
    [
        [0.4360747, 0.2225045, 0.0139322],
        [0.3850649, 0.7168786, 0.0971045],
        [0.1430804, 0.0606169, 0.7141733],
    ]
)
DISPLAY_P3_PRIMARIES = np.array(
    [
        [0.5151, 0.2412, -0.0011],
        [0.2920, 0.6922, 0.0419],
        [0.1571, 0.0666, 0.7841],
    ]
)


def icc_profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Assemble an ICC version 2 profile: header, table of tags, tags."""
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s6H4s28x3i48x",
        start + len(body),
        b"",
        0x02400000,
        b"prtr" if space == b"CMYK" else b"mntr",
        space,
        connection,
        *(2020, 1, 1, 0, 0, 0),
        b"acsp",
        *fixed_point(0.9642, 1, 0.8249),
    )
    return header + table + body


def fixed_point(*numbers: float) -> list[int]:
    return [round(number * 65536) for number in numbers]


def icc_xyz(*xyz: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *fixed_point(*xyz))


def icc_gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


WHITE_POINT = {b"wtpt": icc_xyz(0.9642, 1, 0.8249)}


def rgb_profile(primaries: np.ndarray, *, gamma: float) -> bytes:
    colorants = zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    tags = {name: icc_xyz(*xyz) for name, xyz in colorants}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), icc_gamma(gamma))
    return icc_profile(b"RGB ", b"XYZ ", tags | curves | WHITE_POINT)


def grey_profile(*, gamma: float) -> bytes:
    return icc_profile(b"GRAY", b"XYZ ", {b"kTRC": icc_gamma(gamma)} | WHITE_POINT)


def black_ink_profile() -> bytes:
    """Return a CMYK profile in which only the black ink is visible."""
    identity = bytes(range(256))
    inks = np.indices((2, 2, 2, 2))[3].reshape(-1)  # the black ink varies fastest
    grid = b"".join(bytes([255 * (1 - ink), 128, 128]) for ink in inks)
    matrix = struct.pack(">9i", *fixed_point(1, 0, 0, 0, 1, 0, 0, 0, 1))
    sizes = struct.pack(">4B", 4, 3, 2, 0)
    table = b"mft1" + bytes(4) + sizes + matrix + 4 * identity + grid + 3 * identity
    return icc_profile(b"CMYK", b"Lab ", {b"A2B0": table} | WHITE_POINT)


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    """Return sRGB code values 0..255 of linear light 0..1."""
    linear = np.clip(linear, 0, 1)
    curve = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return 255 * curve


@pytest.mark.parametrize("suffix", FINEST)
def test_a_linear_profile_is_converted(tmp_path: Path, suffix: str) -> None:
    profile = rgb_profile(SRGB_PRIMARIES, gamma=1)
    path = tmp_path / f"x{suffix}"
    Image.fromarray(blocks()).save(path, icc_profile=profile, **FINEST[suffix])
    expected = srgb_encoded(blocks() / 255)
    assert np.abs(expected - blocks()).max() > 30
    # Linear codes near black lie far apart in sRGB: there, JPEG's errors grow 12 times.
    assert_close(read(path), expected, within=13 if suffix == ".jpg" else 1.5)


def test_exchanged_primaries_exchange_the_channels(tmp_path: Path) -> None:
    pixels = noise(8, 8, 3)
    path = tmp_path / "x.png"
    straight = rgb_profile(SRGB_PRIMARIES, gamma=2.2)
    Image.fromarray(pixels).save(path, icc_profile=straight)
    expected = read(path)
    exchanged = rgb_profile(SRGB_PRIMARIES[::-1], gamma=2.2)
    Image.fromarray(pixels[..., ::-1].copy()).save(path, icc_profile=exchanged)
    assert_close(read(path), expected, within=1)


def test_display_p3_is_converted(tmp_path: Path) -> None:
    pixels = np.array([[[128, 128, 128], [180, 120, 100], [90, 140, 160]]], np.uint8)
    path = tmp_path / "x.png"
    profile = rgb_profile(DISPLAY_P3_PRIMARIES, gamma=2.2)
    Image.fromarray(pixels).save(path, icc_profile=profile)
    xyz = (pixels / 255) ** 2.2 @ DISPLAY_P3_PRIMARIES
    expected = srgb_encoded(xyz @ np.linalg.inv(SRGB_PRIMARIES))
    assert np.abs(expected - pixels).max() > 10
    assert_close(read(path), expected, within=1.5)


@pytest.mark.parametrize("wide", [False, True])
def test_a_grey_profile_is_converted(tmp_path: Path, wide: bool) -> None:
    values = np.arange(0, 256, 5, dtype=np.uint8)[None]
    pixels = values.astype(np.uint16) * 257 if wide else values
    path = tmp_path / "x.tif"
    Image.fromarray(pixels).save(path, icc_profile=grey_profile(gamma=1))
    assert_close(read(path), grey(srgb_encoded(values / 255)), within=1.5)


def test_a_colour_profile_of_a_grey_image_is_converted(tmp_path: Path) -> None:
    values = np.arange(0, 256, 5, dtype=np.uint8)[None]
    path = tmp_path / "x.png"
    profile = rgb_profile(SRGB_PRIMARIES, gamma=1)
    Image.fromarray(values).save(path, icc_profile=profile)
    assert_close(read(path), grey(srgb_encoded(values / 255)), within=1.5)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_profile_applies_to_the_colours_but_not_to_alpha(
    tmp_path: Path, channels: int
) -> None:
    pixels = np.full((4, 4, channels), 128, np.uint8)
    pixels[:2, :, -1] = 255
    path = tmp_path / "x.png"
    linear = rgb_profile(SRGB_PRIMARIES, gamma=1)
    profile = linear if channels == 4 else grey_profile(gamma=1)
    Image.fromarray(pixels).save(path, icc_profile=profile)
    colour = srgb_encoded(np.array(128 / 255))
    image = read(path)
    assert_close(image[:2], colour, within=1.5)
    assert_close(image[2:], 255 + (colour - 255) * 128 / 255, within=1.5)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_cmyk_profile_is_converted(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((8, 32, 4), np.uint8)
    inks[:, 8:16, 0], inks[:, 16:24, 1], inks[:, 24:, 3] = 255, 255, 255
    path = tmp_path / f"x{suffix}"
    cmyk(inks).save(path, icc_profile=black_ink_profile(), **FINEST[suffix])
    assert_close(read(path)[:, :24], 255, within=3)
    assert_close(read(path)[:, 24:], 0, within=3)


def pillow_profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(pillow_profile("sRGB"), id="sRGB"),
        pytest.param(pillow_profile("LAB"), id="LAB does not fit"),
        pytest.param(pillow_profile("XYZ"), id="XYZ does not fit"),
        pytest.param(grey_profile(gamma=1), id="grey does not fit"),
        pytest.param(black_ink_profile(), id="CMYK does not fit"),
        pytest.param(b"no profile at all", id="text"),
        pytest.param(pillow_profile("sRGB")[:200], id="truncated"),
        pytest.param(pillow_profile("sRGB")[:128] + b"\xff" * 400, id="damaged"),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_srgb_and_useless_profiles_change_nothing(
    tmp_path: Path, channels: int, profile: bytes
) -> None:
    pixels = noise(8, 8, channels)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    expected = read(path)
    Image.fromarray(pixels).save(path, icc_profile=profile)
    assert_close(read(path), expected, within=1.01)


# Reading: bad files


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
        b"this is text\nof two lines\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a\0\0\0\0\0\0\0;",
        b"P6 0 0 255\n",
        bytes(1000),
    ],
)
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "x.png").write_bytes(content)
    assert "format is unknown" in refusal(path)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
@pytest.mark.parametrize("pixels", [noise(24, 40, 3), blocks()], ids=["noise", "flat"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {}),
        ("GIF", {}),
        ("BMP", {}),
    ],
)
def test_a_truncated_file_is_refused(
    tmp_path: Path,
    pixels: np.ndarray,
    kind: str,
    options: dict[str, Any],
    fraction: float,
) -> None:
    whole = encoded(Image.fromarray(pixels), kind, **options)
    path = tmp_path / "x"
    path.write_bytes(whole)
    assert read(path).shape == pixels.shape
    path.write_bytes(whole[: int(fraction * len(whole))])
    assert "cannot read the image PATH: " in refusal(path)


@pytest.mark.parametrize("pixels", [noise(16, 16, 3), blocks()], ids=["noise", "flat"])
def test_a_png_with_any_damaged_byte_is_refused(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    whole = encoded(Image.fromarray(pixels), "PNG")
    path = tmp_path / "x.png"
    ending = len(png_chunk(b"IEND", b""))
    for position in range(0, len(whole) - ending, 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert "cannot read the image PATH: " in refusal(path)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "GIF"])
def test_a_damaged_byte_gives_a_picture_or_one_clear_line(
    tmp_path: Path, kind: str
) -> None:
    whole = encoded(Image.fromarray(noise(16, 16, 3)), kind)
    path = tmp_path / "x"
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        assert_loaded_or_refused(path)


def assert_loaded_or_refused(path: Path) -> None:
    try:
        image = load_image(path)
    except ValueError:
        refusal(path)
    else:
        assert image.shape[-1] == 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif"])
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


# Writing: pixels


def tolerance(suffix: str) -> float:
    return 0.501 if suffix in LOSSLESS else 9


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG", ".JPG"])
def test_an_image_survives_saving_and_loading(tmp_path: Path, suffix: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}")
    assert_close(read(path), smooth() * 255, within=tolerance(suffix.lower()))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_every_8_bit_value_survives_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = noise(32, 32, 3)
    save_image(pixels.astype(np.float32) / 255, path := tmp_path / f"x{suffix}")
    image = load_image(path)
    assert_close(image * 255, pixels)
    save_image(image, again := tmp_path / f"again{suffix}")
    assert np.array_equal(load_image(again), image)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".png", "PNG"),
        (".jpg", "JPEG"),
        (".jpeg", "JPEG"),
        (".webp", "WEBP"),
        (".tif", "TIFF"),
        (".tiff", "TIFF"),
    ],
)
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str, kind: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert image.format == kind
        assert image.mode == "RGB"


def test_jpeg_keeps_full_chroma_and_tiff_is_deflated(tmp_path: Path) -> None:
    save_image(smooth(), tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:
        assert JpegImagePlugin.get_sampling(image) == 0
    save_image(smooth(), tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as image:
        assert image.info["compression"] == "tiff_adobe_deflate"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_jax_arrays_of_every_precision_are_saved(tmp_path: Path, dtype: str) -> None:
    save_image(jnp.asarray(smooth(), dtype), path := tmp_path / "x.png")
    assert_close(read(path), smooth() * 255, within=1 if dtype == "bfloat16" else 0.6)


def test_values_are_clipped_and_rounded_to_the_nearest(tmp_path: Path) -> None:
    values = np.array([-1e300, -0.1, 0.49 / 255, 0.51 / 255, 99.6 / 255, 1.1, 1e300])
    save_image(grey(values[None]), path := tmp_path / "x.png")
    assert_close(read(path)[0, :, 0], [0, 0, 0, 1, 100, 255, 255])


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 1), (4, 4, 4), (1, 4, 4, 3), (0, 4, 3)]
)
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image") as refused:
        save_image(np.zeros(shape), tmp_path / "x.png")
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_integers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="divide 8-bit images by 255"):
        save_image(noise(4, 4, 3), tmp_path / "x.png")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_leave_the_old_file(
    tmp_path: Path, value: float
) -> None:
    (path := tmp_path / "x.png").write_bytes(b"old")
    image = smooth()
    image[3, 4, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        save_image(image, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_midway(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half an im")
        raise OSError(28, "No space left on device")

    (path := tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", fail_midway)
    reason = refusal(path, lambda path: save_image(smooth(), path))
    assert reason == "cannot write the image PATH: No space left on device"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_too_wide_for_its_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.webp"
    refusal(path, lambda path: save_image(np.zeros((1, 20000, 3)), path))
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_an_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_image(np.zeros((4, 4, 3)), path, settings={"old": True})
    save_image(np.ones((5, 5, 3)), path, settings={"new": True})
    assert read(path).shape == (5, 5, 3)
    assert load_settings(path) == {"new": True}


# Writing: settings


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="none"),
        pytest.param({"steps": 500, "rate": 0.02, "style": None}, id="plain"),
        pytest.param({"weights": {"relu2_2": 1.0}, "list": [1, [2, "x"]]}, id="nested"),
        pytest.param({"ü": "日本 🎨 \n\0 \"'\\", "path": "C:\\é"}, id="unicode"),
        pytest.param({f"key {i}": "value " * 10 for i in range(80)}, id="5 kB"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_survive_saving_and_loading(
    tmp_path: Path, suffix: str, settings: dict[str, object]
) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}", settings=settings)
    assert load_settings(path) == settings
    assert load_settings(str(path)) == settings
    assert_close(read(path), smooth() * 255, within=tolerance(suffix))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_record_is_plain_exif(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "1.2.3")
    save_image(smooth(), path := tmp_path / f"x{suffix}", settings={"a": 1})
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[0x0131] == "jaxstyle 1.2.3"
        assert json.loads(exif[0x010E]) == {"a": 1}


def test_settings_are_recorded_by_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_found(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_found)
    save_image(smooth(), path := tmp_path / "x.png", settings={"a": 1})
    assert load_settings(path) == {"a": 1}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_saved_without_settings_has_none(tmp_path: Path, suffix: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}")
    assert "no settings in PATH" in refusal(path, load_settings)


@pytest.mark.parametrize(
    ("description", "software"),
    [
        ("A photo", "Some camera"),
        ('{"shape": [3, 4]}', "another program"),
        ('{"shape": [3, 4]}', None),
        ("[1, 2]", "jaxstyle 1.0"),
        (None, None),
    ],
)
def test_descriptions_by_others_are_no_settings(
    tmp_path: Path, description: str | None, software: str | None
) -> None:
    exif = Image.Exif()
    if description:
        exif[0x010E] = description
    if software:
        exif[0x0131] = software
    Image.fromarray(blocks()).save(path := tmp_path / "x.png", exif=exif)
    assert "no settings in PATH" in refusal(path, load_settings)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0131], exif[0x010E] = "jaxstyle 1.0", '{"steps": 5'
    Image.fromarray(blocks()).save(path := tmp_path / "x.png", exif=exif)
    refusal(path, load_settings)


def test_settings_that_json_cannot_hold_leave_the_old_file(tmp_path: Path) -> None:
    (path := tmp_path / "x.png").write_bytes(b"old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_image(smooth(), path, settings={"path": path})
    assert path.read_bytes() == b"old"


def test_settings_too_long_for_jpeg_leave_the_old_file(tmp_path: Path) -> None:
    (path := tmp_path / "x.jpg").write_bytes(b"old")
    settings: dict[str, object] = {"text": "x" * 70000}
    reason = refusal(path, lambda path: save_image(smooth(), path, settings=settings))
    assert "too long" in reason
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Writing: checks in advance


def save_smooth(path: Path) -> None:
    save_image(smooth(), path)


both_checks = pytest.mark.parametrize("function", [check_output_path, save_smooth])
Check = Callable[[Path], None]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG", ".Jpg"])
def test_a_good_output_path_passes_and_nothing_is_created(
    tmp_path: Path, suffix: str
) -> None:
    check_output_path(tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []
    (path := tmp_path / f"old{suffix}").write_bytes(b"old")
    check_output_path(str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_path_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_output_path("x.png")
    save_image(smooth(), "x.png")
    assert load_image("x.png").shape == smooth().shape


@both_checks
@pytest.mark.parametrize("name", ["x", "x.bmp", "x.png.part", "png", ".png"])
def test_an_unknown_suffix_is_refused(
    tmp_path: Path, name: str, function: Check
) -> None:
    reason = refusal(tmp_path / name, function)
    assert all(suffix in reason for suffix in SUFFIXES)
    assert list(tmp_path.iterdir()) == []


@both_checks
def test_a_missing_folder_is_refused(tmp_path: Path, function: Check) -> None:
    reason = refusal(tmp_path / "no" / "x.png", function)
    assert f"there is no folder {tmp_path / 'no'}" in reason
    (tmp_path / "file").touch()
    assert "there is no folder" in refusal(tmp_path / "file" / "x.png", function)


@both_checks
def test_a_folder_as_output_is_refused(tmp_path: Path, function: Check) -> None:
    (path := tmp_path / "x.png").mkdir()
    assert "it is a folder" in refusal(path, function)
    assert "it is a folder" in refusal(tmp_path, function)


@both_checks
def test_a_write_protected_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Check
) -> None:
    (path := tmp_path / "x.png").write_bytes(b"old")
    # An administrator may write everywhere, so permission bits alone prove nothing.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "write-protected" in refusal(path, function)
    assert path.read_bytes() == b"old"


@both_checks
def test_a_write_protected_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Check
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert "Permission denied" in refusal(tmp_path / "x.png", function)


@both_checks
def test_a_name_that_the_system_cannot_hold_is_refused(
    tmp_path: Path, function: Check
) -> None:
    assert "too long" in refusal(tmp_path / f"{'x' * 300}.png", function)
    assert "null" in refusal(tmp_path / "x\0.png", function)
