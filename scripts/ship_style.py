"""Make a style that ships with the package of a finished run of ``jaxstyle train``.

    python scripts/ship_style.py RUN NAME --title TITLE --painter PAINTER --year YEAR

Writes ``jaxstyle/styles/NAME.safetensors``: the net in float16, and what it takes to
know it and to train it again, without any path of this machine.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from provenance import BEFORE, COMMAND, STYLE, check_no_paths, describe_training

from jaxstyle import load_image, save_style, stylize
from jaxstyle.files import load_style_file

PACKAGE = Path(__file__).parents[1] / "jaxstyle"

STYLES = PACKAGE / "styles"

PHOTO = PACKAGE / "examples" / "astronaut.jpg"
"""What the rounding is measured on."""

Params = dict[str, Any]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def ship(arguments: argparse.Namespace) -> None:
    """Read the run, check it, write the style, and say what it is like."""
    check_name(arguments.name)
    params, _ = load_style_file(arguments.run / STYLE)
    facts = make_facts(arguments)
    check_no_paths(facts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = arguments.output / f"{arguments.name}.safetensors"
    texts = {key: json.dumps(value) for key, value in facts.items()}
    save_style(jax.tree.map(to_half, params), output, metadata=texts)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
    for line in describe_rounding(params, output):
        print(line)
    for training in (*facts[BEFORE], facts):
        print(training[COMMAND])


def check_name(name: str) -> None:
    """Raise a ValueError unless a style may have a name."""
    if not NAME.fullmatch(name) or name == "all":
        raise ValueError(
            "a style's name is lower-case words with hyphens between, and not all; "
            f"got {name!r}"
        )


def make_facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what is to be known about the style."""
    training = describe_training(
        arguments.run, arguments.name, data=arguments.data, start=arguments.start
    )
    about = {key: getattr(arguments, key) for key in ("title", "painter", "year")}
    return {**about, **training}


# --- float16 ------------------------------------------------------------------------


def to_half(array: np.ndarray) -> np.ndarray:
    """Return an array in float16, or as it is if that can not hold it.

    It can if no value is off by more than half a unit in the last place of the largest:
    unless some are beyond its range, or all so small that few digits are left.
    """
    bound = 2.0**-11 * np.abs(array).max()
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.allclose(half, array, rtol=0, atol=bound) else array


def describe_rounding(params: Params, output: Path) -> Iterator[str]:
    """Say what is in float16, and what that does to a picture."""
    arrays = flatten_dict(params, sep="/")
    halves = {
        name: to_half(array).dtype == np.float16 for name, array in arrays.items()
    }
    yield f"{sum(halves.values())} of {len(halves)} arrays are in float16"
    if kept := ", ".join(name for name, half in halves.items() if not half):
        yield f"in float32, since float16 can not hold them: {kept}"
    largest, mean = measure_difference(params, load_style_file(output)[0], PHOTO)
    yield (
        f"float16 changes the levels of {PHOTO.name} by {largest} of 255 at most, "
        f"{mean:.4f} on average"
    )


def measure_difference(
    params: Params, others: Params, photo: Path
) -> tuple[int, float]:
    """Return the largest and the mean difference of two pictures, in 8-bit levels."""
    image, program = load_image(photo), jax.jit(stylize)
    one, other = (
        np.rint(np.clip(program(net, image), 0, 1) * 255) for net in (params, others)
    )
    difference = np.abs(one - other)
    return int(difference.max()), float(difference.mean())


# --- the command line ---------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Make a style that ships of a run.")
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of a jaxstyle train")
    add("name", metavar="NAME", help="lower-case words with hyphens: great-wave")
    for what in ("title", "painter", "year"):
        add(f"--{what}", required=True, help=f"the {what} of the painting")
    add("--data", help="where the photos are now (default: where the run had them)")
    add("--start", help="where the net is now that the run started from, if it moved")
    add(
        "--output",
        type=Path,
        default=STYLES,
        metavar="FOLDER",
        help="where to write NAME.safetensors (default: jaxstyle/styles)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        ship(arguments)
    except (OSError, ValueError) as error:
        print(f"ship_style: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
