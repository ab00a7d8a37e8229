"""Convert published VGG-16 or VGG-19 weights into this package's format.

    python scripts/convert_vgg.py SOURCE.{onnx,h5,pth} -o OUT.safetensors

ONNX and HDF5 files must hold Oxford's original weights for BGR pixels, as Keras
publishes them; PyTorch checkpoints those of torchvision. No code in them is executed.
The weights that ship in the package were converted with ``--deepest conv5_1`` and
``--photos`` over 1,396 photographs.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import jaxstyle
from jaxstyle.convert import read_vgg
from jaxstyle.files import load_image, save_vgg
from jaxstyle.vgg import measure_mean_activations, truncate

EXAMPLES = Path(jaxstyle.__file__).parent / "examples"

PHOTOS = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg")
"""The examples that are photographs."""

PHOTO_SIDE = 512
"""The longer side, in pixels, of photographs on which activations are measured."""

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


def convert(arguments: argparse.Namespace) -> None:
    """Read, cut short, measure on photographs, and write."""
    check_output(arguments.output)
    photos = [EXAMPLES / name for name in PHOTOS]
    if arguments.photos:
        photos = list_photos(arguments.photos)
    network, params, origin = read_vgg(arguments.source_file)
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


def to_half(params: dict[str, Any]) -> dict[str, Any]:
    """Round the kernels to float16, which halves the file; keep all else in float32."""
    return {
        name: {**value, "kernel": np.asarray(value["kernel"], np.float16)}
        if isinstance(value, dict)
        else value
        for name, value in params.items()
    }


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
