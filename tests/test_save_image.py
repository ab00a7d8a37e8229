"""Pictures and their settings survive on disk, or the old file does."""

import json
import os
import stat
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from image_samples import (
    assert_close,
    blocks,
    gray,
    noise,
    oriented,
    read,
    refusal,
    smooth,
)
from PIL import Image, JpegImagePlugin

from jaxstyle.files.image_decoding import ImageFileWarning
from jaxstyle.files.image_files import (
    check_image_path,
    load_image,
    load_opacity,
    load_settings,
    save_image,
    write_pixels,
)

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
LOSSLESS = (".png", ".tif")
ONE_PER_FORMAT = [".png", ".jpg", ".webp", ".tif"]


def save_smooth(path: Path) -> None:
    save_image(smooth(), path)


# --- transparency -------------------------------------------------------------------

OPACITY = np.tile(np.array([0, 1, 80, 255], np.uint8), (16, 8))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_opacity_is_kept_and_colors_over_white_stay(
    tmp_path: Path, suffix: str
) -> None:
    pixels = np.maximum(blocks(), 255 - OPACITY[..., None])  # all that can be shown
    path = tmp_path / f"x{suffix}"
    write_pixels(pixels, path, opacity=Image.fromarray(OPACITY))
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert_close(np.asarray(image.getchannel("A")), OPACITY)
    if suffix == ".webp":  # which is lossy, at edges above all
        assert np.abs(read(path) - pixels).mean() < 9
    else:
        assert_close(read(path), pixels, within=1)


def test_of_jpeg_files_one_warning_says_that_they_are_over_white(
    tmp_path: Path,
) -> None:
    path, opacity = tmp_path / "x.jpg", Image.fromarray(OPACITY)
    with pytest.warns(ImageFileWarning, match="JPEG files have no transparency") as all:
        write_pixels(blocks(), path, opacity=opacity)
    assert str(path) not in str(all[0].message)  # so it is shown once
    assert_close(read(path), blocks(), within=9)


def test_the_opacity_of_a_file_is_upright_and_none_if_nothing_is_transparent(
    tmp_path: Path,
) -> None:
    image = Image.fromarray(np.dstack([blocks(), OPACITY]))
    image.save(path := tmp_path / "x.png", exif=oriented(6))
    found = load_opacity(path, (32, 16))
    assert found is not None
    assert_close(np.asarray(found), np.rot90(OPACITY, -1))
    image.putalpha(255)
    image.save(path)
    assert load_opacity(path, (16, 32)) is None


# --- pixels -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*FORMATS, ".PNG"])
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert image.format == FORMATS[suffix.lower()]
        assert image.mode == "RGB"
    assert_close(read(path), smooth() * 255, within=9)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_every_8_bit_value_survives_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = noise(32, 32, 3)
    save_image(pixels.astype(np.float32) / 255, path := tmp_path / f"x{suffix}")
    assert_close(read(path), pixels)


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
    save_image(gray(values[None]), path := tmp_path / "x.png")
    assert_close(read(path)[0, :, 0], [0, 0, 0, 1, 100, 255, 255])


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3), (0, 4, 3)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image") as refused:
        save_image(np.zeros(shape), tmp_path / "x.png")
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_integers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="divide 8-bit images by 255"):
        save_image(noise(4, 4, 3), tmp_path / "x.png")


def test_saving_replaces_an_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_image(np.zeros((4, 4, 3)), path, settings={"old": True})
    save_image(np.ones((5, 5, 3)), path, settings={"new": True})
    assert read(path).shape == (5, 5, 3)
    assert load_settings(path) == {"new": True}


# --- failures -----------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a file that must stay as it is."""
    (path := tmp_path / "x.jpg").write_bytes(b"old")
    return path


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_leave_the_old_file(old: Path, value: float) -> None:
    image = smooth()
    image[3, 4, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        save_image(image, old)
    assert_untouched(old)


def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_midway(_: Image.Image, path: Path, **__: object) -> None:
        path.write_bytes(b"half an im")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail_midway)
    reason = refusal(old, save_smooth)
    assert reason == "cannot write the image PATH: No space left on device"
    assert_untouched(old)


def test_a_picture_too_wide_for_its_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.webp"
    refusal(path, lambda path: save_image(np.zeros((1, 20000, 3)), path))
    assert list(tmp_path.iterdir()) == []


def test_settings_that_json_cannot_hold_leave_the_old_file(old: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_image(smooth(), old, settings={"path": old})
    assert_untouched(old)


def test_settings_too_long_for_jpeg_leave_the_old_file(old: Path) -> None:
    settings: dict[str, object] = {"text": "x" * 70000}
    reason = refusal(old, lambda path: save_image(smooth(), path, settings=settings))
    assert "too long" in reason
    assert_untouched(old)


# --- settings -----------------------------------------------------------------------

SETTINGS: dict[str, object] = {
    "steps": 500,
    "rate": 0.02,
    "seed": None,
    "weights": {"relu2_2": [1, [2.5, "x"]]},
    "ü": "日本 🎨 \n\0 \"'\\",
    "long": ["value " * 10] * 80,
}


@pytest.mark.parametrize("suffix", ONE_PER_FORMAT)
def test_settings_survive_as_plain_exif(tmp_path: Path, suffix: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}", settings=SETTINGS)
    assert load_settings(path) == load_settings(str(path)) == SETTINGS
    assert_close(read(path), smooth() * 255, within=9)
    with Image.open(path) as image:
        exif = image.getexif()
        assert exif[0x0131] == f"jaxstyle {metadata.version('jaxstyle')}"
        assert json.loads(exif[0x010E]) == SETTINGS


def test_empty_settings_are_settings(tmp_path: Path) -> None:
    save_image(smooth(), path := tmp_path / "x.png", settings={})
    assert load_settings(path) == {}


def test_settings_are_recorded_by_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_found(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_found)
    save_image(smooth(), path := tmp_path / "x.png", settings={"a": 1})
    assert load_settings(path) == {"a": 1}


@pytest.mark.parametrize("suffix", ONE_PER_FORMAT)
def test_an_image_saved_without_settings_has_none(tmp_path: Path, suffix: str) -> None:
    save_image(smooth(), path := tmp_path / f"x{suffix}")
    assert "no settings in PATH" in refusal(path, load_settings)


@pytest.mark.parametrize(
    ("description", "software", "reason"),
    [
        ("A photo", "Some camera", "no settings in PATH"),
        ('{"shape": [3, 4]}', "another program", "no settings in PATH"),
        ("[1, 2]", "jaxstyle 1.0", "no settings in PATH"),
        ('{"steps": 5', "jaxstyle 1.0", "cannot read the image PATH"),
    ],
)
def test_other_descriptions_are_no_settings(
    tmp_path: Path, description: str, software: str, reason: str
) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0131] = description, software
    Image.fromarray(blocks()).save(path := tmp_path / "x.png", exif=exif)
    assert reason in refusal(path, load_settings)


# --- checks in advance --------------------------------------------------------------

both_checks = pytest.mark.parametrize("function", [check_image_path, save_smooth])
Check = Callable[[Path], None]


@pytest.mark.parametrize("suffix", [*FORMATS, ".Jpg"])
def test_a_good_output_path_passes_and_nothing_is_created(
    tmp_path: Path, suffix: str
) -> None:
    check_image_path(tmp_path / f"x{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_passes_and_stays(old: Path) -> None:
    check_image_path(str(old))
    assert_untouched(old)


def test_an_output_path_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_image_path("x.png")
    save_image(smooth(), "x.png")
    assert load_image("x.png").shape == smooth().shape


@both_checks
@pytest.mark.parametrize("name", ["x", "x.bmp", "x.png.part", ".png"])
def test_an_unknown_suffix_is_refused(
    tmp_path: Path, name: str, function: Check
) -> None:
    reason = refusal(tmp_path / name, function)
    assert all(suffix in reason for suffix in FORMATS)
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
    old: Path, monkeypatch: pytest.MonkeyPatch, function: Check
) -> None:
    # An administrator may write everywhere, so permission bits alone prove nothing.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "write-protected" in refusal(old, function)
    assert_untouched(old)


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


# --- metadata, names and modes -----------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("length", [65_000, 66_000, 10**6])
def test_no_picture_is_lost_to_its_settings(
    tmp_path: Path, suffix: str, length: int
) -> None:
    path = tmp_path / f"x{suffix}"
    settings: dict[str, object] = {"steps": "x" * length}
    if length > 65_533 and suffix in (".jpg", ".jpeg"):
        with pytest.warns(ImageFileWarning, match="holds no settings: they are too"):
            save_image(smooth(), path, settings=settings)
    else:
        save_image(smooth(), path, settings=settings)
        assert load_settings(path) == settings
    assert load_image(path).shape == smooth().shape


def test_names_are_as_long_as_they_may_be(tmp_path: Path) -> None:
    save_image(smooth(), path := tmp_path / f"{'x' * 251}.png")
    assert load_image(path).shape == smooth().shape
    longer = path.with_stem("x" * 252)
    with pytest.raises(ValueError, match="File name too long"):
        check_image_path(longer)


def test_a_pipe_is_not_replaced_by_a_picture(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "x.png")
    with pytest.raises(ValueError, match="not a regular file"):
        save_image(smooth(), path)
    assert path.is_fifo()


def test_threads_do_not_change_the_mode_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read the umask is to set it, for all threads."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        save_image(smooth(), path := tmp_path / "x.png")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)
