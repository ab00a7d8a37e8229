"""How a net was trained, by its file: all trainings it went through, without paths."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxstyle.data import hold_out, open_source
from jaxstyle.files import (
    digest_params,
    find_style,
    load_params,
    load_style_file,
    load_trunk,
)

STYLE, METRICS = "style.safetensors", "metrics.jsonl"
"""The net and the losses in the folder of a run."""

COMMAND, BEFORE = "command", "before"
"""The keys of the last training's command, and of the trainings before it."""

KEPT = (COMMAND, "steps", "settings", "data", "losses", "versions")
"""What is kept of a training whose net another has started from."""

FLAGS = {"styles": "--style", "output": "-o"}
"""The options that are not called as they are recorded."""

DEFAULTS = {
    "preset": "default",
    "data": "coco/2014",
    "data_cache": "none",
    "seed": 0,
    "validation": 32,
}
"""The arguments that are recorded even if nobody gave them, and what they are then."""

NOT_COPIED = {
    *("data_dir", "quiet", "resume", "coordinator", "num_processes", "process_id"),
    *("validate_every", "picture_every", "checkpoint_every"),
}
"""The arguments of a training that shape no net and say nothing elsewhere."""

PATH = re.compile(r"(?<![\w./])~?/\w\S*")
"""An absolute path within a text."""

DATA_SET = re.compile(r"[A-Za-z]\w*(/[\w.\-]+)?(:[\d.*]+)?")
"""The name of a TFDS data set."""

Record = Mapping[str, Any]


def describe_training(
    run: Path,
    name: str,
    *,
    data: str | None = None,
    start: str | None = None,
    result: str = STYLE,
) -> dict[str, Any]:
    """Describe a run of ``jaxstyle train``, without any path.

    Args:
        run: its folder.
        name: what the folder is called in the command.
        data: where the photos are now, if they moved.
        start: where the net is now that the run started from, if it moved.
        result: the file in the folder with what was trained.

    Raises:
        ValueError: something is missing, or is not what the run had.
    """
    _, metadata = load_params(run / result)
    record = read_record(metadata, path=run / result)
    given = record["arguments"]
    found = describe_data(record, data or given["data"])
    trained = portable_arguments(record, output=name, data=found["name"])
    start = start or record["settings"].get("init") or given.get("init")
    earlier = find_earlier(record, find_style(start)) if start else []
    made_by = [*(each[COMMAND] for each in earlier), make_command(trained)]
    *commands, command = link_commands(made_by, name)
    return {
        COMMAND: command,
        BEFORE: [
            {**each, COMMAND: text}
            for each, text in zip(earlier, commands, strict=True)
        ],
        "losses": last_losses(run / METRICS),
        "steps": record["steps"],
        "settings": portable_settings(record),
        "data": found,
        "versions": record["versions"],
    }


def read_record(metadata: Mapping[str, str], *, path: Path) -> Record:
    """Read what ``jaxstyle train`` has recorded in a style.

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


def last_losses(path: Path) -> dict[str, float]:
    """Read all parts of the last validation, and the step that it was made at."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in reversed(lines):
        if "validation_loss" in line:
            return {key: value for key, value in line.items() if key != "time"}
    raise ValueError(f"there is no validation in {path}")


def describe_data(record: Record, data: str) -> dict[str, Any]:
    """Describe the data by their name, number of photos, and fingerprint.

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
    folder = Path(data).expanduser()
    if source.name == str(folder) and folder.is_dir():
        name = folder.resolve().name
    else:
        given = arguments["data"]
        name = given if DATA_SET.fullmatch(given) else source.name
    counts = {"photos": len(photos), "held_out": len(held_out)}
    return {"name": name, **counts, "fingerprint": fingerprint}


def portable_settings(record: Record) -> dict[str, Any]:
    """Return the settings as the net was made with them."""
    settings = record["settings"]
    files = {key: settings[key] for key in ("vgg", "init") if settings.get(key)}
    names = {key: Path(path).name for key, path in files.items()}
    return {**settings, **names, "steps": record["steps"]}


def find_earlier(record: Record, start: Path) -> list[dict[str, Any]]:
    """Describe the trainings that led to the net a training began with.

    Args:
        record: of the training.
        start: the file of that net: a style that was shipped, or one in its run.

    Raises:
        ValueError: it is not that net, or nothing is known about it.
    """
    params, metadata = load_net(start)
    if (found := digest_params(params)) != record["start"]:
        raise ValueError(
            f"{start} is not the net that the training started from: its digest is "
            f"{found}, expected {record['start']}; say by --start where that is"
        )
    if COMMAND in metadata:
        facts = {key: json.loads(metadata[key]) for key in (*KEPT, BEFORE)}
    else:
        facts = describe_training(start.parent, start.parent.name, result=start.name)
    return [*facts[BEFORE], {key: facts[key] for key in KEPT}]


def load_net(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a net, or a net of many styles, and the metadata of its file."""
    _, metadata = load_params(path)
    load = load_trunk if metadata.get("format") == "jaxstyle-trunk" else load_style_file
    return load(path)


# --- commands -----------------------------------------------------------------------


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


def make_command(arguments: Record) -> str:
    """Return the command line of a training, without what is the default anyway."""
    words = ["jaxstyle", "train"]
    for name, value in arguments.items():
        if name not in NOT_COPIED and value not in (None, DEFAULTS.get(name)):
            flag = FLAGS.get(name, f"--{name.replace('_', '-')}")
            words += [flag, *(value if name == "styles" else [_spell(value)])]
    return shlex.join(words)


def _spell(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_join(x, ':')}" for key, x in value.items())
    return _join(value, ",")


def _join(value: Any, separator: str) -> str:
    """Write a number, a text, or numbers with something between."""
    if isinstance(value, list):
        return separator.join(_join(x, separator) for x in value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def link_commands(commands: Sequence[str], name: str) -> list[str]:
    """Return commands of which each starts from the net of the one before.

    Args:
        commands: ``jaxstyle train``, in the order of the trainings.
        name: of the last one's folder; the others are numbered.
    """
    folders = [*(f"{name}-{at}" for at in range(1, len(commands))), name]
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


# --- the last look ------------------------------------------------------------------


def check_no_paths(facts: Mapping[str, Any]) -> None:
    """Raise a ValueError that names a fact with an absolute path in it."""
    for key, value in facts.items():
        for text in _texts(value):
            if path := PATH.search(text):
                raise ValueError(f"the {key} would hold the path {path[0]}")


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value of JSON, keys among them."""
    if isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
