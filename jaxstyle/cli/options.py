"""The command line, generated from dataclasses of settings.

Each command has a dataclass of options, in which each field that
`jaxstyle.losses.config.option` declares is an option. A field with ``presets`` in its
metadata holds a config: it begins as the preset that ``--preset`` names, and its own
fields, also those of configs nested in it, are options too.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar

from jaxstyle.losses.config import OptionInfo, positive_int

T = TypeVar("T")

PRESET, DEFAULT = "preset", "default"

WHOLE_NUMBERS = (int, int | None)
"""The types of fields that are whole numbers."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a command, and those that the command line gives, by name."""

    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def complete(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add to what the command line gives; a ValueError if something is missing."""
        return given


SomeOptions = TypeVar("SomeOptions", bound=Options)


class Option(NamedTuple):
    """An option, and the path of names to its field within a dataclass."""

    path: tuple[str, ...]
    field: "Field[Any]"

    @property
    def info(self) -> OptionInfo:
        """The information for the command line."""
        return self.field.metadata["option"]

    @property
    def name(self) -> str:
        """The name, as in ``--sweep NAME=...``."""
        return self.info.name or self.field.name

    @property
    def parse(self) -> Callable[[str], Any]:
        """The parser of a value."""
        whole = self.field.type in WHOLE_NUMBERS
        return self.info.parse or (positive_int if whole else _some_text)

    @property
    def required(self) -> bool:
        """Whether it must be given; those of a config are in its presets."""
        defaults = (self.field.default, self.field.default_factory)
        return len(self.path) == 1 and all(each is MISSING for each in defaults)

    @property
    def flag(self) -> str:
        """The name as a flag."""
        return f"--{self.name.replace('_', '-')}"


def find_options(cls: Any, path: tuple[str, ...] = ()) -> Iterator[Option]:
    """Yield the options of a dataclass and of those nested in it, in their order."""
    for each in fields(cls):
        if is_dataclass(each.type):
            yield from find_options(each.type, (*path, each.name))
        elif "option" in each.metadata:
            yield Option((*path, each.name), each)


def find_presets(cls: type[Options]) -> Mapping[str, Any]:
    """Find the presets that the config begins as, if the command has one."""
    found = (each.metadata.get("presets") for each in fields(cls))
    return next((presets for presets in found if presets), {})


def sweepable(cls: type[Options]) -> dict[str, Option]:
    """Collect the options that ``--sweep`` may try, by their names."""
    return {option.name: option for option in find_options(cls) if option.info.sweep}


def _some_text(text: str) -> str:
    if not text:
        raise ValueError("expected a value, got ''")
    return text


# --- to argparse, and back ----------------------------------------------------------


def add_options(parser: argparse.ArgumentParser, cls: type[Options]) -> None:
    """Add the options of a dataclass to a parser."""
    group: Any = parser
    exclusive: dict[str, Any] = {}
    if presets := find_presets(cls):
        _add_preset(parser, presets)
    for option in find_options(cls):
        if option.info.group:
            group = parser.add_argument_group(option.info.group)
        target = group
        if key := option.info.exclusive:
            target = exclusive.get(key) or group.add_mutually_exclusive_group()
            exclusive[key] = target
        _add_option(target, option, cls)


def _add_preset(parser: argparse.ArgumentParser, presets: Mapping[str, Any]) -> None:
    help, names = "the settings to begin with; see the end of this help", tuple(presets)
    action: Any = parser.add_argument(
        f"--{PRESET}",
        metavar="NAME",
        type=_checked(str, names),
        default=argparse.SUPPRESS,
        help=help,
    )
    action.info = OptionInfo(help=help, choices=names)
    width = max(map(len, presets))
    lines = (f"  {name:<{width}} {each.summary}" for name, each in presets.items())
    parser.epilog = "\n".join(("presets:", *lines))


def _add_option(target: Any, option: Option, cls: type[Options]) -> None:
    info = option.info
    how: dict[str, Any] = {"help": make_help(option, cls)}
    how["default"] = argparse.SUPPRESS
    if option.field.type is bool and info.nargs is None:
        how["action"] = "store_true"
    else:
        parse = option.parse if info.parse_for is None else info.parse_for(cls)
        how["type"], how["nargs"] = _checked(parse, info.choices), info.nargs
        if option.field.type is bool:
            how["const"] = True
        standard = "N" if option.field.type in WHOLE_NUMBERS else None
        how["metavar"] = info.metavar or "|".join(info.choices) or standard
    if info.repeated:
        how["action"] = "append"
    if info.positional:
        action = target.add_argument(option.name, **how)
    else:
        how |= {"dest": option.name, "required": option.required}
        names = [option.flag] if info.short is None else [info.short, option.flag]
        action = target.add_argument(*names, **how)
    action.info = info  # for `jaxstyle.cli.completion`


def _checked(
    parse: Callable[[str], Any], choices: tuple[str, ...]
) -> Callable[[str], Any]:
    """Make a parser whose errors argparse shows as they are."""

    def parse_checked(text: str) -> Any:
        if choices and text not in choices:
            raise argparse.ArgumentTypeError(
                f"expected {', '.join(choices)}, got {text!r}"
            )
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_checked


def make_help(option: Option, cls: type[Options]) -> str:
    """Add the default to a help, and the presets that differ from it."""
    text = option.info.help.replace("{sweepable}", ", ".join(sweepable(cls)))
    values = {DEFAULT: option.field.default}
    if len(option.path) > 1:
        presets = find_presets(cls)
        values = {name: _get(each, option.path[1:]) for name, each in presets.items()}
    default = values[DEFAULT]
    told = option.required or option.info.positional or "(default" in text
    if not told:
        # Those of mappings would take many lines.
        others = {} if isinstance(default, Mapping) else values
        differ = (f"{name}: {_show(x)}" for name, x in others.items() if x != default)
        text += f" ({', '.join([f'{DEFAULT}: {_show(default)}', *differ])})"
    return text.replace("%", "%%")


def _show(value: Any) -> str:
    """Write a default as the command line takes it, as far as it does."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_show(x)}" for key, x in value.items())
    if value is None or value == ():
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_options(cls: type[SomeOptions], given: Mapping[str, Any]) -> SomeOptions:
    """Make the options of a command: a preset, and what is given instead, by name."""
    chosen = [option for option in find_options(cls) if option.name in given]
    own = {x.field.name: given[x.name] for x in chosen if len(x.path) == 1}
    begun = {
        each.name: each.metadata["presets"][given.get(PRESET, DEFAULT)]
        for each in fields(cls)
        if "presets" in each.metadata
    }
    options = cls(**own, **begun, given=given)
    for option in chosen:
        if len(option.path) > 1:
            value = given[option.name]
            if update := option.info.update:
                value = update(_get(options, option.path), value)
            options = _set(options, option.path, value)
    return options


def _get(settings: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        settings = getattr(settings, name)
    return settings


def _set(settings: T, path: tuple[str, ...], value: Any) -> T:
    """Replace the value of a field, perhaps in a nested dataclass."""
    name, *rest = path
    if rest:
        value = _set(getattr(settings, name), tuple(rest), value)
    return replace(settings, **{name: value})  # type: ignore[type-var]


# --- records ------------------------------------------------------------------------


def describe_config(config: Any) -> dict[str, Any]:
    """Make a record of a config, flat and ready for JSON, without the summary."""
    record: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            record |= describe_config(value)
        elif each.name != "summary":
            record[each.name] = value
    return record


def describe_options(options: Options) -> dict[str, Any]:
    """Make a record of the options, of which the config's are those that are given."""
    record = {PRESET: options.given.get(PRESET, DEFAULT)}
    nested = {}
    for option in find_options(type(options)):
        if len(option.path) == 1:
            record[option.field.name] = _get(options, option.path)
        elif option.name in options.given:
            nested[option.name] = options.given[option.name]
    return record | nested
