"""The command line: which commands there are, and one clear line for what is wrong.

Each command has two modules: one with ``add_parser(commands)``, which imports nothing
heavy, so that ``--help`` answers at once, and one with ``run(arguments) -> exit code``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any, NoReturn

COMMANDS = {
    "optimize": "optimize.optimize",
    "train": "train.train",
    "stylize": "stylize.stylize",
    "styles": "styles",
    "push": "push",
    "import": "import",
    "export": "export",
    "weights": "weights",
    "data": "data",
}
"""The commands in the order of the help, and where in this package their modules are.

What is named ``optimize.optimize`` has its arguments in ``optimize.optimize_arguments``
and runs in ``optimize.optimize_command``.
"""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    # Styles are small: bars of huggingface_hub would only stand between our lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return int(load_command(arguments.command).run(arguments))
    except (ValueError, OSError) as error:
        code, message = 2, f"error: {' '.join(str(error).split())}"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    print(f"jaxstyle {arguments.command}: {message}", file=sys.stderr)
    return code


def load_command(name: str) -> Any:
    """Import what runs a command, with all that it needs."""
    return import_module(f"jaxstyle.cli.{COMMANDS[name]}_command")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(prog="jaxstyle", description="Neural style transfer in JAX.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for place in COMMANDS.values():
        import_module(f"jaxstyle.cli.{place}_arguments").add_parser(commands)
    return parser


def _version() -> str:
    return f"jaxstyle {metadata.version('jaxstyle')}"
