"""Films whose motion is known, and what is measured of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import measure_video
import numpy as np
import pytest
from image_samples import smooth
from measure_video import MOTIONS, film_error, largest_changes, make_film
from PIL import Image

from jaxstyle import load_image


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """Write a photo of waves."""
    rows, columns = np.mgrid[:60, :72]
    waves = np.sin(rows / 3)[..., None] * smooth(60, 72) * 0.4 + 0.5
    waves[..., 0] += 0.05 * np.sin(columns / 2)
    Image.fromarray(np.rint(255 * waves).astype(np.uint8)).save(tmp_path / "still.png")
    return tmp_path / "still.png"


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_motion_of_films_is_exact(still: Path, motion: str) -> None:
    photo = jnp.asarray(load_image(still))
    film = np.array(make_film(photo, MOTIONS[motion], 3))
    assert film.shape[1:] == (48, 60, 3)
    error = film_error(film, MOTIONS[motion])
    unmoved = film_error(film, lambda _: np.eye(3))
    assert 0 < error < unmoved / 20


def test_changes_are_measured_where_the_ball_is_not() -> None:
    pictures = np.zeros((2, 160, 200, 3), np.float32)
    pictures[1, 40, 37 + 6] = 1  # in the ball
    pictures[1, 70, 37 + 6] = 20 / 255  # 10 pixels from it
    pictures[1, 159, 199] = 3 / 255
    assert largest_changes(pictures) == [20, 3, 3, 3]


def test_a_row_tells_the_errors_of_all_ways(
    still: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pretend(_: str, frames: list[np.ndarray], __: Any) -> Iterable[Any]:
        noise = np.random.default_rng(0).normal(0, 0.1, np.shape(frames))
        shares = {"by frame": 1.0, "held": 0.5, "flow": 0.1}
        return {way: frames + share * noise for way, share in shares.items()}.items()

    monkeypatch.setattr(measure_video, "make_all", pretend)
    arguments = measure_video.make_parser().parse_args(
        [str(still), "--style", "x", "--size", "60", "--frames", "3"]
    )
    arguments.keep = tmp_path / "sheets"
    measure_video.print_row("x", "pan", MOTIONS["pan"], arguments)
    style, motion, *numbers = capsys.readouterr().out.strip("| \n").split(" | ")
    film, by_frame, held, flow, ratio, _ = map(float, numbers)
    assert (style, motion) == ("x", "pan")
    assert film < flow < held < by_frame
    assert ratio == pytest.approx(flow / by_frame, abs=0.01)
    assert [path.name for path in arguments.keep.iterdir()] == ["x-pan-still.png"]
