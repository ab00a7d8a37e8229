"""Embedded ICC profiles are converted to sRGB; those that do not fit are ignored."""

import struct
from pathlib import Path

import numpy as np
import pytest
from image_samples import FINEST, assert_close, blocks, cmyk, gray, noise, read
from PIL import Image, ImageCms

# --- profiles, in the format of ICC version 2 ----------------------------------------

# The primaries as a profile holds them: XYZ relative to D50.
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
D50 = 0.9642, 1.0, 0.8249


def rgb_profile(primaries: np.ndarray, *, gamma: float) -> bytes:
    colorants = zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    tags = {name: _xyz(*xyz) for name, xyz in colorants}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma))
    return _profile(b"RGB ", b"XYZ ", tags | curves)


def gray_profile(*, gamma: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def black_ink_profile() -> bytes:
    """Return a CMYK profile in which only the black ink is visible, as a dark gray."""
    identity = bytes(range(256))
    inks = np.indices((2, 2, 2, 2))[3].reshape(-1)  # the black ink varies fastest
    grid = b"".join(bytes([(255, 50)[ink], 128, 128]) for ink in inks)
    matrix = struct.pack(">9i", *_fixed_point(1, 0, 0, 0, 1, 0, 0, 0, 1))
    sizes = struct.pack(">4B", 4, 3, 2, 0)
    table = b"mft1" + bytes(4) + sizes + matrix + 4 * identity + grid + 3 * identity
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table})


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    """Return sRGB code values 0..255 of linear light 0..1."""
    linear = np.clip(linear, 0, 1)
    curve = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return 255 * curve


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Assemble header, table of tags, and tags."""
    tags = tags | {b"wtpt": _xyz(*D50)}
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
        b"mntr",
        space,
        connection,
        *(2020, 1, 1, 0, 0, 0),
        b"acsp",
        *_fixed_point(*D50),
    )
    return header + table + body


def _fixed_point(*numbers: float) -> list[int]:
    return [round(number * 65536) for number in numbers]


def _xyz(*xyz: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed_point(*xyz))


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


# --- tests --------------------------------------------------------------------------

LINEAR = rgb_profile(SRGB_PRIMARIES, gamma=1)


@pytest.mark.parametrize(("suffix", "within"), [(".png", 1.5), (".jpg", 13)])
def test_a_linear_profile_is_converted(
    tmp_path: Path, suffix: str, within: float
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(blocks()).save(path, icc_profile=LINEAR, **FINEST[suffix])
    expected = srgb_encoded(blocks() / 255)
    assert np.abs(expected - blocks()).max() > 30
    # Linear codes near black lie far apart in sRGB: there, JPEG's errors grow 12 times.
    assert_close(read(path), expected, within=within)


def test_display_p3_is_converted(tmp_path: Path) -> None:
    pixels = np.array([[[128, 128, 128], [180, 120, 100], [90, 140, 160]]], np.uint8)
    path = tmp_path / "x.png"
    profile = rgb_profile(DISPLAY_P3_PRIMARIES, gamma=2.2)
    Image.fromarray(pixels).save(path, icc_profile=profile)
    xyz = (pixels / 255) ** 2.2 @ DISPLAY_P3_PRIMARIES
    expected = srgb_encoded(xyz @ np.linalg.inv(SRGB_PRIMARIES))
    assert np.abs(expected - pixels).max() > 10
    assert_close(read(path), expected, within=1.5)


@pytest.mark.parametrize(
    ("dtype", "profile"),
    [
        pytest.param("u1", gray_profile(gamma=1), id="gray profile"),
        pytest.param("u2", gray_profile(gamma=1), id="gray profile, 16 bits"),
        pytest.param("u1", LINEAR, id="color profile"),
    ],
)
def test_gray_is_converted(tmp_path: Path, dtype: str, profile: bytes) -> None:
    values = np.arange(0, 256, 5)[None]
    pixels = (values * (257 if dtype == "u2" else 1)).astype(dtype)
    Image.fromarray(pixels).save(path := tmp_path / "x.tif", icc_profile=profile)
    assert_close(read(path), gray(srgb_encoded(values / 255)), within=1.5)


@pytest.mark.parametrize(
    ("channels", "profile"), [(2, gray_profile(gamma=1)), (4, LINEAR)]
)
def test_a_profile_applies_to_the_colors_but_not_to_alpha(
    tmp_path: Path, channels: int, profile: bytes
) -> None:
    pixels = np.full((4, 4, channels), 128, np.uint8)
    pixels[:2, :, -1] = 255
    Image.fromarray(pixels).save(path := tmp_path / "x.png", icc_profile=profile)
    color = srgb_encoded(np.array(128 / 255))
    image = read(path)
    assert_close(image[:2], color, within=1.5)
    assert_close(image[2:], 255 + (color - 255) * 128 / 255, within=1.5)


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
        pytest.param(pillow_profile("LAB"), id="Lab does not fit"),
        pytest.param(gray_profile(gamma=1), id="gray does not fit"),
        pytest.param(black_ink_profile(), id="CMYK does not fit"),
        pytest.param(b"no profile at all", id="text"),
        pytest.param(pillow_profile("sRGB")[:200], id="truncated"),
        pytest.param(pillow_profile("sRGB")[:128] + b"\xff" * 400, id="damaged"),
    ],
)
def test_srgb_and_useless_profiles_change_nothing(
    tmp_path: Path, profile: bytes
) -> None:
    pixels = noise(8, 8, 3)
    Image.fromarray(pixels).save(path := tmp_path / "x.png", icc_profile=profile)
    assert_close(read(path), pixels, within=1.01)
