"""Readers of files, whole files that each reads, and mutations of these."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import numpy as np

from jaxstyle.cli import styles_command
from jaxstyle.cli.push_command import find_paths, make_card, read_card
from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.data.checksums import masked_crc32c
from jaxstyle.data.crops import Crop, Report, decode
from jaxstyle.data.sources import Record
from jaxstyle.data.tfds_records import TfdsRecords
from jaxstyle.files.checkpoints import find_differences
from jaxstyle.files.figures import plot_losses
from jaxstyle.files.image_files import load_image, load_settings, save_image
from jaxstyle.files.json_files import load_object, save_object
from jaxstyle.files.param_files import load_header, save_params
from jaxstyle.files.run_log import read_metrics
from jaxstyle.files.style_files import FORMAT, load_style_file
from jaxstyle.files.transport_files import (
    load_decoder,
    load_painting,
    save_decoder,
    save_painting,
)
from jaxstyle.files.trunk_files import load_trunk, save_trunk
from jaxstyle.kernels.gaussians import Gaussian
from jaxstyle.nets.conditional import split_style
from jaxstyle.nets.net_layers import NORMS
from jaxstyle.nets.prediction import predictor_shapes
from jaxstyle.nets.transform_net import net_shapes
from jaxstyle.transport.decoder import init_decoder
from jaxstyle.transport.encoder import LEVELS
from jaxstyle.vgg import layers

SIDE = 16
"""The side of the images, in pixels."""

NARROW = (1, 1, 2, 2)
"""The widths of the blocks of a narrow network down to relu4_1."""

CONFIGURATION = {"batch": 4, "style": {"relu1_2": 1e5}, "blend": None}


class Target(NamedTuple):
    """A reader, which returns or raises a ValueError of one line.

    ``seeds`` makes files that it reads in a folder, by a name that says what they are.
    """

    name: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], Sequence[bytes]]


# --- mutations ----------------------------------------------------------------------


def mutate(seed: bytes, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """Change a file in one to four ways: bits, numbers, parts, lengths."""
    content = bytearray(seed)
    for _ in range(int(rng.integers(1, 5))):
        change = CHANGES[int(rng.integers(len(CHANGES)))]
        at = int(rng.integers(len(content) + 1))
        change(content, at, rng, others)
    return bytes(content)


def _flip(content: bytearray, at: int, rng: Any, _: Sequence[bytes]) -> None:
    if at < len(content):
        content[at] ^= 1 << int(rng.integers(8))


def _number(content: bytearray, at: int, rng: Any, _: Sequence[bytes]) -> None:
    width = int(rng.choice([1, 2, 4, 8]))
    value = int(rng.choice([0, 1, 0x7F, 0x80, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1]))
    order = "little" if rng.random() < 0.5 else "big"
    content[at : at + width] = (value % 256**width).to_bytes(width, order)


def _cut(content: bytearray, at: int, rng: Any, _: Sequence[bytes]) -> None:
    del content[at : at + int(rng.choice([1, 2, 4, 64, 2**20]))]


def _repeat(content: bytearray, at: int, rng: Any, _: Sequence[bytes]) -> None:
    part = content[at : at + int(rng.choice([1, 4, 32]))]
    content[at:at] = part * int(rng.choice([1, 2, 100]))


def _splice(content: bytearray, at: int, rng: Any, others: Sequence[bytes]) -> None:
    other = others[int(rng.integers(len(others)))]
    start = int(rng.integers(len(other) + 1))
    content[at : at + 64] = other[start : start + 64]


def _insert(content: bytearray, at: int, rng: Any, _: Sequence[bytes]) -> None:
    content[at:at] = rng.bytes(int(rng.integers(1, 9)))


CHANGES = (_flip, _flip, _number, _cut, _repeat, _splice, _insert)


# --- images -------------------------------------------------------------------------


@cache
def _pixels() -> np.ndarray:
    steps = np.linspace(0, 1, SIDE)
    x, y = np.meshgrid(steps, steps)
    return np.stack([x, y, 1 - x * y], -1)


def _images(_: Path) -> list[bytes]:
    from PIL import Image

    image = Image.fromarray(np.rint(_pixels() * 255).astype(np.uint8))
    ways: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((image, kind, {}) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")),
        *((image, kind, {}) for kind in ("PPM", "AVIF", "JPEG2000", "MPO")),
        (image, "JPEG", {"progressive": True}),
        (image, "WEBP", {"lossless": True}),
        (image, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (image, "TIFF", {"compression": "jpeg"}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("L"), "PNG", {"transparency": 9}),
        (image.quantize(8), "PNG", {"transparency": 1}),
        (image.convert("RGBA"), "PNG", {}),
        (image.convert("I;16"), "PNG", {}),
        (image.convert("F"), "TIFF", {}),
        (image.convert("1"), "TIFF", {"compression": "group4"}),
    ]
    found = []
    for picture, kind, how in ways:
        picture.save(buffer := io.BytesIO(), kind, **how)
        found.append(buffer.getvalue())
    return found


def _pictures(folder: Path) -> list[bytes]:
    found = []
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        save_image(_pixels(), path := folder / f"x{suffix}", settings={"steps": 1})
        found.append(path.read_bytes())
    return found


def _read_crop(path: Path) -> object:
    crop = Crop(SIDE, 0.5, 0.5, mirrored=False)
    return decode(Record("x", path.read_bytes()), crop, size=SIDE, report=Report())


# --- parameters ---------------------------------------------------------------------


def _net() -> dict[str, Any]:
    return _fill(net_shapes(width=1, norm=next(iter(NORMS)), blocks=1))


def _fill(shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _fill(x) if isinstance(x, Mapping) else np.ones(x, np.float32)
        for key, x in shapes.items()
    }


def _params(folder: Path) -> list[bytes]:
    metadata = {**FORMAT, "title": '"Noise"', "before": "[{}]", "losses": '{"x": 1}'}
    save_params(_net(), path := folder / "x.safetensors", metadata=metadata)
    small = {"a": np.ones(3, np.float16), "b": {"c": np.zeros((2, 2), np.int64)}}
    save_params(small, other := folder / "y.safetensors", metadata={"by": "me"})
    return [path.read_bytes(), other.read_bytes()]


def _paintings(folder: Path) -> list[bytes]:
    with patch.object(layers, "WIDTHS", NARROW):
        painting = {
            layer: Gaussian(jax.numpy.ones(count), jax.numpy.eye(count))
            for layer, count in zip(LEVELS, NARROW, strict=True)
        }
        save_painting(painting, path := folder / "x.safetensors", metadata={})
    return [path.read_bytes()]


def _read_painting(path: Path) -> object:
    """Read a painting of few channels, so that mutations meet more than numbers."""
    with patch.object(layers, "WIDTHS", NARROW):
        return load_painting(path)


def _decoders(folder: Path) -> list[bytes]:
    init = partial(init_decoder, channels=NARROW, hidden=(1, 1, 2))
    shapes = jax.eval_shape(init, jax.random.key(0))
    decoder = jax.tree.map(lambda x: np.ones(x.shape, np.float32), shapes)
    save_decoder(decoder, path := folder / "x.safetensors", metadata={})
    return [path.read_bytes()]


def _trunks(folder: Path) -> list[bytes]:
    """Make nets of many styles: their norms are predicted, or their kernels."""
    found = []
    for part in ("norms", "kernels"):
        _, style = split_style(net := _net(), part=part)
        many = {
            "net": net,
            "predictor": _fill(predictor_shapes(style, inputs=2, hidden=1)),
        }
        save_trunk(many, path := folder / "x.safetensors", metadata={})
        found.append(path.read_bytes())
    return found


def _torch_pickle() -> bytes:
    """Pickle one tensor of shape (3, 4), as ``torch.save`` does."""
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\x0ctQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    rebuilt += b"K\0K\3K\4\x86K\4K\1\x86\x89}tR"
    name = b"conv1.conv2d.weight"
    return b"\x80\2}q\0(X" + struct.pack("<I", len(name)) + name + rebuilt + b"u."


def _torch_files(_: Path) -> list[bytes]:
    data = np.arange(12, dtype=np.float32).tobytes()
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
        archive.writestr("x/data.pkl", _torch_pickle())
        archive.writestr("x/data/0", data)
    header = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(value, protocol=2) for value in header]
    keys = pickle.dumps(["0"], protocol=2)
    legacy = [*parts, _torch_pickle(), keys, struct.pack("<q", 12), data]
    return [buffer.getvalue(), b"".join(legacy)]


# --- records ------------------------------------------------------------------------


def _records(folder: Path, kind: str) -> list[bytes]:
    """Write a data set into a folder, and return the content of its only file."""
    import tensorflow_datasets as tfds
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    identity = tfds.core.dataset_info.DatasetIdentity(
        name="x", version="1.0.0", data_dir=str(folder), module_name=""
    )
    features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, 9, file_format="array_record")
    writer.initialize_splits(["train"])
    for image in _images(folder)[:3]:
        writer.add_examples({"train": [{"image": io.BytesIO(image)}]})
    writer.close_all()
    (path,) = folder.glob("*.array_record*")
    if kind == "tfrecord":
        content = b"".join(_framed(x) for x in ArrayRecordDataSource(str(path)))
        path.unlink()
        path = Path(str(path).replace("array_record", "tfrecord"))
        path.write_bytes(content)
        about = folder / "dataset_info.json"
        about.write_text(about.read_text().replace("array_record", "tfrecord"))
    return [path.read_bytes()]


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    sums = (struct.pack("<I", masked_crc32c(x)) for x in (length, record))
    return length + next(sums) + record + next(sums)


def _read_records(path: Path) -> object:
    """Read all records of a data set whose file is replaced; leave out damaged ones."""
    (file,) = path.parent.glob("x-train.*record*")
    file.write_bytes(path.read_bytes())
    records, errors = TfdsRecords(path.parent, split="train"), []
    for index in range(len(records)):
        try:
            records[index]
        except ValueError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return records


# --- text ---------------------------------------------------------------------------


def _objects(folder: Path) -> list[bytes]:
    own = {"files": {"a": "0" * 64}, "codes": {"out.png": 0}}
    content = {"configuration": CONFIGURATION, **own}
    save_object(content, path := folder / "x.json")
    return [path.read_bytes(), json.dumps(content).encode()]


def _read_manifest(path: Path) -> object:
    found = load_object(path, {"configuration": dict, "files": dict})
    return list(find_differences(found["configuration"], CONFIGURATION))


def _read_ledger(path: Path) -> object:
    found = load_object(path, {"configuration": dict, "codes": dict})
    return list(find_differences(found["configuration"], CONFIGURATION))


def _metrics(folder: Path) -> list[bytes]:
    plot_losses([], folder / "loss.png")  # the first time, fonts are searched
    lines = [{"step": n, "loss": 1 / (n + 1), "time": 1.5} for n in range(4)]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


def _read_metrics(path: Path) -> object:
    metrics = read_metrics(path)
    if path.stat().st_size % 50 == 0:  # to plot is slow
        plot_losses(metrics, path.with_name("loss.png"))
    return metrics


def _metadata(_: Path) -> list[bytes]:
    values = (
        {"validation_loss": 1.5, "validation_style": 2},
        [{"command": "jaxstyle train", "losses": {"a": [1, 2]}}],
        *("Noise", "/home/me/x.jpg `a`", 1831, None, [[[[1]]]]),
    )
    return [json.dumps(value).encode() for value in values]


def _read_metadata(path: Path) -> object:
    """Put a value of JSON in all places where a style's file may have it."""
    value = styles_command.decode(path.read_bytes().decode(errors="replace"))
    keys = ("title", "painter", "year", "steps", "losses", "before", "command")
    facts = {**dict.fromkeys(keys, value), "width": 8, "megabytes": 0.1, "x": value}
    row = styles_command.make_row("x", facts)
    lines = [
        *styles_command.format_table([styles_command.HEADS, row], 80),
        *styles_command.describe(facts),
        *find_paths(value),
    ]
    return lines, make_card(facts, repo="a/b", license=None)


def _cards(_: Path) -> list[bytes]:
    return ["---\nlicense: mit\n---\n\n# Noise \u6d6a\n".encode()]


TARGETS = (
    Target("image", load_image, _images),
    Target("settings", load_settings, _pictures),
    Target("crop", _read_crop, _images),
    Target("style.safetensors", load_style_file, _params),
    Target("header.safetensors", load_header, _params),
    Target("painting.safetensors", _read_painting, _paintings),
    Target("checkpoint.pth", from_torch, _torch_files),
    Target("tfrecord", _read_records, lambda folder: _records(folder, "tfrecord")),
    Target("array_record", _read_records, lambda folder: _records(folder, "")),
    Target("manifest.json", _read_manifest, _objects),
    Target("ledger.json", _read_ledger, _objects),
    Target("metrics.jsonl", _read_metrics, _metrics),
    Target("metadata", _read_metadata, _metadata),
    Target("card.md", read_card, _cards),
    Target("decoder.safetensors", load_decoder, _decoders),
    Target("trunk.safetensors", load_trunk, _trunks),
)
"""One for each reader; the names are those of the files."""
