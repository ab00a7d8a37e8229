"""Ship the trunk of a finished run of many styles, and styles that it predicts.

    python scripts/ship_trunk.py RUN
    python scripts/ship_trunk.py RUN --paintings FOLDER FOLDER --names lion poppies

The first writes ``jaxstyle/weights/trunk-WIDTH.safetensors``: the net and its predictor
in 8 bits, and what it takes to train them again, without any path of this machine. The
second also writes ``jaxstyle/styles/NAME.safetensors`` for each name of `STYLES`, by
the scales and biases of norms alone, 13 kB for a net of width 32: titles are those of
paintings that ship, and their images are found in the folders by their digests.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from provenance import check_no_paths, describe_training
from ship_style import PACKAGE, STYLES as FOLDER

import jaxstyle
from jaxstyle.files import load_params, load_trunk, save_trunk, shipped_paintings
from jaxstyle.training import predict_net

STYLES: Mapping[str, str] = {
    "composition-7": "kandinsky-composition-7",
    "columbian-exposition": "hassam-columbian-exposition",
    "gondola": "renoir-gondola",
    "great-wave": "hokusai-great-wave",
    "metzinger": "delaunay-metzinger",
    "night-cafe": "van-gogh-night-cafe",
    "olive-trees": "van-gogh-olive-trees",
    "self-portrait": "van-gogh-self-portrait",
    "shipwreck": "turner-shipwreck",
    "starry-night": "van-gogh-starry-night",
    "tarring-the-boat": "manet-tarring-the-boat",
    "temptation": "dore-temptation",
    "the-bathers": "rembrandt-bathers",
    "the-scream": "munch-scream",
    "udnie": "picabia-udnie",
    "wheat-field": "van-gogh-wheat-field",
}
"""The shipped painting that each style is of."""

TRUNK = "trunk.safetensors"
"""The result of a run of many styles."""

ABOUT = ("title", "painter", "year", "source_sha256")
"""What a style has of the painting that ships."""


def ship_trunk(arguments: argparse.Namespace) -> Path:
    """Write the trunk of a run, and say what made it; return its file."""
    many, _ = load_trunk(arguments.run / TRUNK)
    name = f"trunk-{many['net']['conv1']['kernel'].shape[-1]}"
    facts = describe_training(
        arguments.run, name, data=arguments.data, start=arguments.start, result=TRUNK
    )
    check_no_paths(facts)
    texts = {key: json.dumps(value) for key, value in facts.items()}
    path = arguments.weights / f"{name}.safetensors"
    save_trunk(many, path, metadata=texts, compact=True)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return path


def ship_styles(trunk: Path, arguments: argparse.Namespace) -> None:
    """Write what a trunk predicts for the paintings of names."""
    many, metadata = load_trunk(trunk)
    settings = json.loads(metadata["settings"])
    size, layers = settings["style_size"], [*settings["content"], *settings["style"]]
    vgg = jaxstyle.vgg.truncate(jaxstyle.files.load_vgg("vgg16"), layers)
    vgg = jaxstyle.vgg.normalize(vgg)
    images = digest_images(arguments.paintings)
    predict = jax.jit(predict_net)
    for name in arguments.names:
        _, facts = load_params(shipped_paintings()[STYLES[name]])
        about = {key: facts[key] for key in ABOUT if key in facts}
        if (image := images.get(about["source_sha256"])) is None:
            raise ValueError(f"no image in the folders is that of {STYLES[name]}")
        painting = jaxstyle.load_image(image, longest_side=size)
        net = jax.tree.map(np.asarray, predict(many, vgg, painting))
        known = {"steps": metadata["steps"], "style_size": str(size)}
        texts = {key: json.dumps(text) for key, text in about.items()} | known
        path = arguments.styles / f"{name}.safetensors"
        jaxstyle.save_style(net, path, metadata=texts, trunk=trunk)
        print(f"{path}: {path.stat().st_size / 1e3:.1f} kB")


def digest_images(folders: Sequence[Path]) -> dict[str, Path]:
    """Find the files in folders by their digests."""
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    return {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in files
        if path.is_file()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add: Any = parser.add_argument
    add("run", type=Path, help="the folder of a jaxstyle train")
    add("--data", help="where the photos are now, if they moved")
    add("--start", help="where the net is now that the run started from, if it moved")
    add("--paintings", type=Path, nargs="+", default=[], metavar="FOLDER")
    add("--names", nargs="+", default=[], choices=list(STYLES), metavar="NAME")
    add("--weights", type=Path, default=PACKAGE / "weights", metavar="FOLDER")
    add("--styles", type=Path, default=FOLDER, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    try:
        ship_styles(ship_trunk(arguments), arguments)
    except (OSError, ValueError) as error:
        print(f"ship_trunk: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
