"""Scripts by which shells complete commands, options, styles and files; by shtab."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from jaxstyle.losses.config import OptionInfo

SHELLS = ("bash", "zsh", "fish")
"""The shells that a script is tested in."""

NAMES = ("style", "styles")
"""The arguments that take the names of styles besides files."""


class PrintCompletion(argparse.Action):
    """Print the script for a shell, and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the script for the shell that is named."""
        if values not in SHELLS:
            parser.error(
                f"argument {option_string}: expected {', '.join(SHELLS)}, got "
                f"{values!r}"
            )
        print(make_script(parser, str(values)))
        parser.exit()


def make_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Write the script that completes what a parser takes."""
    # Imported here: to ask for help loads no library.
    import shtab

    from jaxstyle.files.style_files import shipped_paintings, shipped_styles

    styles = [*shipped_styles(), *shipped_paintings()]
    names = " ".join(styles)
    with_styles = {
        "zsh": f"{{compadd {names}; _files}}",
        "fish": f"{names} {shtab.FILE['fish']}",
    }
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):
            for command in action._choices_actions:  # what fits a line tells it apart
                action.choices[command.dest].description = command.help
        elif action.nargs == 0:
            continue
        elif choices := _choices(action):
            action.choices = choices
        elif action.dest in NAMES and shell == "bash":
            action.choices = [*styles, *shtab.Optional.FILE]
        else:
            of_styles = with_styles if action.dest in NAMES else {}
            action.complete = shtab.FILE | of_styles  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _choices(action: argparse.Action) -> tuple[str, ...]:
    """List the values that an option takes, if these are few."""
    if isinstance(action, PrintCompletion):
        return SHELLS
    info: OptionInfo | None = getattr(action, "info", None)
    return info.choices if info else ()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of those of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
