"""What ``jaxstyle train`` writes beside logs and checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.cli.train.training_inputs import Inputs
from jaxstyle.cli.train.training_settings import PICTURES, PLOT, STYLE
from jaxstyle.files import run_log
from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.figures import make_sheet, plot_losses
from jaxstyle.files.image_files import save_image
from jaxstyle.files.style_files import load_style_file, save_style
from jaxstyle.training.loop import State

ROWS = 4
"""How many held-out photos a sheet of pictures shows."""


def save_pictures(folder: Path, inputs: Inputs, state: State, stylize: Any) -> None:
    """Write rows of a painting, a held-out photo, and what becomes of it."""
    photos = inputs.held_out[:ROWS] / np.float32(255)
    params = jax.tree.map(np.asarray, state.params)  # for this process alone
    outputs = np.clip(stylize(params, photos), 0, 1)
    styles = [np.asarray(style) for style in inputs.styles]
    rows = [
        (styles[index % len(styles)], photo, output)
        for index, (photo, output) in enumerate(zip(photos, outputs, strict=True))
    ]
    sheet = make_sheet(rows, column_labels=("style", "content", "output"))
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    save_image(sheet, pictures / f"step_{int(state.step):05d}.png")


def save_results(
    folder: Path, inputs: Inputs, state: State, record: Mapping[str, Any]
) -> dict[str, float]:
    """Write the plot of the losses, and the net with all about it.

    Returns:
        The last losses by name.
    """
    metrics = run_log.read_metrics(folder / run_log.METRICS)
    plot_losses(metrics, folder / PLOT)
    losses: dict[str, float] = {}
    for line in metrics:
        losses |= {key: line[key] for key in line if key in ("loss", "validation_loss")}
    result = {
        "steps": int(state.step),
        "losses": losses,
        "data_report": inputs.report.summary(),
    }
    metadata = {key: json.dumps(value) for key, value in {**record, **result}.items()}
    params = jax.tree.map(np.asarray, dict(state.params))
    save_style(params, folder / STYLE, metadata=metadata)
    return losses


def has_results(folder: Path, state: State) -> bool:
    """Return whether the net of a state is written."""
    path = folder / STYLE
    if not path.exists():
        return False
    _, metadata = load_style_file(path)
    return metadata.get("steps") == json.dumps(int(state.step))


def save_json(value: Any, path: Path) -> None:
    """Write a JSON file, wholly or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")
