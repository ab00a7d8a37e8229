"""The kinds of values that the command line takes, for ``type=`` of argparse."""

import argparse
import math
from collections.abc import Mapping
from typing import TypeAlias

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


def weight(text: str) -> float | Mapping[str, float]:
    """Parse a weight for all layers, or one for each: ``relu1_2=1e4,relu2_2=1e3``."""
    if "=" not in text:
        return nonnegative_float(text)
    pairs = [part.strip().partition("=") for part in text.split(",")]
    layers = {layer for layer, _, _ in pairs}
    try:
        if "" in layers or len(layers) < len(pairs):
            raise ValueError("a layer is missing, or is there twice")
        return {layer: nonnegative_float(value) for layer, _, value in pairs}
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise argparse.ArgumentTypeError(
            f"expected LAYER=NUMBER,LAYER=NUMBER,... with numbers from 0 to "
            f"{LARGEST:g}, each layer once, got {text!r}"
        ) from error
