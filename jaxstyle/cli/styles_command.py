"""``jaxstyle styles``: list the nets and paintings that ship, or describe one."""

import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxstyle.cli.commands import StylesOptions
from jaxstyle.files.json_files import parse_json
from jaxstyle.files.style_files import (
    find_style,
    load_style_header,
    shipped_paintings,
    shipped_styles,
)

LINE = 100
"""The longest line about one style, in characters, except commands and paths."""

GAP = "  "

HEADS = (
    *("name", "title", "painter", "year"),
    *("width", "MB", "steps", "loss", "content", "style"),
)
"""The columns of the list; those from ``width`` on hold numbers."""

TITLE, PAINTER, NUMBERS = 1, 2, 4

CUTS = ((TITLE, 24), (PAINTER, 14), (TITLE, 8), (PAINTER, 8))
"""The columns that are cut, in this order, and the width at which each stops."""

UNKNOWN = "-"

CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")
"""Replacements of characters by which a stranger's file could rule the terminal."""

Row = tuple[str, ...]


def run(arguments: StylesOptions) -> int:
    """Print the list, or all about one style; return the exit code."""
    if arguments.json:
        lines: Iterable[str] = [dump_facts(arguments.style)]
    elif arguments.style is None:
        # In a pipe, nothing is cut.
        lines = list_shipped(shutil.get_terminal_size((1000, 0)).columns)
    else:
        lines = describe(load_facts(find_style(arguments.style)))
    for line in lines:
        print(line.translate(CONTROLS))
    return 0


def dump_facts(style: str | None) -> str:
    """Write all that is known about a style, or about all that ship, as JSON."""
    if style is not None:
        return json.dumps(load_facts(find_style(style)))
    kinds = {"net": shipped_styles(), "painting": shipped_paintings()}
    facts = [
        {"name": name, "kind": kind, **load_facts(path)}
        for kind, shipped in kinds.items()
        for name, path in shipped.items()
    ]
    return json.dumps(facts)


def load_facts(path: Path) -> dict[str, Any]:
    """Load a style's metadata, with a transform net's width and the file's size."""
    width, metadata = load_style_header(path)
    megabytes = path.stat().st_size / 1e6
    measured: dict[str, Any] = {"file": str(path), "megabytes": round(megabytes, 2)}
    if width is not None:
        measured["width"] = width
    # Files keep metadata in no order.
    return {**{key: decode(metadata[key]) for key in sorted(metadata)}, **measured}


def decode(text: str) -> Any:
    """Decode JSON, as train writes it, or keep the text, as import writes it."""
    try:
        return parse_json(text)
    except ValueError:
        return text


# --- the list -----------------------------------------------------------------------


def list_shipped(line: int) -> Iterator[str]:
    """Yield the lines of a table of nets, and of one of paintings, if any ship.

    Lines are at most as long as given, in characters.
    """
    nets, paintings = (
        [make_row(name, load_facts(path)) for name, path in shipped.items()]
        for shipped in (shipped_styles(), shipped_paintings())
    )
    yield from format_table([HEADS, *nets], line)
    if paintings:
        yield ""
        rows = [HEADS, *paintings]
        yield from format_table([row[:NUMBERS] for row in rows], line)


def make_row(name: str, facts: Mapping[str, Any]) -> Row:
    """Format the cells of a style."""
    losses = facts.get("losses")
    known = losses if isinstance(losses, Mapping) else {}
    parts = [known.get(f"validation_{part}") for part in ("loss", "content", "style")]
    texts = [str(facts.get(key, UNKNOWN)) for key in ("title", "painter", "year")]
    return (
        *(name, *texts, str(facts.get("width", UNKNOWN)), f"{facts['megabytes']:.1f}"),
        str(facts.get("steps", UNKNOWN)),
        *(f"{x:.2f}" if isinstance(x, int | float) else UNKNOWN for x in parts),
    )


def format_table(rows: Sequence[Row], line: int) -> Iterator[str]:
    """Yield an aligned line for each row.

    Where one is short, the last columns are left out, and then titles and painters cut.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while len(widths) > NUMBERS and _length(widths) > line:
        widths.pop()
    for column, least in CUTS:
        wanted = widths[column] - max(0, _length(widths) - line)
        widths[column] = max(wanted, min(least, widths[column]))
    for row in rows:
        words = map(_cut, row[:NUMBERS], widths)
        texts = map(str.ljust, words, widths)
        numbers = map(str.rjust, row[NUMBERS:], widths[NUMBERS:])
        yield _cut(GAP.join((*texts, *numbers)).rstrip(), line)


def _length(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


# --- one style ----------------------------------------------------------------------

FIRST = ("title", "painter", "year", "steps", "width", "megabytes", "file")
"""The facts that come first, in this order."""

COMMAND, BEFORE = "command", "before"
"""The command that trained the net, and the records of earlier trainings."""

TRAIN = "jaxstyle train"

EARLIER_DEFAULT = (
    "--preset alone --upsampling nearest --noise 0 --scales 1 --content-weight "
    "relu3_3=0.25 --style-weight relu1_1=3.0117647058823529,"
    "relu2_1=0.75294117647058822,relu3_1=0.18823529411764706,"
    "relu4_1=0.047058823529411764"
)
"""What the default preset was before it started from a trunk."""


def describe(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each fact, those that belong together under a heading."""
    known = {key: facts[key] for key in FIRST if key in facts}
    apart = (*known, COMMAND, BEFORE)
    rest = {key: value for key, value in facts.items() if key not in apart}
    single = {key: x for key, x in rest.items() if not isinstance(x, Mapping)}
    yield from _list_facts({**known, **single})
    for key, group in rest.items():
        if key not in single:
            yield from ("", f"{_name(key)}:")
            yield from _list_facts(group, indent=GAP)
    if commands := list_commands(facts):
        several = len(commands) > 1
        heading = "commands, one after another:" if several else f"{COMMAND}:"
        yield from ("", heading, *commands)


def list_commands(facts: Mapping[str, Any]) -> list[str]:
    """List the commands that made the net, the first one first, if known."""
    before = facts.get(BEFORE)
    trainings = [*(before if isinstance(before, list) else []), facts]
    known = (each for each in trainings if isinstance(each, Mapping))
    return [_complete(each) for each in known if COMMAND in each]


def _complete(training: Mapping[str, Any]) -> str:
    """Add what the default preset was to a command from before trunks shipped."""
    command, settings = str(training[COMMAND]), training.get("settings")
    if not isinstance(settings, Mapping):
        return command
    earlier = "content" in settings and "init" not in settings
    if earlier and command.startswith(TRAIN) and "--preset" not in command:
        return f"{TRAIN} {EARLIER_DEFAULT}{command.removeprefix(TRAIN)}"
    return command


def _list_facts(facts: Mapping[str, Any], *, indent: str = "") -> Iterator[str]:
    """Yield names and values in two columns."""
    width = max(len(_name(key)) for key in facts) if facts else 0
    for key, value in facts.items():
        head = f"{indent}{_name(key):<{width}}{GAP}"
        wrapper = textwrap.TextWrapper(LINE, head, " " * len(head))
        wrapper.break_long_words = wrapper.break_on_hyphens = False
        yield from wrapper.wrap(_format(value)) or [head.rstrip()]


def _name(key: str) -> str:
    return key.replace("_", " ")


def _format(value: Any) -> str:
    """Format a value of JSON for reading."""
    if value is None:
        return UNKNOWN
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_format(x)}" for key, x in value.items())
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
