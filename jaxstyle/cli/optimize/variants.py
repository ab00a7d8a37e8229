"""The pictures of a sweep of ``jaxstyle optimize``: their options and their names."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.options import read_options, sweepable
from jaxstyle.optimize.inits import INITS

OTHERS = ("film", "sheet", "plot")
"""What else is made of one picture, and not of those of a sweep."""


def check_sweep(arguments: OptimizeOptions) -> None:
    """Raise a ValueError unless a sweep makes sense, and is all that is wanted."""
    names = [name for name, _ in arguments.sweep]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--sweep of {name} twice: give all values to one")
    if names and any(getattr(arguments, name) is not None for name in OTHERS):
        raise ValueError("--sweep makes a sheet alone, without --film, --sheet, --plot")
    if "style" in names and len(arguments.styles) > 1:
        raise ValueError(
            f"--sweep style=... replaces one painting, got {len(arguments.styles)}"
        )
    init = arguments.config.init
    if "seed" in names and (init == "content" or init not in INITS):
        raise ValueError(
            f"--sweep seed=... needs noise to start from, got --init {init}; "
            "use --init noise, gray or style-stats"
        )
    given = {"content": arguments.content, "style": arguments.styles[0]}
    for name, paths in arguments.sweep:
        if name in given and given[name] not in paths:
            raise ValueError(
                f"{given[name]} would not be used: put it among the values of "
                f"--sweep {name}=..., or give one of them instead of it"
            )


def find_variants(arguments: OptimizeOptions) -> list[OptimizeOptions]:
    """Make the options of each picture of a sweep, row by row; none without one.

    Each is what would make the picture alone. It is named after what is set for it:
    ``out.style=wave.strength=0.2.png``.

    Raises:
        ValueError: two pictures would have the same name.
    """
    names = [name for name, _ in arguments.sweep]
    combinations = product(*(values for _, values in arguments.sweep))
    variants: dict[str, OptimizeOptions] = {}
    for values in combinations if names else ():
        variant = _vary(arguments, dict(zip(names, values, strict=True)))
        if variant.output in variants:
            raise ValueError(
                f"two values of --sweep would have the same name, in {variant.output}"
            )
        variants[variant.output] = variant
    return list(variants.values())


def make_label(value: float | str) -> str:
    """Make a short name for a value: that of a file without folder and suffix."""
    if isinstance(value, str):
        return Path(value).stem
    return str(value) if isinstance(value, int) else f"{value:g}"


def _vary(arguments: OptimizeOptions, values: Mapping[str, Any]) -> OptimizeOptions:
    """Replace the values of some options, and end the sweep."""
    label = ".".join(f"{name}={make_label(value)}" for name, value in values.items())
    output = Path(arguments.output)
    given = {key: value for key, value in arguments.given.items() if key != "sweep"}
    given["output"] = str(output.with_name(f"{output.stem}.{label}{output.suffix}"))
    options = sweepable(type(arguments))
    for name, value in values.items():
        before, info = given.get(name), options[name].info
        if info.update and isinstance(before, Mapping):
            value = info.update(before, value)  # keeps the proportions by layer
        given[name] = value if info.nargs is None else [value]
    return read_options(type(arguments), given)
