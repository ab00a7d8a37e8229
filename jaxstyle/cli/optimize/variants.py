"""The pictures of a sweep of ``jaxstyle optimize``: their arguments and their names."""

import argparse
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from jaxstyle.cli.settings import override_weights
from jaxstyle.optimize.inits import INITS
from jaxstyle.optimize.presets import Preset

SWEPT = {"tv_weight": "isotropic_variation", "style": "styles"}
"""The arguments that ``--sweep`` sets, where they have another name."""

OTHERS = ("film", "sheet", "plot")
"""What else is made of one picture, and not of those of a sweep."""


def check_sweep(arguments: argparse.Namespace, settings: Preset) -> None:
    """Raise a ValueError unless a sweep makes sense, and is all that is wanted."""
    names = [name for name, _ in arguments.sweep or ()]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--sweep of {name} twice: give all values to one")
    if names and any(getattr(arguments, name) is not None for name in OTHERS):
        raise ValueError("--sweep makes a sheet alone, without --film, --sheet, --plot")
    if "style" in names and len(arguments.styles) > 1:
        raise ValueError(
            "--sweep style=... takes the place of one painting, got "
            f"{len(arguments.styles)}"
        )
    if "seed" in names and (settings.init == "content" or settings.init not in INITS):
        raise ValueError(
            f"--sweep seed=... needs noise to start from, got --init {settings.init}; "
            "use --init noise, gray or style-stats"
        )
    given = {"content": arguments.content, "style": arguments.styles[0]}
    for name, paths in arguments.sweep or ():
        if name in given and given[name] not in paths:
            raise ValueError(
                f"{given[name]} would not be used: put it among the values of "
                f"--sweep {name}=..., or one of them in its place"
            )


def find_variants(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the arguments of each picture of a sweep, row by row; none without one.

    Each is what would make the picture alone. It is named after what is set for it:
    ``out.style=wave.strength=0.2.png``.

    Raises:
        ValueError: two pictures would have the same name.
    """
    names = [name for name, _ in arguments.sweep or ()]
    combinations = product(*(values for _, values in arguments.sweep or ()))
    variants: dict[str, argparse.Namespace] = {}
    for values in combinations if names else ():
        variant = _vary(arguments, dict(zip(names, values, strict=True)))
        if variant.output in variants:
            raise ValueError(
                f"two values of --sweep would have the same name, in {variant.output}"
            )
        variants[variant.output] = variant
    return list(variants.values())


def make_label(value: float | str) -> str:
    """Return a short name for a value: that of a file without folder and suffix."""
    if isinstance(value, str):
        return Path(value).stem
    return str(value) if isinstance(value, int) else f"{value:g}"


def _vary(
    arguments: argparse.Namespace, values: Mapping[str, Any]
) -> argparse.Namespace:
    """Return arguments with other values for some, and no sweep."""
    set_here = {
        SWEPT.get(name, name): _set(getattr(arguments, name, None), name, value)
        for name, value in values.items()
    }
    label = ".".join(f"{name}={make_label(value)}" for name, value in values.items())
    output = Path(arguments.output)
    named = output.with_name(f"{output.stem}.{label}{output.suffix}")
    set_here |= {"output": str(named), "sweep": None}
    return argparse.Namespace(**(vars(arguments) | set_here))


def _set(given: object, name: str, value: Any) -> Any:
    """Return a value, or the weights in the proportions that are given by layer."""
    if name == "style":
        return [value]
    return override_weights(given, value) if isinstance(given, Mapping) else value
