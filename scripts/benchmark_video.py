"""Time ``jaxstyle video`` against the same work by PyTorch and PyAV.

    python scripts/benchmark_video.py --width 16
    python scripts/benchmark_video.py --painting hokusai-poppies

A pan over one of the package's example images is decoded, painted and encoded again:
by ``jaxstyle video`` without optical flow and with it, and by a loop over PyAV's frames
with the same net, or the same painting, in eager PyTorch, and the same encoder. The net
is that of pytorch/examples, with random parameters; in PyTorch each frame has
statistics of its own, or, for a painting, those of the first frame are held.

Each side runs in a process of its own, in turns. What is told for a step is what each
further frame takes: two films are made, one with more frames than the other, by
programs that were compiled before, in the first film. Medians are over all rounds. The
result is the standard deviation of the last picture, which shows that all are nearly
the same. PyTorch must be installed, and memory is read as Linux reports it.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarking import compare, memory
from PIL import Image

FEW = 2
"""The number of frames of the shorter film."""

ENCODER = {"crf": "18", "bf": "0", "preset": "medium"}
"""The options of H.264 that ``jaxstyle video`` has."""


def main() -> None:
    """Run all rounds of all sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--width", type=int, default=32, help="of the net")
    add("--painting", help="instead of a net: one of the package")
    add("--size", type=int, default=512, help="the side of frames, which are square")
    add("--frames", type=int, default=8, help="those that are timed in each round")
    sides: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "jaxstyle": partial(measure_jaxstyle, options=("--blend", "0")),
        "jaxstyle, flow": partial(measure_jaxstyle, options=()),
        "torch": measure_torch,
    }
    compare(parser, sides)


def measure_jaxstyle(
    arguments: argparse.Namespace, options: tuple[str, ...]
) -> dict[str, Any]:
    """Measure ``jaxstyle video``."""
    import jaxstyle
    from jaxstyle.cli.main import main as run_jaxstyle
    from jaxstyle.convert import from_torch

    def make_film(source: Path, output: Path) -> None:
        style = arguments.painting or str(source.with_name("net.safetensors"))
        command = ["video", str(source), "--style", style, "-o", str(output)]
        with contextlib.redirect_stdout(io.StringIO()):
            assert run_jaxstyle([*command, *options, "--quiet"]) == 0

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not arguments.painting:
            import torch

            state = make_torch_net(arguments.width).state_dict()
            torch.save(state, folder / "net.pth")
            _, params = from_torch(folder / "net.pth")
            jaxstyle.save_style(params, folder / "net.safetensors", metadata={})
        return measure_films(make_film, folder, arguments)


def measure_torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure a loop over frames."""
    import torch

    prepare = make_torch_painter(arguments.painting, arguments.width)

    def make_film(source: Path, output: Path) -> None:
        import av

        paint: Callable[[Any], Any] | None = None
        with av.open(str(source)) as inside, av.open(str(output), "w") as outside:
            stream = outside.add_stream("libx264", rate=25, options=ENCODER)
            stream.width = stream.height = arguments.size
            stream.pix_fmt = "yuv420p"
            for frame in inside.decode(video=0):
                pixels = torch.tensor(frame.to_ndarray(format="rgb24"))
                image = pixels.permute(2, 0, 1)[None].float() / 255
                with torch.inference_mode():
                    paint = paint or prepare(image)
                    picture = (255 * paint(image).clip(0, 1)).round().byte()
                painted = picture[0].permute(1, 2, 0).contiguous().numpy()
                encoded = av.VideoFrame.from_ndarray(painted, format="rgb24")
                outside.mux(stream.encode(encoded.reformat(format="yuv420p")))
            outside.mux(stream.encode())

    with tempfile.TemporaryDirectory() as name:
        return measure_films(make_film, Path(name), arguments)


def make_torch_painter(
    painting: str | None, width: int
) -> Callable[[Any], Callable[[Any], Any]]:
    """Make a function from the first frame to what paints all frames."""
    if painting is None:
        import torch_nets

        net = make_torch_net(width).eval()
        return lambda _: partial(torch_nets.run_net, net)
    from torch_transport import Transport

    import jaxstyle

    described = jaxstyle.files.load_painting(painting)
    transport = Transport(jaxstyle.load_transport(), described)
    return lambda first: partial(transport.paint, moves=transport.hold(first))


def make_torch_net(width: int) -> Any:
    """Return the net with the same random parameters every time, and gray pictures."""
    import torch
    import torch_nets

    torch.manual_seed(0)
    net = torch_nets.TransformerNet(width)
    last = net.deconv3.conv2d
    with torch.no_grad():
        last.weight *= 50
        last.bias += 127.5
    return net


# --- films --------------------------------------------------------------------------


def measure_films(
    make_film: Callable[[Path, Path], None],
    folder: Path,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Measure what each further frame takes, once both films have been made."""
    few, many = (folder / f"{FEW + more}.mp4" for more in (0, arguments.frames))
    write_pan(few, FEW, arguments.size)
    write_pan(many, FEW + arguments.frames, arguments.size)
    output, before = folder / "painted.mp4", memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far

    def measure(source: Path) -> np.ndarray:
        started = np.array([time.perf_counter(), time.process_time()])
        make_film(source, output)
        return np.array([time.perf_counter(), time.process_time()]) - started

    first, short, long = map(measure, (few, few, many))
    wall, busy = 1e3 * (long - short) / arguments.frames
    return {
        "ms": [wall],
        "busy": [busy],
        "first": first[0],
        "megabytes": memory("VmHWM") - before,
        "last": read_last(output).std(),
    }


def read_last(path: Path) -> np.ndarray:
    """Read the last frame of a film."""
    import av

    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
        return np.asarray(last.to_ndarray(format="rgb24"))


def write_pan(path: Path, count: int, size: int) -> None:
    """Encode a pan over a photo, two pixels a frame."""
    import av

    import jaxstyle

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
