"""Plots of losses: what is in them, their formats, and failing to write them."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from full_disk import small_files
from image_samples import refusal
from PIL import Image

from jaxstyle.files.figures import (
    Curve,
    check_plot_path,
    plot_losses,
    save_loss_plot,
)

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)

FALLING = np.arange(1, 200), 100 / np.arange(1, 200)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def has_color(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - color).max(-1) < 8).any())


def svg(folder: Path, curves: dict[str, Any], **options: Any) -> str:
    """Draw an SVG and return it; matplotlib keeps texts there as comments."""
    save_loss_plot(curves, folder / "x.svg", **options)
    return (folder / "x.svg").read_text()


def texts(content: str) -> list[str]:
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", content)]


# --- what is drawn ------------------------------------------------------------------


def test_curves_are_drawn_and_named(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save_loss_plot({"loss": FALLING}, path)
    one = pixels(path)
    assert has_color(one, BLUE)
    assert not has_color(one, ORANGE)
    curves = {"loss": FALLING, "style": (FALLING[0], FALLING[1] / 2)}
    save_loss_plot(curves, path)
    assert has_color(pixels(path), BLUE)
    assert has_color(pixels(path), ORANGE)
    names = texts(svg(tmp_path, curves))
    assert {"step", "loss", "style"} <= set(names)
    assert names.count("loss") == 2  # the axis and the curve


def test_a_noisy_curve_is_pale_and_its_mean_is_drawn_as_well(tmp_path: Path) -> None:
    pale, strong = "stroke: #cccccc; stroke-width: 0.8", "stroke: #1f77b4"
    plain = svg(tmp_path, {"loss": FALLING})
    assert pale not in plain
    assert "loss, smoothed" not in texts(plain)
    noisy = svg(tmp_path, {"loss": FALLING}, smoothed=["loss"])
    assert pale in noisy
    assert strong in noisy
    assert "loss, smoothed" in texts(noisy)


def test_marks_are_lines_with_labels(tmp_path: Path) -> None:
    plain = svg(tmp_path, {"loss": FALLING})
    marked = svg(tmp_path, {"loss": FALLING}, marks={1: "128 px", 90: "181 px"})
    assert {"128 px", "181 px"} <= set(texts(marked))
    assert not {"128 px", "181 px"} & set(texts(plain))
    dotted = "stroke-dasharray"
    assert marked.count(dotted) == plain.count(dotted) + 2


def test_the_scale_is_logarithmic_where_it_can_be(tmp_path: Path) -> None:
    falling = texts(svg(tmp_path, {"loss": FALLING}))
    assert any("10^{2}" in text for text in falling)
    below = texts(svg(tmp_path, {"loss": ([1, 2, 3], [-1.0, 0.0, -2.0])}))
    assert not any("10^" in text for text in below)
    assert "loss" in below


def test_a_curve_of_zeros_is_left_out_beside_others(tmp_path: Path) -> None:
    zeros = FALLING[0], np.zeros(199)
    found = texts(svg(tmp_path, {"loss": FALLING, "total_variation": zeros}))
    assert "total_variation" not in found
    assert "total_variation" in texts(svg(tmp_path, {"total_variation": zeros}))


def test_zeros_are_gaps_on_a_logarithmic_scale(tmp_path: Path) -> None:
    def lowest_blue(values: np.ndarray) -> int:
        save_loss_plot({"loss": (FALLING[0], values)}, tmp_path / "x.png")
        close = np.abs(pixels(tmp_path / "x.png").astype(int) - BLUE).max(-1) < 8
        return int(np.nonzero(close)[0].max())

    with_zeros = np.where(abs(FALLING[0] - 100) < 5, 0, FALLING[1])
    assert lowest_blue(with_zeros) == lowest_blue(FALLING[1])


def test_few_values_are_dots_as_well(tmp_path: Path) -> None:
    def uses(count: int) -> int:
        steps = np.arange(count)
        return svg(tmp_path, {"loss": (steps, 1.0 + steps)}).count("<use")

    assert uses(70) - uses(30) == pytest.approx(40, abs=10)  # and the ticks
    assert uses(150) < uses(70)


# --- files --------------------------------------------------------------------------


def test_the_suffix_chooses_the_format(tmp_path: Path) -> None:
    for suffix in (".png", ".svg", ".pdf", ".PNG"):
        save_loss_plot({"loss": FALLING}, tmp_path / f"x{suffix}")
    assert pixels(tmp_path / "x.png").shape == (500, 800, 3)
    assert pixels(tmp_path / "x.PNG").shape == (500, 800, 3)
    assert ElementTree.parse(tmp_path / "x.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    assert len(list(tmp_path.iterdir())) == 4


def draw(path: Path) -> None:
    save_loss_plot({"loss": FALLING}, path)


@pytest.mark.parametrize("function", [draw, check_plot_path])
def test_a_path_that_cannot_be_written_is_refused(
    tmp_path: Path, function: Callable[[Path], None]
) -> None:
    reason = refusal(tmp_path / "x.jpg", function)
    assert reason.startswith("cannot write the plot PATH: unknown suffix '.jpg'")
    assert all(suffix in reason for suffix in (".pdf", ".png", ".svg"))
    assert "there is no folder" in refusal(tmp_path / "no" / "x.png", function)
    assert list(tmp_path.iterdir()) == []


def test_steps_and_values_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    curves: dict[str, Curve] = {"loss": FALLING, "style": ([1, 2], [1.0, 2.0, 3.0])}
    with pytest.raises(ValueError, match=r"'style' .* got \(2,\) and \(3,\)"):
        save_loss_plot(curves, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_plot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    with small_files(500):
        reason = refusal(tmp_path / "x.png", draw)
    assert "cannot write the plot PATH: File too large" in reason
    assert (tmp_path / "x.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.png"]


# --- of a training ------------------------------------------------------------------


def test_a_training_shows_both_losses(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    training = [{"step": n, "loss": 100 / n} for n in range(1, 200)]
    held_out = [{"step": n, "validation_loss": 150 / (n + 1)} for n in (0, 100, 199)]
    plot_losses([*training, *held_out], path)
    both = pixels(path)
    assert all(has_color(both, color) for color in (BLUE, ORANGE))
    plot_losses([{**line, "loss": line["loss"] / 1e6} for line in training], path)
    assert (pixels(path) != both).any()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{"step": 0, "validation_loss": 3.0}],
        [{"step": 0, "validation_loss": 3.0}, {"step": 1, "loss": 2.0}],
        [{"step": 1, "loss": 0.0}, {"step": 2, "loss": 0.0}],
    ],
)
def test_a_short_training_can_be_drawn(tmp_path: Path, metrics: list[Any]) -> None:
    plot_losses(metrics, tmp_path / "loss.png")
    assert pixels(tmp_path / "loss.png").ndim == 3
