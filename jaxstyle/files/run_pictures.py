"""What a training shows when it is over: a plot of the losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxstyle.files.plots import Curve, save_loss_plot


def plot_losses(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss in training and on held-out photos over the steps.

    Args:
        metrics: as `jaxstyle.files.run_log.read_metrics` returns them.
        path: the file to write, in a format of `save_loss_plot`.

    Raises:
        ValueError: the file cannot be written.
    """
    curves = {
        "training": _curve(metrics, "loss"),
        "held-out photos": _curve(metrics, "validation_loss"),
    }
    save_loss_plot(curves, path, smoothed=["training"])


def _curve(metrics: Sequence[Mapping[str, Any]], name: str) -> Curve:
    lines = [line for line in metrics if name in line]
    return [line["step"] for line in lines], [line[name] for line in lines]
