"""The trainings that a net has gone through before its last one: see ``--init``."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portable_records import Record

from jaxstyle.commands.styles import BEFORE
from jaxstyle.commands.train_settings import STYLE
from jaxstyle.param_files import digest_params
from jaxstyle.style_files import load_style_file

KEPT = ("command", "steps", "settings", "data", "losses", "versions")
"""What is kept of a training whose net another has started from."""


def find_earlier(record: Record, start: str | Path) -> list[dict[str, Any]]:
    """Return what is known of the trainings that led to the net a training began with.

    Args:
        record: of the training.
        start: the file of that net, a style that was shipped.

    Raises:
        ValueError: it is not that net, or was not shipped.
    """
    params, metadata = load_style_file(start)
    if (found := digest_params(params)) != record["start"]:
        raise ValueError(
            f"{start} is not the net that the training started from: its digest is "
            f"{found}, expected {record['start']}; say by --start where that is"
        )
    if missing := [key for key in KEPT if key not in metadata]:
        raise ValueError(
            f"{start} does not hold {', '.join(missing)}: ship it before the styles "
            "that start from it"
        )
    earlier: list[dict[str, Any]] = json.loads(metadata.get(BEFORE, "[]"))
    return [*earlier, {key: json.loads(metadata[key]) for key in KEPT}]


def link_commands(commands: Sequence[str], name: str) -> list[str]:
    """Return commands of which each starts from the net of the one before.

    Args:
        commands: ``jaxstyle train``, in the order of the trainings.
        name: of the last one's folder; the others are numbered.
    """
    last = len(commands) - 1
    folders = [
        name if at == last else f"{name}-{at + 1}" for at in range(len(commands))
    ]
    starts = [{}, *({"--init": f"{folder}/{STYLE}"} for folder in folders[:-1])]
    return [
        _replace(command, {"-o": folder, **start})
        for command, folder, start in zip(commands, folders, starts, strict=True)
    ]


def _replace(command: str, values: Mapping[str, str]) -> str:
    """Replace the values of options that a command line has."""
    words = shlex.split(command)
    for option, value in values.items():
        words[words.index(option) + 1] = value
    return shlex.join(words)
