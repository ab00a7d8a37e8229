"""The entry point of ``jaxstyle``: run a command, report an error in one line."""

import argparse
import io
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from jaxstyle import __version__
from jaxstyle.cli.commands import COMMANDS
from jaxstyle.cli.completion import SHELLS, PrintCompletion
from jaxstyle.cli.options import Options, add_options, read_options

BROKEN_PIPE = 128 + 13
"""The exit code of a process that SIGPIPE ended, which Windows lacks."""

VERBOSE = "verbose"
"""The name of an option of all commands."""


EXTRAS = {
    **dict.fromkeys(("grain", "tensorboardX", "tensorflow_datasets"), "train"),
    **dict.fromkeys(("array_record", "importlib_resources"), "train"),
    **dict.fromkeys(("av", "cv2"), "video"),
    "matplotlib": "plots",
}
"""What to install, by the libraries that not all need."""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for bad input."""
    given = vars(build_parser().parse_args(argv))
    verbose, (command, options) = given.pop(VERBOSE), read(given)
    if isinstance(sys.stdout, io.TextIOWrapper):  # which may be ASCII, unlike names
        sys.stdout.reconfigure(errors="backslashreplace")
    # Styles are small: bars of huggingface_hub would only stand between our lines.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if verbose:
        import jax

        jax.config.update("jax_log_compiles", True)
    return report(
        f"jaxstyle {command}",
        lambda: load_command(command)(options),
        verbose=verbose,
    )


def report(program: str, run: Callable[[], int], *, verbose: bool = False) -> int:
    """Run a program and return its exit code; print errors and warnings in one line.

    If verbose, what led to an error is printed before it.
    """
    try:
        with own_warnings(program):
            code = run()
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # who reads the output has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (ValueError, OSError) as error:
        if verbose:
            traceback.print_exc()
        code, message = 2, f"error: {' '.join(str(error).split())}"
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS:
            raise
        advice = f"pip install 'jaxstyle[{EXTRAS[library]}]'"
        code, message = 2, f"error: {library} is not installed: {advice}"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    print(f"{program}: {message}", file=sys.stderr)
    return code


@contextmanager
def own_warnings(program: str) -> Iterator[None]:
    """Print the package's own warnings without the place in its source."""
    show = warnings.showwarning

    def print_own(message: Any, category: type[Warning], *place: Any) -> None:
        if category.__module__.startswith("jaxstyle."):
            from tqdm import tqdm  # leaves progress bars whole

            tqdm.write(f"{program}: {message}", file=sys.stderr)
        else:
            show(message, category, *place)

    with warnings.catch_warnings():
        warnings.showwarning = print_own  # type: ignore[assignment]
        yield


def parse(argv: Sequence[str] | None = None) -> tuple[str, Any]:
    """Parse a command line into the command's name and its options."""
    given = vars(build_parser().parse_args(argv))
    del given[VERBOSE]
    return read(given)


def read(given: dict[str, Any]) -> tuple[str, Any]:
    """Make a command's name and its options of what a command line gives."""
    command = given.pop("command")
    options = COMMANDS[command].options
    try:
        return command, read_options(options, options.complete(given))
    except ValueError as error:
        print(f"jaxstyle {command}: error: {error}", file=sys.stderr)
        sys.exit(2)


def load_command(name: str) -> Callable[[Options], int]:
    """Import the function that runs a command, with all that it needs."""
    module, _, function = COMMANDS[name].run.partition(":")
    return getattr(import_module(f"jaxstyle.cli.{module}"), function)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = Parser(
        prog="jaxstyle",
        description="Neural style transfer in JAX.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"jaxstyle {__version__}"
    )
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        metavar="|".join(SHELLS),
        help="print a script by which a shell completes what is typed, for bash: "
        'eval "$(jaxstyle --print-completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.help,
            description=textwrap.fill(command.description, 88),
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_options(subparser, command.options)
        subparser.add_argument(
            f"--{VERBOSE}",
            action="store_true",
            help="say what JAX compiles, and what led to an error",
        )
    return parser
