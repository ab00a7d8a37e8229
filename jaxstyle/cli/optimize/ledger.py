"""What has come of a sweep so far, in a file that is there until all is made."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.checkpoints import find_differences

LEDGER = "sweep.json"
"""The name of the file."""


@dataclass(frozen=True)
class Ledger:
    """What has come of a sweep, and how it is made.

    Attributes:
        configuration: all that shapes the numbers.
        lanes: how many pictures are made side by side, by group, as far as it is known.
            Rounding depends on it, so that a sweep that is resumed keeps to it.
        codes: the exit codes of pictures that are made, or that cannot be made.
    """

    configuration: Mapping[str, Any]
    lanes: list[int] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)


def are_made(ledger: Ledger, outputs: Iterable[str]) -> bool:
    """Return whether nothing is left to do for pictures; lost files are made again."""
    codes = {output: ledger.codes.get(output) for output in outputs}
    return all(
        code is not None and (code != 0 or Path(output).exists())
        for output, code in codes.items()
    )


def save_ledger(folder: Path, ledger: Ledger) -> None:
    """Write a ledger; if that fails, say so: the pictures may still be made."""
    try:
        folder.mkdir(exist_ok=True)
        with atomic_path(folder / LEDGER) as temporary:
            temporary.write_text(json.dumps(asdict(ledger)))
    except OSError as error:
        what = f"cannot write {folder / LEDGER}: {error.strerror}"
        print(f"jaxstyle optimize: {what}", file=sys.stderr)


def load_ledger(folder: Path, configuration: Mapping[str, Any]) -> Ledger:
    """Read the ledger of a sweep.

    Raises:
        ValueError: it is damaged, or of another configuration; all differences are
            named.
    """
    path = folder / LEDGER
    try:
        ledger = Ledger(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged; delete {folder}") from error
    if differences := list(find_differences(ledger.configuration, configuration)):
        raise ValueError(
            f"the sweep in {folder} is of another configuration: "
            f"{', '.join(differences)}"
        )
    return ledger
