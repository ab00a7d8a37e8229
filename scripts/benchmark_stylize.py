"""Time and weigh `jaxstyle.stylize` against the same net in eager PyTorch.

    python scripts/benchmark_stylize.py [--size 512] [--batch 1] [--width 32]

The net is that of pytorch/examples, with random parameters: those of
``torch_nets.py``, imported. Each side runs in a process of its own, in turns, on a
square of one of the package's example images. Printed are medians over all rounds:
milliseconds a batch, the time to the first result (for jaxstyle that is compilation,
without the persistent cache), the peak memory above that with everything loaded, and
the standard deviation of the first picture, which shows that both are the same. PyTorch
must be installed, and memory is read as Linux reports it.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarking import compare, measure


def main() -> None:
    """Run all rounds of both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="the square's side")
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--width", type=int, default=32, help="of the net")
    parser.add_argument("--steps", type=int, default=8, help="timed batches a round")
    compare(parser, {"jaxstyle": measure_jaxstyle, "torch": measure_torch})


def measure_jaxstyle(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure `jaxstyle.stylize`, jitted, on the imported net."""
    import jax
    import torch

    import jaxstyle
    from jaxstyle.torch_nets import from_torch

    with tempfile.TemporaryDirectory() as folder:
        torch.save(make_torch_net(arguments.width).state_dict(), f"{folder}/net.pth")
        params = jax.device_put(from_torch(f"{folder}/net.pth")[1])
    program = jax.jit(jaxstyle.stylize)
    images = jax.device_put(load_batch(arguments))

    def step() -> float:
        return float(program(params, images)[0].std())

    return measure(step, arguments.steps)


def measure_torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the net in PyTorch, in inference mode."""
    import torch
    import torch_nets

    net = make_torch_net(arguments.width).eval()
    images = torch.tensor(load_batch(arguments)).permute(0, 3, 1, 2).contiguous()

    def step() -> float:
        with torch.inference_mode():
            return float(torch_nets.run_net(net, images)[0].std())

    return measure(step, arguments.steps)


def make_torch_net(width: int) -> Any:
    """Return the net with the same random parameters every time."""
    import torch
    import torch_nets

    torch.manual_seed(0)
    return torch_nets.TransformerNet(width)


def load_batch(arguments: argparse.Namespace) -> Any:
    """Return squares of an example image, ``[n, size, size, 3]``, mirrored in turns."""
    import jax
    import numpy as np

    import jaxstyle

    size = arguments.size
    path = Path(jaxstyle.__file__).parent / "examples" / "astronaut.jpg"
    photo = jaxstyle.load_image(path)
    image = np.asarray(jax.image.resize(photo, (size, size, 3), "cubic"))
    mirrored = image[:, ::-1]
    return np.stack([(image, mirrored)[i % 2] for i in range(arguments.batch)])


if __name__ == "__main__":
    main()
