"""The kinds of values that the command line takes, for ``type=`` of argparse."""

import argparse
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a command's parser is added to."""

LARGEST = 3e38
"""A number that just fits float32."""


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    return _whole_number(text, least=1, most=2**31 - 1)


def seed(text: str) -> int:
    """Parse a whole number that seeds a random generator."""
    return _whole_number(text, least=0, most=2**32 - 1)


def _whole_number(text: str, *, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(
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
        raise argparse.ArgumentTypeError(
            f"expected a number from 0 to {LARGEST:g}, got {text!r}"
        )
    return value


def positive_float(text: str) -> float:
    """Parse a finite number greater than zero."""
    value = nonnegative_float(text)
    if value == 0:
        raise argparse.ArgumentTypeError("expected a number greater than 0, got 0")
    return value


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = nonnegative_float(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def shares(text: str) -> list[float]:
    """Parse numbers between commas, none negative and not all zero."""
    values = [nonnegative_float(part) for part in text.split(",")]
    if not any(values):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return values


def blend(text: str) -> list[float] | Mapping[str, list[float]]:
    """Parse the shares of paintings, or by layer: ``relu1_1=2:1,relu4_1=0:1``."""
    if "=" not in text:
        return shares(text)
    pairs = _split_pairs(text, "LAYER=NUMBER:NUMBER:...,...")
    return {layer: shares(numbers.replace(":", ",")) for layer, numbers in pairs}


def file_name(text: str) -> str:
    """Parse the name of a file, which need not be there."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, got ''")
    return text


def sweep(text: str) -> tuple[str, list[Any]]:
    """Parse a setting and the values to try: ``style_weight=1,10,100``.

    A comma in the name of a file is written with a backslash before it.
    """
    name, _, values = text.partition("=")
    if name not in SWEPT:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE,VALUE,... with one of {', '.join(SWEPT)}, "
            f"got {text!r}"
        )
    parts = re.split(r"(?<!\\),", values)
    return name, [SWEPT[name](part.replace("\\,", ",")) for part in parts]


def weight(text: str) -> float | Mapping[str, float]:
    """Parse a weight for all layers, or one for each: ``relu1_2=1e4,relu2_2=1e3``."""
    if "=" not in text:
        return nonnegative_float(text)
    form = f"LAYER=NUMBER,LAYER=NUMBER,... with numbers from 0 to {LARGEST:g}"
    pairs = _split_pairs(text, form)
    try:
        return {layer: nonnegative_float(value) for layer, value in pairs}
    except argparse.ArgumentTypeError as error:
        raise _wrong_form(text, form) from error


SWEPT: Mapping[str, Callable[[str], Any]] = {
    "content": file_name,
    "style": file_name,
    "seed": seed,
    "strength": share,
    "style_weight": nonnegative_float,
    "content_weight": nonnegative_float,
    "tv_weight": nonnegative_float,
}
"""The settings that a sweep may try, and how their values are parsed."""


def _split_pairs(text: str, form: str) -> list[tuple[str, str]]:
    """Split ``LAYER=VALUE,LAYER=VALUE,...``, in which no layer may be there twice."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    layers = {layer for layer, _, _ in pairs}
    if "" in layers or len(layers) < len(pairs):
        raise _wrong_form(text, form)
    return [(layer, value) for layer, _, value in pairs]


def _wrong_form(text: str, form: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {form}, each layer once, got {text!r}")
