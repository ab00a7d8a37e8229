"""Time ``jaxstyle video`` on a pan over one of the package's example images.

    python scripts/benchmark_video.py --style great-wave --style hokusai-poppies

For each style, two films are made, one with more frames than the other, by programs
that were compiled before. Printed are the seconds and the seconds of all processors
that each further frame takes, from the encoded video to the encoded film, and what the
seconds are in frames per second: without optical flow, and with it.
"""

import argparse
import contextlib
import io
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

import jaxstyle
from jaxstyle.cli.main import main as run_jaxstyle

FEW = 2
"""The number of frames of the shorter film."""


def main() -> None:
    """Time all styles and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--style", action="append", required=True, help="as jaxstyle stylize takes it")
    add("--size", type=int, default=512, help="the side of frames, which are square")
    add("--frames", type=int, default=20, help="those that are timed")
    arguments = parser.parse_args()
    print("| style | optical flow | s | s of processors | frames per second |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (FEW, FEW + arguments.frames):
            write_pan(folder / f"{count}.mp4", count, arguments.size)
        for style in arguments.style:
            for flow, blend in (("no", ("--blend", "0")), ("yes", ())):
                options = ("--style", style, *blend)
                wall, busy = time_frames(folder, options, arguments.frames)
                told = f"{wall:.2f} | {busy:.2f} | {1 / wall:.2f}"
                print(f"| {style} | {flow} | {told} |", flush=True)


def time_frames(
    folder: Path, options: tuple[str, ...], frames: int
) -> tuple[float, float]:
    """Measure the seconds, and those of all processors, of a frame."""
    make_film(folder, FEW, options)  # compiles
    wall, busy = np.subtract(
        make_film(folder, FEW + frames, options), make_film(folder, FEW, options)
    )
    return wall / frames, busy / frames


def make_film(
    folder: Path, count: int, options: tuple[str, ...]
) -> tuple[float, float]:
    """Make a film, and measure the seconds and those of all processors."""
    output = folder / f"{count}-painted.mp4"
    command = ["video", str(folder / f"{count}.mp4"), "-o", str(output), "--quiet"]
    started = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        assert run_jaxstyle([*command, *options]) == 0
    output.unlink()
    return time.perf_counter() - started[0], time.process_time() - started[1]


def write_pan(path: Path, count: int, size: int) -> None:
    """Encode a pan over a photo, two pixels a frame."""
    import av

    photo = Path(jaxstyle.__file__).parent / "examples" / "astronaut.jpg"
    longest = size + 2 * count
    picture = Image.open(photo).convert("RGB").resize((longest, longest))
    pixels = np.asarray(picture)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(count):
            part = pixels[:size, 2 * index : 2 * index + size]
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(part), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
