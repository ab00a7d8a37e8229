"""``jaxstyle export``: a style becomes a file that runs without this package."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from jaxstyle.cli.style_inputs import load_style
from jaxstyle.convert.onnx_nets import to_onnx
from jaxstyle.convert.stablehlo import export_net
from jaxstyle.convert.torch_exports import dump_torch
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
    ".pytorch.safetensors": dump_torch,
}
"""What makes the content of a file, by its suffix."""


def find_suffix(output: Path) -> str:
    """Find the suffix of an output in `FORMATS`.

    Raises:
        ValueError: there is none; those of other files of nets are told apart.
    """
    name = output.name.lower()
    for suffix in FORMATS:
        if name.endswith(suffix):
            return suffix
    known = ", ".join(FORMATS)
    if output.suffix.lower() in (".pth", ".pt", ".safetensors"):
        remedy = f"for PyTorch write {output.stem}.pytorch.safetensors"
        raise ValueError(f"cannot write the net {output}: {remedy}; known are {known}")
    raise ValueError(
        f"cannot write the net {output}: unknown suffix {output.suffix!r}, use one of "
        f"{known}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Load, convert and write a style; return the exit code."""
    output = Path(arguments.output)
    suffix = find_suffix(output)
    check_output_path(output, kind="net", suffixes=[output.suffix.lower()])
    style = load_style(arguments.style)
    if style.network is not NETWORKS[TRANSFORM]:
        raise ValueError(f"{arguments.style} is no transform net, so it has no export")
    for source in style.paths:
        if output.resolve() == source.resolve():
            raise ValueError(f"{source} is the input; writing the net would lose it")
    try:
        content = FORMATS[suffix](style.params)
    except ImportError as error:  # of what an extra installs
        raise ValueError(str(error)) from error
    with explained("write", output, kind="net"), atomic_path(output) as temporary:
        temporary.write_bytes(content)
    print(f"{output}: width {net_width(style.params)}, {len(content) / 1e6:.1f} MB")
    return 0
