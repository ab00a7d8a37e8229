"""``jaxstyle import``: a net from PyTorch becomes a style file."""

import argparse
import hashlib
from pathlib import Path

from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.files.style_files import save_style
from jaxstyle.nets.transform_net import net_width


def run(arguments: argparse.Namespace) -> int:
    """Read, check and convert a checkpoint; return the exit code."""
    source, output = Path(arguments.checkpoint), Path(arguments.output)
    if output.resolve() == source.resolve():
        raise ValueError(f"{source} is the input; writing the style would lose it")
    layout, params = from_torch(source)
    metadata = {
        "source": source.name,
        "source_layout": layout,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    save_style(params, output, metadata=metadata)
    print(f"{output}: {layout}, width {net_width(params)}")
    return 0
