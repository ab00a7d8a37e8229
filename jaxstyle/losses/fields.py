"""Fields of settings: a default, and what the command line says about it.

One line in a dataclass of settings is all that a setting needs::

    steps: int = option(300, "how often the loss is evaluated", parse=positive_int)

`jaxstyle.cli.options` makes ``--steps`` of it, with help and checks; presets and
records hold it. Nothing here needs more than the standard library.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

LARGEST = 3e38
"""A number that just fits float32."""


@dataclass(frozen=True, kw_only=True)
class OptionInfo:
    """What the command line needs to know about a field.

    Attributes:
        help: the explanation in the help, to which the default is added.
            ``{sweepable}`` stands for the names of options that may be swept.
        parse: converts the text of a value; raises a ValueError that names what was
            expected.
        parse_for: makes ``parse`` of the dataclass of all options of a command, for a
            value that names other options.
        choices: the names that the value may have.
        metavar: stands for the value in the help.
        name: the name of the option, if it differs from that of the field.
        short: a second, short flag.
        positional: whether the value is given by its position instead of by a flag.
        nargs: how many values there are, as in `argparse`.
        repeated: whether each use of the option adds a value.
        group: the heading of the help that this option and the following ones are
            under.
        exclusive: options with the same key exclude each other.
        update: ``update(preset's value, given value)``, the value that results; the
            given one by default.
        sweep: whether pictures that differ in it share their compiled programs, so
            that ``--sweep`` may try several values.
    """

    help: str
    parse: Callable[[str], Any] = str
    parse_for: Callable[[type], Callable[[str], Any]] | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    name: str | None = None
    short: str | None = None
    positional: bool = False
    nargs: str | None = None
    repeated: bool = False
    group: str | None = None
    exclusive: str | None = None
    update: Callable[[Any, Any], Any] | None = None
    sweep: bool = False


REQUIRED: Any = MISSING
"""The default of an option that must be given."""


def option(default: T, help: str, **info: Any) -> T:
    """Declare a field that is an option of the command line.

    Args:
        default: the value if none is given; `REQUIRED` for none.
        help: the explanation in the help.
        **info: the other fields of `OptionInfo`.
    """
    metadata = {"option": OptionInfo(help=help, **info)}
    if isinstance(default, Mapping):  # which a dataclass would refuse
        made: T = field(default_factory=lambda: default, metadata=metadata)
    else:
        made = field(default=default, metadata=metadata)
    return made


# --- the values of options ----------------------------------------------------------


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    return _whole_number(text, least=1, most=2**31 - 1)


def seed_number(text: str) -> int:
    """Parse a whole number that seeds a random generator."""
    return _whole_number(text, least=0, most=2**32 - 1)


def _whole_number(text: str, *, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ValueError(
            f"expected a whole number from {least} to {most}, got {text!r}"
        )
    return value


def nonnegative_float(text: str) -> float:
    """Parse a finite number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LARGEST:
        raise ValueError(f"expected a number from 0 to {LARGEST:g}, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """Parse a finite number greater than 0."""
    value = nonnegative_float(text)
    if value == 0:
        raise ValueError("expected a number greater than 0, got 0")
    return value


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = nonnegative_float(text)
    if value > 1:
        raise ValueError(f"expected a number from 0 to 1, got {text!r}")
    return value


def file_name(text: str) -> str:
    """Parse the name of a file, which need not exist."""
    if not text:
        raise ValueError("expected the name of a file, got ''")
    return text


def parse_weights(text: str) -> float | Mapping[str, float]:
    """Parse a weight for all layers, or one for each: ``relu1_2=1e4,relu2_2=1e3``."""
    if "=" not in text:
        return nonnegative_float(text)
    form = f"LAYER=NUMBER,LAYER=NUMBER,... with numbers from 0 to {LARGEST:g}"
    pairs = _split_pairs(text, form)
    try:
        return {layer: nonnegative_float(value) for layer, value in pairs}
    except ValueError as error:
        raise _wrong_form(text, form) from error


def parse_blend(text: str) -> list[float] | Mapping[str, list[float]]:
    """Parse the shares of styles, or by layer: ``relu1_1=2:1,relu4_1=0:1``."""
    if "=" not in text:
        return parse_shares(text)
    pairs = _split_pairs(text, "LAYER=NUMBER:NUMBER:...,...")
    return {layer: parse_shares(numbers.replace(":", ",")) for layer, numbers in pairs}


def parse_shares(text: str) -> list[float]:
    """Parse numbers separated by commas, none negative and not all zero."""
    values = [nonnegative_float(part) for part in text.split(",")]
    if not any(values):
        raise ValueError(f"expected a number greater than 0, got {text!r}")
    return values


def _split_pairs(text: str, form: str) -> list[tuple[str, str]]:
    """Split ``LAYER=VALUE,LAYER=VALUE,...``, in which each layer occurs once."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    layers = {layer for layer, _, _ in pairs}
    if "" in layers or len(layers) < len(pairs):
        raise _wrong_form(text, form)
    return [(layer, value) for layer, _, value in pairs]


def _wrong_form(text: str, form: str) -> ValueError:
    return ValueError(f"expected {form}, each layer once, got {text!r}")
