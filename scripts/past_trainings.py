"""What is known of a training, and of those that its net went through before."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portable_records import (
    Record,
    describe_data,
    make_command,
    portable_arguments,
    portable_settings,
    read_record,
)

from jaxstyle.cli.styles_command import BEFORE, COMMAND
from jaxstyle.cli.train.training_settings import STYLE
from jaxstyle.files import run_log
from jaxstyle.files.param_files import digest_params
from jaxstyle.files.style_files import find_style, load_style_file

KEPT = (COMMAND, "steps", "settings", "data", "losses", "versions")
"""What is kept of a training whose net another has started from."""


def describe_training(
    run: Path, name: str, *, data: str | None = None, start: str | None = None
) -> dict[str, Any]:
    """Return what is to be known of a run of ``jaxstyle train``, without any path.

    Args:
        run: its folder.
        name: what the folder is called in the command.
        data: where the photos are now, if they moved.
        start: where the net is now that the run started from, if it moved.

    Raises:
        ValueError: something is missing, or is not what the run had.
    """
    _, metadata = load_style_file(run / STYLE)
    record = read_record(metadata, path=run / STYLE)
    given = record["arguments"]
    found = describe_data(record, data or given["data"])
    trained = portable_arguments(record, output=name, data=found["name"])
    start = start or given.get("init")
    earlier = find_earlier(record, find_style(start)) if start else []
    made_by = [*(each[COMMAND] for each in earlier), make_command(trained)]
    *commands, command = link_commands(made_by, name)
    return {
        COMMAND: command,
        BEFORE: [
            {**each, COMMAND: text}
            for each, text in zip(earlier, commands, strict=True)
        ],
        "losses": last_losses(run / run_log.METRICS),
        "steps": record["steps"],
        "settings": portable_settings(record),
        "data": found,
        "versions": record["versions"],
    }


def last_losses(path: Path) -> dict[str, float]:
    """Return all parts of the last validation, and the step that it was made at."""
    lines = [line for line in run_log.read_metrics(path) if "validation_loss" in line]
    if not lines:
        raise ValueError(f"there is no validation in {path}")
    return {key: value for key, value in lines[-1].items() if key != "time"}


def find_earlier(record: Record, start: Path) -> list[dict[str, Any]]:
    """Return what is known of the trainings that led to the net a training began with.

    Args:
        record: of the training.
        start: the file of that net: a style that was shipped, or one in its run.

    Raises:
        ValueError: it is not that net, or nothing is known about it.
    """
    params, metadata = load_style_file(start)
    if (found := digest_params(params)) != record["start"]:
        raise ValueError(
            f"{start} is not the net that the training started from: its digest is "
            f"{found}, expected {record['start']}; say by --start where that is"
        )
    if COMMAND in metadata:
        facts = {key: json.loads(metadata[key]) for key in (*KEPT, BEFORE)}
    else:
        facts = describe_training(start.parent, start.parent.name)
    return [*facts[BEFORE], {key: facts[key] for key in KEPT}]


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
