"""Pictures are measured against a painting and their photo."""

from collections.abc import Iterator

import numpy as np
import pytest
from measure_pictures import main
from PIL import Image

pytestmark = pytest.mark.usefixtures("plain_convolutions")

Captured = pytest.CaptureFixture[str]

LEFT = [f"left % relu{block}_1" for block in range(1, 6)]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work in a folder with a photo and a painting of one size, and others."""
    path = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    dark, light = random.uniform(0, 90, (6, 8, 3)), random.uniform(120, 255, (6, 8, 3))
    photo, painting = (x.repeat(16, 0).repeat(16, 1) for x in (dark, light))
    woven = photo.copy()
    woven[:, ::4] += 30
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        save("photo.png", photo)
        save("painting.png", painting)
        save("half.png", np.where(np.arange(128)[:, None] < 64, photo, painting))
        save("woven.png", woven)
        save("cropped.png", painting[1:-1])
        save("square.png", painting[:, :96])
        yield


def save(name: str, pixels: np.ndarray) -> None:
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(name)


def measured(capsys: Captured, *pictures: str) -> list[dict[str, float]]:
    """Return the table's rows, that of the photo first."""
    assert main(["photo.png", "painting.png", *pictures, "--size", "128"]) == 0
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    )
    assert [row[0] for row in rows] == ["photo.png", *pictures]
    return [dict(zip(head[1:], map(float, row[1:]), strict=True)) for row in rows]


def test_all_is_left_of_the_photo_and_nothing_of_the_painting(
    capsys: Captured,
) -> None:
    photo, between, same = measured(capsys, "half.png", "painting.png")
    assert photo["content"] == 0 < between["content"] < same["content"]
    for layer in LEFT:
        assert photo[layer] == 100 > between[layer] > same[layer]
        assert same[layer] == pytest.approx(0, abs=0.1)


def test_a_weave_stands_out_at_its_period(capsys: Captured) -> None:
    photo, woven = measured(capsys, "woven.png")
    assert woven["weave 4"] > photo["weave 4"] + 10


def test_a_picture_may_lack_a_few_rows_and_no_more(capsys: Captured) -> None:
    _, cropped = measured(capsys, "cropped.png")
    assert max(cropped[layer] for layer in LEFT) < 20
    with pytest.raises(SystemExit) as stop:
        main(["photo.png", "painting.png", "square.png"])
    assert stop.value.code == 2
    assert "square.png has other proportions" in capsys.readouterr().err
