"""Kill and resume ``optimize`` and ``train`` at random, and compare with whole runs.

    python scripts/soak.py --minutes 60

Each run is killed at random moments and resumed until it ends. Its result is to be
that of a run without kills, bit for bit. The loss of ``optimize`` is the default one.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxstyle import load_image, save_image
from jaxstyle.files import digest_params, load_style_file

OFTEN = """
import sys
from jaxstyle.cli.main import main
from jaxstyle.cli.optimize import picture_run
picture_run.CHECKPOINT_SECONDS = 0
sys.exit(main())
"""
"""``jaxstyle`` with a checkpoint after each call of the device."""

MOST_TRIES = 100
"""The most kills of one run, which otherwise might not end."""


class Kind(NamedTuple):
    """A command that is killed.

    Attributes:
        options: all but its output.
        output: the name of what it writes.
        begun: the name of what is there once it can be resumed.
        read: makes of the output what is to be equal.
    """

    options: tuple[str, ...]
    output: str
    begun: str
    read: Callable[[Path], object]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a result differs."""
    arguments = make_parser().parse_args(argv)
    rng, wrong = np.random.default_rng(arguments.seed), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        inputs = Path(scratch)
        save_inputs(inputs)
        for name, kind in make_kinds(inputs, arguments.steps).items():
            if name in (arguments.only or name):
                seconds = arguments.minutes * 60 / len(arguments.only or KINDS)
                wrong += report(name, soak(kind, inputs, rng, seconds, arguments.kills))
    return int(wrong > 0)


def report(name: str, found: Iterable[tuple[int, bool]]) -> int:
    """Print the sums after each run; return how many results differ."""
    runs = kills = differ = 0
    for count, same in found:
        runs, kills, differ = runs + 1, kills + count, differ + (not same)
        print(f"{name}: {kills} kills in {runs} runs, {differ} differ", flush=True)
    return differ


KINDS = ("optimize", "train")


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=60, help="about how long to go on")
    add("--kills", type=int, default=10**6, help="of each command, at most about")
    add("--steps", type=int, default=60, help="of each run")
    add("--seed", type=int, default=0, help="of the moments")
    add("--only", action="append", choices=KINDS, help="only this command")
    return parser


def save_inputs(folder: Path) -> None:
    """Write a photo, a painting, and a folder of photos."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    save_image(np.linspace(0, 1, 64 * 80 * 3).reshape(64, 80, 3), folder / "photo.png")
    save_image(rng.random((72, 64, 3)), folder / "painting.png")
    for number in range(8):
        save_image(rng.random((40, 40, 3)), folder / "photos" / f"{number}.png")


def make_kinds(folder: Path, steps: int) -> dict[str, Kind]:
    """Describe the commands, whose inputs are in a folder."""
    painting = str(folder / "painting.png")
    return {
        "optimize": Kind(
            (
                *("optimize", str(folder / "photo.png"), painting),
                *("--size", "64", "--steps", str(steps), "--quiet"),
            ),
            "out.png",
            "out.png.unfinished",
            lambda path: load_image(path).tobytes(),
        ),
        "train": Kind(
            (
                *("train", "--style", painting, "--style-size", "64", "--quiet"),
                *("--data", str(folder / "photos"), "--size", "32", "--batch", "2"),
                *("--width", "2", "--steps", str(steps), "--validation", "2"),
                *("--checkpoint-every", "5", "--validate-every", "10"),
            ),
            "run",
            "run",
            read_training,
        ),
    }


def read_training(folder: Path) -> object:
    """Read the net and the metrics of a training, without the times."""
    params, _ = load_style_file(folder / "style.safetensors")
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return digest_params(params), [{**line, "time": 0} for line in lines]


# --- kills --------------------------------------------------------------------------


def soak(
    kind: Kind, inputs: Path, rng: np.random.Generator, seconds: float, kills: int
) -> Iterator[tuple[int, bool]]:
    """Yield how often each run was killed, and if its result is that of a whole run."""
    folder = inputs / "runs"
    expected, longest = make_whole(kind, folder)
    deadline, done = time.monotonic() + seconds, 0
    while time.monotonic() < deadline and done < kills:
        count = 0
        while True:
            moment = longest * rng.uniform(0.2, 0.9)
            if try_to_end(kind, folder, moment, kill=count < MOST_TRIES):
                break
            count += 1
        same = kind.read(folder / kind.output) == expected
        if not same:
            shutil.copytree(folder, Path(tempfile.mkdtemp()), dirs_exist_ok=True)
        shutil.rmtree(folder)
        done += count
        yield count, same


def make_whole(kind: Kind, folder: Path) -> tuple[object, float]:
    """Make a run without kills, twice; return its result and the seconds it takes."""
    for _ in range(2):  # the first one fills the cache of compiled programs
        started = time.monotonic()
        if not try_to_end(kind, folder, 0, kill=False):
            raise ValueError(f"{kind.options[0]} fails")
        seconds = time.monotonic() - started
        found = kind.read(folder / kind.output)
        shutil.rmtree(folder)
    return found, seconds


def try_to_end(kind: Kind, folder: Path, seconds: float, kill: bool) -> bool:
    """Start or resume a run, and kill it after some time; tell if it ended before."""
    folder.mkdir(exist_ok=True)
    resume = ("--resume",) if (folder / kind.begun).exists() else ()
    command = (sys.executable, "-c", OFTEN, *kind.options, *resume, "-o", kind.output)
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            code = process.wait(seconds if kill else None)
        except subprocess.TimeoutExpired:
            process.kill()
            return False
    if code != 0:
        raise ValueError(f"{kind.options[0]} ended with code {code} in {folder}")
    return True


if __name__ == "__main__":
    sys.exit(main())
