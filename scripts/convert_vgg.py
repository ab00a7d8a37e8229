"""Convert published VGG-16 or VGG-19 weights into this package's format.

    python scripts/convert_vgg.py SOURCE.{onnx,h5,pth} -o OUT.safetensors

ONNX and HDF5 files must hold Oxford's original weights for BGR pixels, as Keras
publishes them; PyTorch checkpoints those of torchvision. No code in them is executed.
The weights that ship in the package were converted with ``--deepest conv5_1`` and
``--photos`` over 1,396 photographs.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxstyle.files.image_files import example_photos, load_image
from jaxstyle.files.published_vgg import (
    PHOTO_SIDE,
    from_keras,
    from_onnx,
    from_torchvision,
)
from jaxstyle.files.vgg_files import OXFORD, TORCHVISION, Origin, save_vgg, to_half
from jaxstyle.vgg.params import measure_mean_activations, truncate

Reader = Callable[[Path], tuple[str, dict[str, Any]]]

READERS: dict[str, tuple[Reader, Origin]] = {
    ".onnx": (from_onnx, OXFORD),
    ".h5": (from_keras, OXFORD),
    ".pth": (from_torchvision, TORCHVISION),
}

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def convert(arguments: argparse.Namespace) -> None:
    """Read, cut short, measure on photographs, and write."""
    reader, origin = choose_reader(arguments.source_file)
    check_output(arguments.output)
    photos = list_photos(arguments.photos) if arguments.photos else example_photos()
    network, params = reader(arguments.source_file)
    if arguments.deepest:
        layer = arguments.deepest.replace("conv", "relu")
        params = dict(truncate(params, (layer,)))
    images = (
        load_image(photo, longest_side=PHOTO_SIDE)
        for photo in tqdm(photos, desc="mean activations", unit="photo")
    )
    params = measure_mean_activations(params, images)
    save_vgg(
        params if arguments.float32 else to_half(params),
        arguments.output,
        network=network,
        origin=origin,
        source=arguments.source or arguments.source_file.name,
        photos=len(photos),
    )


def choose_reader(path: Path) -> tuple[Reader, Origin]:
    """Return how to read a file, by its suffix, and whose weights it holds."""
    if path.suffix not in READERS:
        raise ValueError(
            f"cannot tell what {path} is: expected a suffix of {', '.join(READERS)}"
        )
    return READERS[path.suffix]


def check_output(path: Path) -> None:
    """Raise, before any long work, unless a parameter file can be put there."""
    if path.suffix != ".safetensors":
        raise ValueError(f"the output must be a .safetensors file, got {path}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: no such folder {path.parent}")


def list_photos(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, in order."""
    if not folder.is_dir():
        raise ValueError(f"no such folder of photographs: {folder}")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise ValueError(f"no photographs ({', '.join(PHOTO_SUFFIXES)}) in {folder}")
    return photos


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Convert published VGG weights.")
    add = parser.add_argument
    add("source_file", type=Path, metavar="SOURCE", help="an .onnx, .h5 or .pth file")
    add("-o", "--output", type=Path, required=True, metavar="OUT.safetensors")
    add(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="photographs on which mean activations are measured "
        "(default: the package's examples)",
    )
    add("--deepest", metavar="LAYER", help="keep layers down to this one, as conv5_1")
    add("--float32", action="store_true", help="keep the kernels in float32")
    add("--source", metavar="TEXT", help="where the file came from, for the record")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        convert(arguments)
    except (OSError, TypeError, ValueError) as error:
        print(f"convert_vgg: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
