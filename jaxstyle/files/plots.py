"""Plots of losses over steps, as PNG, SVG or PDF."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.image_files import check_output_path, explained

Numbers: TypeAlias = Sequence[float] | ArrayLike
Curve: TypeAlias = tuple[Numbers, Numbers]
"""Steps and the values there, ``[n]`` each."""

SUFFIXES = (".pdf", ".png", ".svg")

FEW = 100
"""Up to how many values a curve has that are drawn as dots, too."""


def save_loss_plot(
    curves: Mapping[str, Curve],
    path: str | Path,
    *,
    smoothed: Collection[str] = (),
    marks: Mapping[int, str] | None = None,
) -> None:
    """Draw losses over the steps, on a logarithmic scale if any is above zero.

    On that scale, what is not above zero is left out.

    Args:
        curves: losses by name.
        path: the suffix chooses the format: `SUFFIXES`.
        smoothed: the names of noisy curves, which are drawn pale, and a running mean
            with them.
        marks: step -> what begins there, like ``{0: "128 px", 100: "181 px"}``: an
            upright line and a label.

    Raises:
        ValueError: the suffix is unknown, a curve's steps and values differ in number,
            or writing failed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_plot_path(path)
    points = {name: _check_curve(name, curve) for name, curve in curves.items()}
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlabel="step", ylabel="loss")
    if any((values > 0).any() for _, values in points.values()):
        axes.set_yscale("log", nonpositive="mask")
        points = {name: p for name, p in points.items() if (p[1] > 0).any()}
    for name, (steps, values) in points.items():
        if name in smoothed:
            axes.plot(steps, values, color="0.8", linewidth=0.8, label=name)
            axes.plot(steps, _smooth(values), label=f"{name}, smoothed")
        else:
            axes.plot(
                steps, values, marker="." if len(steps) <= FEW else "", label=name
            )
    _draw_marks(axes, marks or {})
    axes.grid(alpha=0.3)
    if points:
        axes.legend()
    with explained("write", Path(path), kind="plot"), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def check_plot_path(path: str | Path) -> None:
    """Raise, before any long work, unless a plot can be written to ``path``.

    Raises:
        ValueError: the suffix is unknown, the folder is missing or write-protected, or
            ``path`` is a folder or a write-protected file.
    """
    check_output_path(path, kind="plot", suffixes=SUFFIXES)


def _check_curve(name: str, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.asarray(axis, np.float64) for axis in curve)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(
            f"the curve {name!r} needs as many steps as values, [n] each, got "
            f"{steps.shape} and {values.shape}"
        )
    return steps, values


def _draw_marks(axes: Any, marks: Mapping[int, str]) -> None:
    """Draw lines, and labels along the upper side, where they hide no curve."""
    for step in marks:
        axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
    upper = axes.secondary_xaxis("top")
    upper.set_xticks(list(marks), list(marks.values()), ha="left", fontsize="small")
    upper.tick_params(length=0)


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Return running means over a fiftieth of the curve, up to each point."""
    window = max(1, len(losses) // 50)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - window, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means
