"""Commands for files: ``jaxstyle import`` and ``export``, ``weights`` and ``data``."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import jax

from jaxstyle.cli import commands
from jaxstyle.cli.loading import is_painted, parse_mixture
from jaxstyle.cli.painted_styles import describe_image
from jaxstyle.cli.runtime import check_kept, make_say, use_compilation_cache
from jaxstyle.cli.style_kinds import load_mixture
from jaxstyle.convert.exports import export_net, export_painting, to_onnx
from jaxstyle.convert.published_vgg import download_vgg
from jaxstyle.convert.torch_nets import dump_torch, from_torch
from jaxstyle.data.sources import find_tfds, is_tfds_name
from jaxstyle.files.atomic import atomic_path, check_output_path, explained
from jaxstyle.files.style_files import save_style
from jaxstyle.files.transport_files import save_painting
from jaxstyle.files.web_images import local_image
from jaxstyle.nets.networks import NETWORKS, TRANSFORM
from jaxstyle.nets.transform_net import Params, net_width


def run_weights(options: commands.WeightsOptions) -> int:
    """Download, check and convert a network; return the exit code."""
    path = download_vgg(options.network, url=options.url)
    print(f"{options.network} is ready: {path}")
    return 0


def run_data(options: commands.DataOptions) -> int:
    """Prepare a data set unless it is there already; return the exit code."""
    name = options.name
    if not is_tfds_name(name):
        raise ValueError(
            f"expected a name such as coco/2014 or coco/2014:1.1.0, got {name!r}"
        )
    # These import TensorFlow Datasets, which takes seconds.
    from tensorflow_datasets.core import constants

    from jaxstyle.data.coco import is_coco, prepare_coco
    from jaxstyle.data.tfds_records import TfdsRecords, prepare_tfds

    folder, state = find_tfds(name, data_dir=options.data_dir), "is there already"
    if folder is None:
        prepare = prepare_coco if is_coco(name) else prepare_tfds
        where = Path(options.data_dir or str(constants.DATA_DIR))
        say, quiet = make_say(quiet=options.quiet), options.quiet
        folder, state = prepare(name, where, say=say, quiet=quiet), "is ready"
    images = len(TfdsRecords(folder, split="train"))
    print(f"{name} {state}: {images} images for training in {folder}")
    return 0


def run_describe(options: commands.DescribeOptions) -> int:
    """Describe an image of a painting in a file; return the exit code."""
    source, output = local_image(options.painting), Path(options.output)
    check_kept([source], [output], what="painting")
    check_output_path(output, kind="painting", suffixes=[".safetensors"])
    use_compilation_cache()
    painting = describe_image(source, size=options.style_size)
    facts = {
        "title": options.title,
        "painter": options.painter,
        "year": options.year,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "style_size": options.style_size,
    }
    metadata = {key: str(fact) for key, fact in facts.items() if fact is not None}
    save_painting(painting, output, metadata=metadata)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


def run_import(options: commands.ImportOptions) -> int:
    """Convert a PyTorch checkpoint into a style file; return the exit code."""
    source, output = Path(options.checkpoint), Path(options.output)
    check_kept([source], [output], what="style")
    check_output_path(output, kind="parameter file", suffixes=[".safetensors"])
    layout, params = from_torch(source)
    metadata = {
        "source": source.name,
        "source_layout": layout,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    save_style(params, output, metadata=metadata)
    print(f"{output}: {layout}, width {net_width(params)}")
    return 0


def run_export(options: commands.ExportOptions) -> int:
    """Convert a style into the format of the output's suffix; return the exit code."""
    output = Path(options.output)
    suffix = find_suffix(output)
    check_output_path(output, kind="net", suffixes=[output.suffix.lower()])
    shares = parse_mixture(options.style)
    painted = any(map(is_painted, shares))
    if painted and suffix != PROGRAM:
        raise ValueError(
            f"{options.style} is a painting, which {suffix} files cannot hold; write "
            f"{output.stem}{PROGRAM}"
        )
    use_compilation_cache()
    style = load_mixture(shares, size=options.style_size)
    if not painted and style.network is not NETWORKS[TRANSFORM]:
        raise ValueError(f"{options.style} is no transform net, so it has no export")
    check_kept(style.paths, [output], what="net")
    try:
        content = FORMATS[suffix](style.params)
    except ImportError as error:  # of an optional package
        raise ValueError(str(error)) from error
    with explained(f"cannot write the net {output}"), atomic_path(output) as temporary:
        temporary.write_bytes(content)
    kind = "a painting" if painted else f"width {net_width(style.params)}"
    print(f"{output}: {kind}, {len(content) / 1e6:.1f} MB")
    return 0


def export_program(params: Params) -> bytes:
    """Serialize a program that names no file of this machine."""
    jax.config.update("jax_traceback_in_locations_limit", 0)
    if "target" in params:
        exported = export_painting(params["transport"], params["target"])
    else:
        exported = export_net(params)
    return bytes(exported.serialize())


PROGRAM = ".stablehlo"
"""The suffix of programs, the one format that takes paintings, too."""


FORMATS: Mapping[str, Callable[[Params], bytes]] = {
    PROGRAM: export_program,
    ".onnx": to_onnx,
    ".pytorch.safetensors": dump_torch,
}
"""The functions that make the content of a file, by its suffix."""


def find_suffix(output: Path) -> str:
    """Find the suffix of an output in `FORMATS`; a ValueError if there is none."""
    for suffix in FORMATS:
        if output.name.lower().endswith(suffix):
            return suffix
    reason = f"unknown suffix {output.suffix!r}, use one of"
    if output.suffix.lower() in (".pth", ".pt", ".safetensors"):
        reason = f"for PyTorch write {output.stem}.pytorch.safetensors; known are"
    raise ValueError(f"cannot write the net {output}: {reason} {', '.join(FORMATS)}")
