"""What a training has recorded, without what holds on its machine only: paths."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxstyle.cli.options import Option, find_options
from jaxstyle.cli.push_command import find_paths
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.data.sources import (
    FolderSource,
    hold_out,
    is_tfds_name,
    open_source,
)

NOT_COPIED = (
    *("data_dir", "quiet", "resume"),
    *("validate_every", "picture_every", "checkpoint_every"),
)
"""The arguments of a training that shape no net and say nothing elsewhere."""

Record = Mapping[str, Any]


def read_record(metadata: Mapping[str, str], *, path: Path) -> Record:
    """Return what ``jaxstyle train`` has recorded in a style.

    Raises:
        ValueError: something is missing.
    """
    wanted = ("arguments", "settings", "data", "start", "steps", "versions")
    missing = [key for key in wanted if key not in metadata]
    if missing:
        raise ValueError(
            f"{path} does not hold {', '.join(missing)}; expected what jaxstyle train "
            "has written"
        )
    return {key: json.loads(metadata[key]) for key in wanted}


def describe_data(record: Record, data: str) -> dict[str, Any]:
    """Return the data's name, number of photos, and fingerprint.

    Args:
        record: of the training.
        data: where the data are now.

    Raises:
        ValueError: the data are not there, or are not those of the training.
    """
    arguments, fingerprint = record["arguments"], record["data"]["fingerprint"]
    source = open_source(data, data_dir=arguments["data_dir"])
    photos, held_out = hold_out(source, arguments["validation"])
    if photos.fingerprint != fingerprint:
        raise ValueError(
            f"{data} is not what the run was trained on: its fingerprint is "
            f"{photos.fingerprint}, expected {fingerprint}; say by --data where that is"
        )
    if isinstance(source, FolderSource):
        name = Path(data).expanduser().resolve().name
    else:
        given = arguments["data"]
        name = given if is_tfds_name(given) else source.name
    counts = {"photos": len(photos), "held_out": len(held_out)}
    return {"name": name, **counts, "fingerprint": fingerprint}


def portable_settings(record: Record) -> dict[str, Any]:
    """Return the settings as the net was made with them."""
    settings = record["settings"]
    made = {"steps": record["steps"], "vgg": Path(settings["vgg"]).name}
    # The summary is that of the preset, which arguments may have changed.
    return {key: settings[key] for key in settings if key != "summary"} | made


def portable_arguments(record: Record, *, output: str, data: str) -> dict[str, Any]:
    """Return the arguments of a training with base names for paths.

    One that was interrupted gets as many steps as it has made: how many are to come
    changes none of them.
    """
    arguments = record["arguments"]
    files = {key: arguments[key] for key in ("vgg", "init") if arguments.get(key)}
    changed = {key: Path(path).name for key, path in files.items()}
    styles = [Path(path).name for path in arguments["styles"]]
    steps = arguments.get("steps")
    if record["steps"] != record["settings"]["steps"]:
        steps = record["steps"]
    given = {"styles": styles, "output": output, "data": data, "steps": steps}
    return {**arguments, **changed, **given}


# --- the command line ---------------------------------------------------------------


def make_command(arguments: Record) -> str:
    """Return the command line of a training, without what is the default anyway."""
    words = ["jaxstyle", "train"]
    if (preset := arguments.get("preset", "default")) != "default":
        words += ["--preset", preset]
    for option in find_options(TrainOptions):
        own = len(option.path) == 1
        name = option.field.name if own else option.name
        value, default = arguments.get(name), option.field.default if own else None
        if value not in (None, default) and name not in NOT_COPIED:
            words += [option.info.short or option.flag, *_spell(value, option)]
    return shlex.join(words)


def _spell(value: Any, option: Option) -> list[str]:
    """Write a value as the command line takes it."""
    if option.info.nargs == "+":
        return list(map(str, value))
    if isinstance(value, Mapping):
        return [",".join(f"{key}={_join(x, ':')}" for key, x in value.items())]
    return [_join(value, ",")]


def _join(value: Any, separator: str) -> str:
    """Return a number, a text, or numbers with something between."""
    if isinstance(value, list):
        return separator.join(_join(x, separator) for x in value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


# --- the last look ------------------------------------------------------------------


def check_no_paths(facts: Mapping[str, Any]) -> None:
    """Raise a ValueError that names a fact with an absolute path in it."""
    for key, value in facts.items():
        for path in find_paths(value):
            raise ValueError(f"the {key} would hold the path {path}")
