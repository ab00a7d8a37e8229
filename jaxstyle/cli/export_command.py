"""``jaxstyle export``: a style becomes a file that runs without this package."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from jaxstyle.cli.style_inputs import load_style
from jaxstyle.convert.onnx_nets import to_onnx
from jaxstyle.convert.stablehlo import export_net
from jaxstyle.convert.torch_exports import to_torch
from jaxstyle.convert.torch_writing import dump_torch_state_dict
from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.nets.networks import NETWORKS, TRANSFORM
from jaxstyle.nets.transform_net import Params, net_width


def export_program(params: Params) -> bytes:
    """Return `export_net` as a file that names no file of this machine."""
    jax.config.update("jax_traceback_in_locations_limit", 0)  # type: ignore[no-untyped-call]
    return bytes(export_net(params).serialize())


FORMATS: Mapping[str, Callable[[Params], bytes]] = {
    ".stablehlo": export_program,
    ".onnx": to_onnx,
    ".pth": lambda params: dump_torch_state_dict(to_torch(params)),
}
"""What makes the content of a file, by its suffix."""


def run(arguments: argparse.Namespace) -> int:
    """Load, convert and write a style; return the exit code."""
    output = Path(arguments.output)
    check_output_path(output, kind="net", suffixes=FORMATS)
    style = load_style(arguments.style)
    if style.network is not NETWORKS[TRANSFORM]:
        raise ValueError(f"{arguments.style} is no transform net, so it has no export")
    for source in style.paths:
        if output.resolve() == source.resolve():
            raise ValueError(f"{source} is the input; writing the net would lose it")
    try:
        content = FORMATS[output.suffix.lower()](style.params)
    except ImportError as error:  # of what an extra installs
        raise ValueError(str(error)) from error
    with explained("write", output, kind="net"), atomic_path(output) as temporary:
        temporary.write_bytes(content)
    print(f"{output}: width {net_width(style.params)}, {len(content) / 1e6:.1f} MB")
    return 0
