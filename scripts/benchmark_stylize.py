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

from benchmarking import add_torch_options, compare, measure, torch_mode


def main() -> None:
    """Run all rounds of both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="the longer side")
    parser.add_argument("--height", type=int, help="the other one (default: a square)")
    parser.add_argument("--batch", type=int, default=1, help="images at a time")
    parser.add_argument("--width", type=int, default=32, help="of the net")
    parser.add_argument("--steps", type=int, default=8, help="timed batches a round")
    add_torch_options(parser)
    compare(parser, {"jaxstyle": measure_jaxstyle, "torch": measure_torch})


def measure_jaxstyle(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure `jaxstyle.stylize`, jitted, on the imported net."""
    import jax
    import jax.numpy as jnp
    import torch

    import jaxstyle
    from jaxstyle.convert import from_torch

    with tempfile.TemporaryDirectory() as folder:
        torch.save(make_torch_net(arguments.width).state_dict(), f"{folder}/net.pth")
        params = jax.device_put(from_torch(f"{folder}/net.pth")[1])
    program = jax.jit(jaxstyle.stylize)
    dtype = jnp.bfloat16 if arguments.bfloat16 else jnp.float32
    images = jax.device_put(load_batch(arguments).astype(dtype))

    def step() -> float:
        return float(program(params, images)[0].std())

    return measure(step, arguments.steps)


def measure_torch(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the net in PyTorch, in inference mode."""
    with torch_mode(arguments) as prepare:
        import torch
        import torch_nets

        net = prepare(make_torch_net(arguments.width).eval())
        photos = torch.tensor(load_batch(arguments))
        images = photos.permute(0, 3, 1, 2).contiguous()

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
    """Return an example image, ``[n, h, w, 3]``, mirrored in turns."""
    import jax
    import numpy as np

    import jaxstyle

    height, width = arguments.height or arguments.size, arguments.size
    path = Path(jaxstyle.__file__).parent / "examples" / "astronaut.jpg"
    photo = jaxstyle.load_image(path)
    image = np.asarray(jax.image.resize(photo, (height, width, 3), "cubic"))
    mirrored = image[:, ::-1]
    return np.stack([(image, mirrored)[i % 2] for i in range(arguments.batch)])


if __name__ == "__main__":
    main()
