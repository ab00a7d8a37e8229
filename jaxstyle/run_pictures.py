"""What a training shows: sheets of pictures, and a plot of the losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxstyle.files import atomic_path


def plot_losses(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss in training and on held-out photos over the steps, as a PNG.

    Args:
        metrics: as `jaxstyle.run_log.read_metrics` returns them.
        path: the file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, losses = _curve(metrics, "loss")
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="training")
    axes.plot(steps, _smooth(losses), color="tab:blue", label="training, smoothed")
    steps, losses = _curve(metrics, "validation_loss")
    axes.plot(steps, losses, color="tab:orange", marker=".", label="held-out photos")
    positive = any(line.get("loss", 0) > 0 for line in metrics)
    axes.set(xlabel="step", ylabel="loss", yscale="log" if positive else "linear")
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _curve(
    metrics: Sequence[Mapping[str, Any]], name: str
) -> tuple[np.ndarray, np.ndarray]:
    points = [(line["step"], line[name]) for line in metrics if name in line]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    return steps, values


def _smooth(losses: np.ndarray) -> np.ndarray:
    """Return running means over a fiftieth of the curve, up to each point."""
    window = max(1, len(losses) // 50)
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - window, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means
