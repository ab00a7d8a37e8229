"""What scripts that measure trained nets share: the nets, and photos new to them."""

import argparse
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxstyle.data import Source, hold_out, open_source, validation_batches
from jaxstyle.files import find_style, load_style_file, shipped_styles
from jaxstyle.losses import LossConfig
from jaxstyle.training import TrainConfig

STYLE = "style.safetensors"
"""The name of every net in the folder of its run."""


class Net(NamedTuple):
    """A trained net, and what its file tells of the training.

    Attributes:
        name: what tables call it.
        params: its parameters.
        settings: those of the training.
        paintings: the files it was trained on.
        validation: how many photos were held out.
        data: the fingerprint of the photos that were not.
    """

    name: str
    params: dict[str, Any]
    settings: TrainConfig
    paintings: list[Path]
    validation: int
    data: str


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def add_arguments(
    parser: argparse.ArgumentParser, *, count: int, size: int
) -> argparse.ArgumentParser:
    """Add what chooses the nets and the photos, and return the parser.

    Args:
        parser: of the script.
        count: how many photos it takes by default.
        size: their side in pixels by default.
    """
    add = parser.add_argument
    add(
        "styles",
        nargs="*",
        metavar="STYLE",
        help="a shipped style, or a file by jaxstyle train (default: all shipped)",
    )
    add(
        "--photos",
        required=True,
        metavar="FOLDER",
        help="the photos the nets were trained on; those that were held out are taken",
    )
    add(
        "--paintings",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the paintings are, by the names that the style files tell",
    )
    add(
        "--unseen",
        action="store_true",
        help="the nets have seen none of the photos: take any",
    )
    add("--count", type=positive_int, default=count, help="at most how many photos")
    add("--size", type=positive_int, default=size, help="the side of their squares")
    return parser


def load_nets(arguments: argparse.Namespace) -> list[Net]:
    """Load the nets that are asked for.

    Raises:
        ValueError: there is none, or one cannot be loaded.
    """
    styles = arguments.styles or list(shipped_styles())
    if not styles:
        raise ValueError("no style ships in the package; name style files")
    return [load_net(style, arguments.paintings) for style in styles]


def load_net(style: str | Path, paintings: Path) -> Net:
    """Load a net, and find its paintings in a folder.

    Raises:
        ValueError: there is no such style, its file does not tell how it was trained,
            or a painting is missing.
    """
    path = find_style(style)
    params, metadata = load_style_file(path)
    arguments, data = read_arguments(metadata, path), _read(metadata, "data", path)
    settings = read_settings(metadata, arguments, path)
    files = [paintings / Path(name).name for name in arguments["styles"]]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{path} was trained on {file.name}; no such file: {file}")
    own = path.resolve().parent.name if path.name == STYLE else path.stem
    validation = arguments["validation"]
    return Net(own, params, settings, files, validation, data["fingerprint"])


def read_settings(
    metadata: Mapping[str, str], arguments: Mapping[str, Any], path: Path
) -> TrainConfig:
    """Read the settings of a training; those it did not have yet are the default's.

    Nets that ship tell two kinds of variation apart, and the blend as an argument.

    Raises:
        ValueError: there are none, or one is unknown.
    """
    recorded = {"blend": arguments.get("blend"), **_read(metadata, "settings", path)}
    for kind in ("total", "absolute"):
        if weight := recorded.pop(f"{kind}_variation", 0.0):
            recorded["variation"] = {kind: weight}
    loss = {each.name for each in fields(LossConfig)}
    known = {each.name for each in fields(TrainConfig)} - {"loss"} | loss
    if unknown := sorted(recorded.keys() - known):
        raise ValueError(
            f"{path} has settings of another version: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )
    return TrainConfig(
        loss=LossConfig(**{key: recorded[key] for key in recorded.keys() & loss}),
        **{key: recorded[key] for key in recorded.keys() - loss},
    )


def read_arguments(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the arguments of a training; of a style that ships, those asked for here.

    Raises:
        ValueError: there are none.
    """
    if "command" not in metadata:
        return _read(metadata, "arguments", path)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--style", dest="styles", nargs="+")
    parser.add_argument("--validation", type=int, default=32)
    parser.add_argument("--blend", type=parse_blend)
    words = shlex.split(json.loads(metadata["command"]))
    return vars(parser.parse_known_args(words)[0])


def parse_blend(text: str) -> list[float] | dict[str, list[float]]:
    """Parse the shares of styles, or by layer: ``relu1_1=2:1,relu4_1=0:1``."""
    if "=" not in text:
        return [float(share) for share in text.split(",")]
    pairs = (part.split("=") for part in text.split(","))
    return {layer: [float(x) for x in shares.split(":")] for layer, shares in pairs}


def load_photos(
    net: Net, arguments: argparse.Namespace
) -> UInt8[np.ndarray, "n size size 3"]:
    """Return the center squares of photos that a net has never seen, evenly spaced.

    Raises:
        ValueError: the photos are not those of the training, or cannot be read.
    """
    photos = open_source(arguments.photos)
    if not arguments.unseen:
        photos = held_out(net, photos)
    if arguments.count < len(photos):
        photos = hold_out(photos, arguments.count)[1]
    return np.concatenate(
        list(validation_batches(photos, size=arguments.size, batch=1))
    )


def held_out(net: Net, photos: Source) -> Source:
    """Return the photos that the training of a net held out.

    Raises:
        ValueError: they are not the photos of its training, of which some were.
    """
    if net.validation < len(photos):
        seen, unseen = hold_out(photos, net.validation)
        if seen.fingerprint == net.data:
            return unseen
    raise ValueError(
        f"{photos.name} does not hold the photos that {net.name} was trained on, so "
        "which it has seen is not known; give that folder, or --unseen if it is none"
    )


def print_table(rows: Iterable[Mapping[str, str]]) -> None:
    """Print rows, which have the same columns, as a Markdown table as they come."""
    for number, row in enumerate(rows):
        lines = [row.keys(), ["---"] * len(row)] if number == 0 else []
        for line in (*lines, row.values()):
            print(f"| {' | '.join(line)} |", flush=True)


def _read(metadata: Mapping[str, str], key: str, path: Path) -> dict[str, Any]:
    """Return what a style file tells by a key, in JSON."""
    if key not in metadata:
        raise ValueError(
            f"{path} does not tell its training's {key}; expected a file made by "
            "jaxstyle train"
        )
    found: dict[str, Any] = json.loads(metadata[key])
    return found
