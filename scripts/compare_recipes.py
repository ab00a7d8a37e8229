"""Train nets for equal times, each with one thing changed, and measure their pictures.

    python scripts/compare_recipes.py PAINTING --data PHOTOS -o FOLDER --minutes 20

FOLDER gets the run of each recipe and its pictures of the photos that ship. A recipe
whose net is there already is only measured again. The time of a run counts from its
first step, so that compiling is left out. See scripts/measure_pictures.py for the
columns, which are means over the photos; "half %" is the same at half the size.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from checkerboards import BLOCK
from defects import Picture
from measure_pictures import measure
from trained_nets import STYLE, print_table

import jaxstyle

PHOTOS = sorted((Path(jaxstyle.__file__).parent / "examples").glob("*.jpg"))

EQUAL = "relu1_1=1,relu2_1=1,relu3_1=1,relu4_1=1"

SHALLOW = "relu1_1=3.01,relu2_1=0.753,relu3_1=0.188,relu4_1=0.047"

RECIPES: Mapping[str, Sequence[str]] = {
    "base": (),
    "bilinear": ("--upsampling", "bilinear"),
    "noise": ("--noise", "2"),
    "equal layers": ("--style-weight", EQUAL, "--content-weight", "relu4_1=1"),
    "two sizes": ("--scales", "2"),
    "mean-std": ("--style-loss", "mean-std"),
    "all but mean-std": (
        *("--upsampling", "bilinear", "--noise", "2", "--scales", "2"),
        *("--style-weight", EQUAL, "--content-weight", "relu4_1=1"),
    ),
}
"""What differs from `COMMON`, by name."""

COMMON = (
    *("--preset", "alone", "--upsampling", "nearest", "--noise", "0", "--scales", "1"),
    *("--style-weight", SHALLOW, "--content-weight", "relu3_3=0.25"),
    *("--batch", "2", "--validation", "8", "--steps", "1000000", "--quiet"),
)
"""A net as those that ship were trained, and small batches."""

FEW = 10**9
"""Pictures and validations every so many steps: at the end alone."""


def train(recipe: str, arguments: argparse.Namespace) -> Path:
    """Train by a recipe for its time, unless that was done; return the net's file."""
    run = arguments.output / recipe.replace(" ", "-")
    net = run / STYLE
    if net.exists():
        return net
    command = [sys.executable, "-m", "jaxstyle", "train", "--style"]
    command += [str(arguments.painting), "--data", arguments.data, "-o", str(run)]
    command += [*COMMON, *shlex.split(arguments.options), *RECIPES[recipe]]
    for what in ("validate", "picture", "checkpoint"):
        command += [f"--{what}-every", str(FEW)]
    with subprocess.Popen(command) as process:
        while not any("loss" in line for line in read_log(run)):
            if process.poll() is not None:
                raise SystemExit(f"training by {recipe!r} failed")
            time.sleep(1)
        time.sleep(60 * arguments.minutes)
        process.send_signal(signal.SIGINT)  # it ends the step, and saves
        process.wait()
    return net


def read_log(run: Path) -> list[dict[str, float]]:
    """Read what a run has logged so far."""
    log = run / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def measure_net(net: Path, painting_file: Path, *, size: int) -> dict[str, float]:
    """Average the measures of pictures, which are written beside the net."""
    params, paint = jaxstyle.load_style(net), jax.jit(jaxstyle.stylize)
    found: list[dict[str, float]] = []
    for path in PHOTOS:
        photo = jaxstyle.load_image(path, longest_side=size)
        picture = np.clip(paint(params, photo), 0, 1)
        jaxstyle.save_image(picture, net.with_name(f"{path.stem}.png"))
        painting = jaxstyle.load_image(painting_file, longest_side=size)
        whole = measure_one(photo, painting, picture)
        half = measure_one(*map(halve, (photo, painting, picture)))
        whole |= {f"half % {x}": half[f"left % {x}"] for x in ("relu3_1", "relu4_1")}
        found.append(whole)
    return {name: float(np.mean([x[name] for x in found])) for name in found[0]}


def measure_one(
    photo: Picture, painting: Picture, picture: Picture
) -> dict[str, float]:
    """Measure a picture, in numbers."""
    (row,) = measure(photo, painting, {"picture": picture})
    return {name: float(text) for name, text in row.items() if name != "picture"}


def halve(image: Picture) -> Picture:
    """Halve an image's sides."""
    height, width, _ = image.shape
    shape = (height // 2, width // 2, 3)
    return np.asarray(jax.image.resize(image, shape, "linear"))


def compare(arguments: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Yield the row of each recipe."""
    for recipe in arguments.recipes.split(","):
        net = train(recipe, arguments)
        steps = sum("loss" in line for line in read_log(net.parent))
        found = measure_net(net, arguments.painting, size=arguments.size)
        numbers = {name: f"{value:.2f}" for name, value in found.items()}
        yield {"recipe": recipe, "steps": str(steps), **numbers}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of recipes; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("painting", type=Path)
    add("--data", required=True, help="a folder of photos")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER")
    add("--minutes", type=float, default=20)
    add("--size", type=int, default=512, help="of the pictures' longer side")
    add("--recipes", default=",".join(RECIPES), help="names, by commas")
    add("--options", default="", help="of jaxstyle train, for all, in quotes")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.recipes.split(",")) - set(RECIPES):
        parser.error(f"no recipe {', '.join(unknown)}; known are {', '.join(RECIPES)}")
    if arguments.size < 4 * BLOCK:  # so that halves of both sides suffice
        parser.error(f"expected a size of {4 * BLOCK} or more")
    print_table(compare(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
