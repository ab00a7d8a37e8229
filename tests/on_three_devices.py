"""Commands where there are three devices; tests/test_devices_command.py runs this."""

from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import SHALLOW, TWO_SCALES, loss, make, offer, optimize, run, settings
from decoder_samples import fit_decoder, make_vgg
from stylize_samples import STYLE, assert_picture, expected, save_photo
from video_samples import shot, write_clip

from jaxstyle import load_image
from jaxstyle.cli import painted_styles
from jaxstyle.cli.loading import Style
from jaxstyle.cli.optimize import picture_run
from jaxstyle.cli.stylize.painting import Batch, Painter
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.nets.transform_net import Params
from jaxstyle.scaling import memory

Captured = pytest.CaptureFixture[str]

COARSE_TO_FINE = (*TWO_SCALES, "--steps", "6")

in_pictures = pytest.mark.usefixtures("picture_folder")
in_styles = pytest.mark.usefixtures("plain_convolutions", "stylize_folder")


def test_there_are_three() -> None:
    assert jax.device_count() == 3


# --- optimize -----------------------------------------------------------------------


@in_pictures
@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_three_devices_make_the_picture_of_one(
    method: str, picture_folder: Path
) -> None:
    """The heights of both scales, 24 and 34, leave rows to append."""
    keep = "average" if method == "adam" else "best"
    by_method = (*COARSE_TO_FINE, "--optimizer", method, "--keep", keep)
    options = [*by_method, "--masks", "content.png", "--save-every", "4"]
    whole, loss_of_one = make(*options), loss()
    before = load_image("out.00004.png")
    divided = make(*options, "--devices", "3", "--film", "film.gif")
    assert settings()["arguments"]["devices"] == 3
    np.testing.assert_allclose(divided, whole, rtol=0, atol=1.1 / 255)
    assert_picture("out.00004.png", before, within=1.1 / 255)
    assert loss() == pytest.approx(loss_of_one, rel=1e-4)
    assert not (picture_folder / "out.png.unfinished").exists()


@in_pictures
def test_a_run_goes_on_with_more_devices(
    monkeypatch: pytest.MonkeyPatch, picture_folder: Path
) -> None:
    options = (*COARSE_TO_FINE, "--optimizer", "lbfgs", "--keep", "best")
    whole = make(*options)
    save_progress = picture_run.save_progress

    def save_and_stop(*given: object) -> None:
        save_progress(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(picture_run, "CHECKPOINT_SECONDS", -1)
        patch.setattr(picture_run, "save_progress", save_and_stop)
        assert optimize(*options, "--devices", "2") == 130
    (step,) = find_checkpoints(picture_folder / "out.png.unfinished" / "checkpoints")
    assert 0 < step < 6
    resumed = make(*options, "--devices", "3", "--resume")
    np.testing.assert_allclose(resumed, whole, rtol=0, atol=1.1 / 255)


@in_pictures
def test_devices_divide_what_is_too_large_for_one(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(*COARSE_TO_FINE)
    offer(monkeypatch, 1000, 10**10)
    capsys.readouterr()
    command = ("optimize", "content.png", "style.png", "-o", "divided.png", *SHALLOW)
    assert run([*command, *COARSE_TO_FINE]) == 0
    said = capsys.readouterr().err
    assert "0.0 GB is free; continuing sharded across 3 devices" in said
    assert_picture("divided.png", whole, within=1.1 / 255)


@in_pictures
def test_tiles_come_after_devices(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TILE", 30)
    offer(monkeypatch, 1000, 1000, 10**10)
    command = ("optimize", "content.png", "style.png", "-o", "out.png", *SHALLOW)
    assert run([*command, "--steps", "2"]) == 0
    said = capsys.readouterr().err
    assert said.index("sharded across 3") < said.index(
        "continuing in tiles of 30 pixels"
    )


@in_pictures
def test_a_sweep_is_divided_picture_by_picture() -> None:
    make("--sweep", "strength=0.3,0.6", "--devices", "3")
    made = load_image("out.strength=0.6.png")
    alone = make("--strength", "0.6")
    np.testing.assert_allclose(made, alone, rtol=0, atol=1.1 / 255)


@in_pictures
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--devices", "4"), "--devices 4 is more than the 3 available; use at most 3"),
        (
            ("--devices", "2", "--tile", "20"),
            "--devices and --tile exclude each other; give one of them",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    capsys: Captured, options: tuple[str, ...], line: str
) -> None:
    for command in (
        ["optimize", "content.png", "style.png"],
        ["stylize", "content.png", "--style", "great-wave"],
    ):
        assert run([*command, "-o", "out.png", *options]) == 2
        assert capsys.readouterr().err == f"jaxstyle {command[0]}: error: {line}\n"


# --- stylize ------------------------------------------------------------------------


@in_styles
def test_devices_divide_the_rows_of_a_photo(nets: dict[str, Params]) -> None:
    save_photo("high.png", 53, 30)
    command = ("stylize", "high.png", *STYLE, "-o", "out.png", "--devices", "3")
    assert run(command) == 0
    assert_picture("out.png", expected(nets["wave"], "high.png"))


@in_styles
def test_devices_share_batches(
    nets: dict[str, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seven photos of two sizes five are like each other."""
    shapes = []
    paint = Painter.__call__

    def noting(painter: Painter, style: Style, batch: Batch) -> jax.Array:
        shapes.append(batch.images.shape)
        return paint(painter, style, batch)

    monkeypatch.setattr(Painter, "__call__", noting)
    photos = [f"{n}.png" for n in range(7)]
    for n, photo in enumerate(photos):
        save_photo(photo, 20 if n < 5 else 90, 36 + n)
    assert run(["stylize", *photos, *STYLE, "-o", "out", "--devices", "3"]) == 0
    assert shapes == [(6, 64, 64, 3), (3, 128, 64, 3)]
    for photo in photos:
        assert_picture(f"out/{photo}", expected(nets["wave"], photo))


@in_styles
def test_a_photo_that_is_too_large_for_one_device_is_divided(
    nets: dict[str, Params], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, 1000, 10**9)
    command = ("stylize", "photo.png", "--style", "wave.safetensors", "-o", "out.png")
    assert run(command) == 0
    said = capsys.readouterr().err
    assert "continuing sharded across 3 devices" in said
    assert "compiling for 36x20 pixels sharded across 3 devices on " in said
    assert_picture("out.png", expected(nets["wave"], "photo.png"))


@in_styles
def test_devices_share_the_frames_of_a_film() -> None:
    write_clip("clip.mkv", shot((200, 60, 40), 7))
    for name, options in {"one": (), "three": ("--devices", "3")}.items():
        command = ("video", "clip.mkv", *STYLE, "-o", f"{name}/", "--blend", "0")
        assert run([*command, *options]) == 0
    for index in range(1, 8):
        picture = load_image(f"one/{index:06d}.png")
        assert_picture(f"three/{index:06d}.png", picture, within=1.1 / 255)


@in_pictures
@pytest.mark.usefixtures("narrow_vgg", "plain_convolutions")
def test_devices_share_the_rows_of_a_photo_that_is_painted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = make_vgg()
    narrow = {"encoder": encoder, "decoder": fit_decoder(encoder)}
    monkeypatch.setattr(painted_styles, "_transport", lambda: narrow)
    command = ("stylize", "style.png", "--style", "content.png")
    assert run([*command, "-o", "whole.png", "--devices", "1"]) == 0
    assert run([*command, "-o", "shared.png", "--devices", "3"]) == 0
    assert_picture("shared.png", load_image("whole.png"), within=1.1 / 255)
