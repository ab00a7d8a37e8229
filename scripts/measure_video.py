"""Measure how much films flicker, on films whose motion is known exactly.

    python scripts/measure_video.py photo.jpg ... --style great-wave --style wave.jpg

Each still is panned over, zoomed into and turned, by fractions of a pixel, and so the
place of each pixel in the frame before is known. Printed is, for each style, the
warping error (see `jaxstyle.video.warping_error`) of the film itself, of ``jaxstyle
stylize`` frame by frame, of ``jaxstyle video`` with held statistics alone, and with
optical flow too, as means over frames, in units of 1e-4; then the share that is left of
the error frame by frame, and of the sharpness, which is the mean gradient.

A last film stands still but for a ball that crosses it. Of it is printed how far at
most a value of 8 bits changes from one frame to the next where the ball is not, from
several distances to it on.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstyle import load_image, save_image
from jaxstyle.cli.main import main as run_jaxstyle
from jaxstyle.video import Motion, warp, warping_error

DISTANCES = (4, 20, 40, 100)
"""The distances to the ball, in pixels: where it has just been, and more than a net
sees."""

Move = Callable[[int], np.ndarray]
"""From the number of a frame to the matrix from its pixels to those of the still."""


def main() -> None:
    """Measure all styles on all stills and print the tables."""
    arguments = make_parser().parse_args()
    print("| style | motion | film | by frame | held | flow | ratio | sharpness |")
    print("|---|---|---|---|---|---|---|---|")
    for style in arguments.style:
        for motion in arguments.motion or MOTIONS:
            print_row(style, motion, MOTIONS[motion], arguments)
    distances = " | ".join(f"from {distance} px on" for distance in DISTANCES)
    print(f"\n| style | way | {distances} |")
    print("|---|---|" + "---|" * len(DISTANCES))
    for style in arguments.style:
        for way, pictures in make_all(
            style, list(make_still_film(arguments)), arguments
        ):
            told = " | ".join(f"{change:.0f}" for change in largest_changes(pictures))
            print(f"| {style} | {way} | {told} |", flush=True)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("stills", nargs="+", type=Path, help="photos of 1.3 times the size or more")
    add("--style", action="append", required=True, help="as jaxstyle stylize takes it")
    add("--motion", action="append", choices=MOTIONS, help="of the stills")
    add("--size", type=int, default=256, help="the longer side of frames")
    add("--frames", type=int, default=8, help="frames of each film")
    add("--blend", help="the share of the frame before (default: that of the style)")
    add("--keep", type=Path, help="a folder for the last frames, as sheets")
    return parser


# --- films --------------------------------------------------------------------------


def pan(index: int) -> np.ndarray:
    """Move by (0.7, 1.3) pixels a frame."""
    return np.array([[1, 0, 0.7 * index], [0, 1, 1.3 * index], [0, 0, 1]])


def zoom(index: int) -> np.ndarray:
    """Zoom in by 1 % a frame."""
    return np.diag([0.99**index, 0.99**index, 1])


def turn(index: int) -> np.ndarray:
    """Turn by half a degree a frame."""
    angle = np.deg2rad(0.5 * index)
    rows, columns = (np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))
    return np.array([[*rows, 0], [*columns, 0], [0, 0, 1]])


MOTIONS: Mapping[str, Move] = {"pan": pan, "zoom": zoom, "turn": turn}


def load_still(path: Path, size: int) -> Any:
    """Read a still, a fifth larger than frames will be."""
    return jnp.asarray(load_image(path, longest_side=round(1.2 * size)))


def frame_size(still: Any) -> tuple[int, int]:
    """Compute the height and width of frames: multiples of four."""
    height, width, _ = still.shape
    return int(height / 1.2) // 4 * 4, int(width / 1.2) // 4 * 4


def points_of(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Compute where a matrix leads the pixels of a frame, from its center."""
    pixels = np.moveaxis(np.indices(size), 0, -1)
    center = (np.array(size) - 1) / 2
    return (pixels - center) @ matrix[:2, :2].T + matrix[:2, 2] + center


def make_film(still: Any, move: Move, count: int) -> list[np.ndarray]:
    """Sample the frames of a film from a still."""
    size = frame_size(still)
    shift = (np.array(still.shape[:2]) - size) / 2
    places = [points_of(move(index), size) + shift for index in range(count)]
    return [np.asarray(sample(still, jnp.asarray(place))) for place in places]


@jax.jit
def sample(still: Any, places: Any) -> Any:
    """Sample a still at places, bicubically."""
    pixels = jnp.moveaxis(jnp.indices(places.shape[:2]), 0, -1)
    return jnp.clip(warp(still, places - pixels), 0, 1)


def make_motion(move: Move, index: int, size: tuple[int, int]) -> Motion:
    """Compute the exact motion of a frame since the one before."""
    center = (np.array(size) - 1) / 2
    places = points_of(move(index), size) - center
    before = np.linalg.inv(move(index - 1))
    found = places @ before[:2, :2].T + before[:2, 2] + center
    pixels = np.moveaxis(np.indices(size), 0, -1)
    inside = ((found >= 2) & (found <= np.array(size) - 3)).all(-1)
    flow, trust = jnp.float32(found - pixels), jnp.float32(inside)
    return Motion(flow, trust, jnp.zeros_like(trust))


def make_still_film(arguments: argparse.Namespace) -> Iterator[np.ndarray]:
    """Let a ball cross a still that is larger."""
    still = np.asarray(load_image(arguments.stills[0], longest_side=2 * arguments.size))
    rows, columns = np.mgrid[: still.shape[0], : still.shape[1]]
    for index in range(arguments.frames):
        frame, row, column = still.copy(), still.shape[0] // 4, 40 + 6 * index
        frame[(rows - row) ** 2 + (columns - column) ** 2 < 20**2] = (0.9, 0.2, 0.1)
        yield frame


# --- pictures -----------------------------------------------------------------------


def make_all(
    style: str, frames: Sequence[np.ndarray], arguments: argparse.Namespace
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each way and the pictures that it makes of frames."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "film")
        folder.mkdir()
        for index, frame in enumerate(frames):
            save_image(frame, folder / f"{index:03d}.png")
        ways = {
            "by frame": ("stylize",),
            "held": ("video", "--blend", "0"),
            "flow": (
                "video",
                *(("--blend", arguments.blend) if arguments.blend else ()),
            ),
        }
        for way, (command, *options) in ways.items():
            output = f"{name}/{way}/"
            given = (command, str(folder), "--style", style, "-o", output, *options)
            with contextlib.redirect_stdout(io.StringIO()):
                assert run_jaxstyle([*given, "--quiet"]) == 0
            yield way, np.array([load_image(x) for x in sorted(Path(output).iterdir())])


def print_row(
    style: str, motion: str, move: Move, arguments: argparse.Namespace
) -> None:
    """Print the warping errors of one style and motion, over all stills."""
    errors: dict[str, list[float]] = {}
    sharpness: dict[str, list[float]] = {}
    for path in arguments.stills:
        still = load_still(path, arguments.size)
        frames = make_film(still, move, arguments.frames)
        films = {"film": np.array(frames), **dict(make_all(style, frames, arguments))}
        for way, film in films.items():
            errors.setdefault(way, []).append(film_error(film, move))
            gradient = np.abs(np.diff(film[-1], axis=0)).mean()
            sharpness.setdefault(way, []).append(float(gradient))
        if arguments.keep:
            arguments.keep.mkdir(exist_ok=True)
            sheet = np.concatenate([film[-1] for film in films.values()], 1)
            name = f"{Path(style).stem}-{motion}-{path.stem}.png"
            save_image(sheet, arguments.keep / name)
    means = {way: 1e4 * float(np.mean(found)) for way, found in errors.items()}
    told = " | ".join(f"{mean:.2f}" for mean in means.values())
    ratio = means["flow"] / means["by frame"]
    sharp = np.mean(sharpness["flow"]) / np.mean(sharpness["by frame"])
    print(f"| {style} | {motion} | {told} | {ratio:.2f} | {sharp:.2f} |", flush=True)


def film_error(film: np.ndarray, move: Move) -> float:
    """Compute the mean warping error of a film."""
    size = film.shape[1], film.shape[2]
    measure = jax.jit(warping_error)
    found = [
        measure(film[i], film[i - 1], make_motion(move, i, size))
        for i in range(1, len(film))
    ]
    return float(np.mean(found))


def largest_changes(pictures: np.ndarray) -> list[float]:
    """Measure the largest changes from each of the distances on, of 255."""
    height, width = pictures.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    largest = [0.0] * len(DISTANCES)
    for index in range(1, len(pictures)):
        distance = np.hypot(rows - height // 4, columns - 37 - 6 * index) - 20
        change = np.rint(255 * np.abs(pictures[index] - pictures[index - 1])).max(-1)
        for place, least in enumerate(DISTANCES):
            part = change[distance > least]
            largest[place] = max(largest[place], float(part.max()))
    return largest


if __name__ == "__main__":
    main()
