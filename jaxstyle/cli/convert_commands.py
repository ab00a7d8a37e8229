"""``jaxstyle import`` and ``export``: styles from and for other frameworks."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from jaxstyle.cli.commands import ExportOptions, ImportOptions
from jaxstyle.cli.style_inputs import load_style
from jaxstyle.convert.onnx_nets import to_onnx
from jaxstyle.convert.stablehlo import export_net
from jaxstyle.convert.torch_exports import dump_torch
from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.style_files import save_style
from jaxstyle.nets.networks import NETWORKS, TRANSFORM
from jaxstyle.nets.transform_net import Params, net_width


def run_import(options: ImportOptions) -> int:
    """Convert a PyTorch checkpoint into a style file; return the exit code."""
    source, output = Path(options.checkpoint), Path(options.output)
    check_kept(source, output, what="style")
    layout, params = from_torch(source)
    metadata = {
        "source": source.name,
        "source_layout": layout,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    save_style(params, output, metadata=metadata)
    print(f"{output}: {layout}, width {net_width(params)}")
    return 0


def run_export(options: ExportOptions) -> int:
    """Convert a style into the format of the output's suffix; return the exit code."""
    output = Path(options.output)
    suffix = find_suffix(output)
    check_output_path(output, kind="net", suffixes=[output.suffix.lower()])
    style = load_style(options.style)
    if style.network is not NETWORKS[TRANSFORM]:
        raise ValueError(f"{options.style} is no transform net, so it has no export")
    for source in style.paths:
        check_kept(source, output, what="net")
    try:
        content = FORMATS[suffix](style.params)
    except ImportError as error:  # of an optional package
        raise ValueError(str(error)) from error
    with explained("write", output, kind="net"), atomic_path(output) as temporary:
        temporary.write_bytes(content)
    print(f"{output}: width {net_width(style.params)}, {len(content) / 1e6:.1f} MB")
    return 0


def check_kept(source: Path, output: Path, *, what: str) -> None:
    """Raise a ValueError if writing the output would overwrite the input."""
    if output.resolve() == source.resolve():
        raise ValueError(f"{source} is the input; writing the {what} would lose it")


def export_program(params: Params) -> bytes:
    """Serialize a program that names no file of this machine."""
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
