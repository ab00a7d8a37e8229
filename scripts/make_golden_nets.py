"""Compute golden values of both nets known from PyTorch, independently of our code.

    python scripts/make_golden_nets.py

PyTorch must be installed. The nets are those of ``torch_nets.py``, narrow and with
random parameters, the image one of the examples made small. The file keeps the state
dicts, the image in 8 bits, and the nets' outputs.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_nets
from PIL import Image

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "tests" / "golden" / "nets.npz"
PHOTO = ROOT / "jaxstyle" / "examples" / "chelsea.jpg"

SIZE = (52, 40)
WIDTH = 4

CONTRAST = {"examples": 100, "seed": 2}
"""What the last convolution is multiplied by, so that pictures are not all gray."""

NETS: dict[str, Any] = {
    "examples": torch_nets.TransformerNet,
    "seed": torch_nets.SeedNet,
}


def make_net(name: str) -> torch.nn.Module:
    """Return a net whose parameters are random, and exact in float16."""
    torch.manual_seed(list(NETS).index(name))
    net: torch.nn.Module = NETS[name](WIDTH).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
        for parameter in list(net.parameters())[-2:]:
            parameter *= CONTRAST[name]
        for parameter in net.parameters():
            parameter.copy_(parameter.half())
    return net


def make_golden() -> dict[str, np.ndarray]:
    """Return all golden values by name."""
    with Image.open(PHOTO) as photo:
        resized = photo.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    pixels = np.asarray(resized)
    golden = {"image": pixels}
    batch = torch.tensor(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
    for name in NETS:
        net = make_net(name)
        with torch.inference_mode():
            output = torch_nets.run_net(net, batch)[0].permute(1, 2, 0)
        golden[f"{name}/output"] = output.numpy()
        golden |= {
            f"{name}/state/{key}": value.half().numpy()
            for key, value in net.state_dict().items()
        }
    return golden


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, metavar="OUT.npz")
    arguments = parser.parse_args()
    np.savez_compressed(arguments.output, allow_pickle=False, **make_golden())


if __name__ == "__main__":
    main()
