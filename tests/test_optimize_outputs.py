"""What ``jaxstyle optimize`` writes besides: films, sheets, plots."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import (
    TWO_SCALES,
    loss,
    make,
    optimize,
    refused_picture,
    settings,
)
from image_samples import places
from PIL import Image

from jaxstyle.cli.optimize import picture_outputs, picture_run
from jaxstyle.files import films
from jaxstyle.files.image_files import load_image

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("picture_folder")


def frames(path: str) -> list[np.ndarray]:
    """Return the frames of a film in [0, 1]."""
    if path.endswith(".mp4"):
        import av

        with av.open(path) as film:
            return [f.to_ndarray(format="rgb24") / 255 for f in film.decode(video=0)]
    with Image.open(path) as film:
        count = range(getattr(film, "n_frames", 1))
        return [frame(film, number) for number in count]


def frame(film: Image.Image, number: int) -> np.ndarray:
    film.seek(number)
    return np.asarray(film.convert("RGB")) / 255


# --- pictures on the way, film, sheet, plot -----------------------------------------


def test_save_every_keeps_pictures_on_the_way(picture_folder: Path) -> None:
    before = set(picture_folder.iterdir())
    make("--steps", "5", "--save-every", "2")
    made = sorted(path.name for path in set(picture_folder.iterdir()) - before)
    assert made == ["out.00002.png", "out.00004.png", "out.png"]
    assert [settings(name)["result"]["steps"] for name in made] == [2, 4, 5]
    assert loss("out.00002.png") > loss("out.00004.png") > loss("out.png")


def test_a_preview_shows_each_scale_and_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def watch(picture: Any, path: str | Path, run: Any, **result: float) -> None:
        save_picture(picture, path, run, **result)
        seen.append((str(path), result["steps"], load_image(path).shape))

    save_picture = picture_outputs.save_picture
    monkeypatch.setattr(picture_outputs, "save_picture", watch)
    picture = make(*TWO_SCALES, "--steps", "6", "--preview", "now.png")
    *scales, (last, _, _) = seen
    assert last == "out.png"
    assert [path for path, *_ in scales] == ["now.png", "now.png"]
    assert [steps for _, steps, _ in scales] == [4, 6]
    coarse, fine = (shape for *_, shape in scales)
    assert coarse[0] < fine[0]
    np.testing.assert_array_equal(load_image("now.png"), picture)


def test_a_preview_gets_no_older_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_run, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(picture_run, "SECONDS_PER_CALL", 0.0)
    steps = []

    def watch(picture: Any, path: str | Path, run: Any, **result: float) -> None:
        steps.append(result["steps"])

    monkeypatch.setattr(picture_outputs, "save_picture", watch)
    optimize("--steps", "4", "--preview", "now.png")
    assert steps == [1, 2, 3, 4, 4]


@pytest.mark.parametrize("keep", ["best", "average"])
def test_the_loss_of_a_picture_on_the_way_is_that_of_the_picture(keep: str) -> None:
    """As it is of the last, which one more step from it tells."""
    kept = ("--optimizer", "adam", "--learning-rate", "0.2", "--keep", keep)
    make(*kept, "--save-every", "2")
    make(*kept, "--steps", "2")
    assert loss("out.00002.png") == pytest.approx(loss(), rel=1e-5)


def test_the_photos_transparency_is_kept() -> None:
    with Image.open("content.png") as image:
        image.putalpha(Image.new("L", image.size, 255))
        image.paste((0, 0, 0, 0), (0, 0, image.width // 2, image.height))
        image.save("content.png")
    picture = make("--save-every", "2")
    for path in ("out.png", "out.00002.png"):
        with Image.open(path) as image:
            alpha = np.asarray(image.getchannel("A"))
        assert alpha.shape == picture.shape[:2]
        assert alpha[:, :13].max() == 0
        assert alpha[:, 19:].min() == 255


@pytest.mark.parametrize(
    ("film", "within"), [("film.gif", 0.2), ("film.webp", 0.2), ("film.mp4", 0.3)]
)
def test_a_film_goes_from_the_start_to_the_picture(
    picture_folder: Path, film: str, within: float
) -> None:
    picture = make(*TWO_SCALES, "--steps", "6", "--film", film)
    made = frames(film)
    assert len(made) > 2
    height, width, _ = picture.shape
    last = made[-1][:height, :width]
    assert np.abs(last - picture).mean() < within / 4
    photo = load_image("content.png", longest_side=width)
    start = made[0][:height, :width]
    assert np.abs(start - photo).mean() < np.abs(start - picture).mean() / 3
    assert not (picture_folder / "out.png.unfinished").exists()


def test_a_long_film_leaves_steps_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_outputs, "FRAMES", 4)
    make("--steps", "10", "--film", "film.mp4")
    held = 20 * films.HOLD
    assert len(frames("film.mp4")) == 5 + held  # after 0, 2, 4, 6 and 8 steps


def test_a_sheet_shows_photo_paintings_and_picture_side_by_side() -> None:
    picture = make("--sheet", "sheet.png", styles=("style.png", "style2.png"))
    sheet = load_image("sheet.png")
    photo = load_image("content.png", longest_side=32)
    ((top, left),) = places(photo, sheet)
    ((same, right),) = places(picture, sheet)
    assert same == top
    assert right > left + 32 + 18 + 48  # the paintings, as high as the picture
    assert sheet.shape[1] > right + 32


def test_a_plot_is_a_picture_of_the_losses(picture_folder: Path) -> None:
    make(*TWO_SCALES, "--steps", "9", "--plot", "plot.svg")
    drawn = (picture_folder / "plot.svg").read_text()
    assert "<!-- 32 px -->" in drawn
    assert "<!-- 45 px -->" in drawn
    make("--plot", "plot.png")
    assert load_image("plot.png").std() > 0.01


# --- what is refused before any work ------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--film", "film.avi"), "film film.avi: unknown suffix '.avi', use one of"),
        (("--sheet", "sheet.gif"), "sheet.gif: unknown suffix '.gif', use one of"),
        (("--plot", "plot.jpg"), "plot plot.jpg: unknown suffix '.jpg', use one of"),
        (("--plot", "missing/plot.png"), "there is no folder missing"),
        (("--size", "1000000"), "not enough memory for --size 1000000: needs 1"),
        (("--sheet", "content.png"), "content.png is an input; writing"),
        (("--plot", "style.png"), "style.png is an input; writing"),
        (("--masks", "m.png", "--sheet", "m.png"), "m.png is an input; writing"),
        (("--style-masks", "m.png", "-o", "m.png"), "m.png is an input; writing"),
        (("--sheet", "out.png"), "two of the files to write are the same"),
        (("--sheet", "x.png", "--plot", "./x.png"), "two of the files to write are"),
        (
            ("--steps", "9", "--save-every", "4", "--plot", "out.00004.png"),
            "two of the files to write are the same",
        ),
        (("--sweep", "strength=0,1", "--film", "f.gif"), "--sweep makes a sheet alone"),
        (("--sweep", "strength=0,1", "--sheet", "s.png"), "--sweep makes a sheet alo"),
        (("--sweep", "strength=0,1", "--plot", "p.png"), "--sweep makes a sheet alone"),
        (
            ("--sweep", "strength=0", "--sweep", "strength=1"),
            "--sweep of strength twice",
        ),
        (("--sweep", "strength=0.5,0.50"), "two values of --sweep would have the same"),
        (
            ("--sweep", "strength=0,1", "--init", "out.strength=1.png"),
            "out.strength=1.png is an input; writing",
        ),
        (
            ("--sweep", "strength=0,1", "--resume"),
            "nothing to resume: there is no sweep in out.png.unfinished",
        ),
        (("--sweep", "style=style2.png"), "style.png would not be used: put it among"),
        (("--sweep", "content=style.png"), "content.png would not be used: put it"),
        (
            ("--sweep", "style=style.png,./style.jpg"),
            "two values of --sweep would have the same name, in out.style=style.png",
        ),
        (
            ("--sweep", "content=content.png,out.content=content.png"),
            "out.content=content.png is an input; writing",
        ),
        (
            ("--sweep", "strength=1,1", "--save-every", "1"),
            "two values of --sweep would have the same name, in out.strength=1.png",
        ),
        (("--sweep", "seed=1,2"), "needs noise to start from, got --init content; use"),
    ],
)
def test_what_cannot_be_written_is_refused(
    capsys: Captured, options: tuple[str, ...], named: str
) -> None:
    Image.new("L", (48, 36), "white").save("m.png")
    assert named in refused_picture(capsys, *options)
