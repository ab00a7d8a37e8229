"""Encoded images of all kinds, COCO as it is published, and a server of files."""

import functools
import io
import json
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

COCO = Path(__file__).parents[2] / "shared" / "coco128"
"""128 images of COCO's training split of 2017, with their annotations."""

needs_coco = pytest.mark.skipif(
    not COCO.exists(), reason="the images of coco128 lie beside the repository only"
)


def encode(picture: Image.Image | np.ndarray, kind: str = "JPEG", **how: Any) -> bytes:
    """Return the bytes of an image file."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def gradient(width: int, height: int, blue: int = 128) -> np.ndarray:
    """Red says how far a pixel is from the left, green how far from the top."""
    image = np.full((height, width, 3), blue, np.uint8)
    image[..., 0] = np.linspace(0, 255, width).round()
    image[..., 1] = np.linspace(0, 255, height).round()[:, None]
    return image


def write_photos(
    folder: Path, count: int, *, width: int = 60, height: int = 40
) -> None:
    """Write JPEGs that their blue tells apart."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        content = encode(gradient(width, height, blue=number * 255 // count))
        (folder / f"{number:03d}.jpg").write_bytes(content)


# --- COCO ---------------------------------------------------------------------------


def coco_images(year: int, count: int) -> dict[str, bytes]:
    """Return the first images of coco128 by the names that they have in a year."""
    prefix = "COCO_train2014_" if year == 2014 else ""
    paths = sorted((COCO / "train2017").iterdir())[:count]
    return {prefix + path.name: path.read_bytes() for path in paths}


def write_coco(folder: Path, year: int, *, count: int = 128) -> dict[str, bytes]:
    """Write the zip files of a year's training split; return the images by name."""
    images = coco_images(year, count)
    content = json.loads((COCO / "instances_train2017.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"{image['id']:012d}.jpg"
        if year == 2014:
            image["file_name"] = "COCO_train2014_" + image["file_name"]
    content["images"] = [i for i in content["images"] if i["file_name"] in images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [
        a for a in content["annotations"] if a["image_id"] in kept
    ]
    with zipfile.ZipFile(folder / f"train{year}.zip", "w") as archive:
        for name, data in images.items():
            archive.writestr(f"train{year}/{name}", data)
    path = folder / f"annotations_trainval{year}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"annotations/instances_train{year}.json", json.dumps(content))
    return images


# --- TFDS ---------------------------------------------------------------------------


def write_tfds(
    data_dir: Path,
    name: str,
    examples: list[Any],
    *,
    shards: int = 1,
    version: str = "1.0.0",
) -> Path:
    """Write a data set of images, or of texts, as TFDS does; return its folder."""
    import tensorflow_datasets as tfds

    key = "image" if isinstance(examples[0], bytes) else "text"
    kinds = {"image": tfds.features.Image(), "text": tfds.features.Text()}
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name, version=version, data_dir=str(folder), module_name=""
    )
    info = tfds.core.DatasetInfo(
        builder=identity, features=tfds.features.FeaturesDict({key: kinds[key]})
    )
    writer = tfds.core.SequentialWriter(
        info, -(-len(examples) // shards), file_format="array_record"
    )
    writer.initialize_splits(["train"])
    for example in examples:
        value = io.BytesIO(example) if key == "image" else example
        writer.add_examples({"train": [{key: value}]})
    writer.close_all()
    return folder


def write_tfrecords(folder: Path) -> None:
    """Rewrite a data set of array_record files in TFDS's default format."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    for path in list(folder.glob("*array_record*")):
        with open(str(path).replace("array_record", "tfrecord"), "wb") as file:
            for record in ArrayRecordDataSource(str(path)):
                header = struct.pack("<Q", len(record))
                file.write(header + _masked_sum(header) + record + _masked_sum(record))
        path.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))


def _masked_sum(data: bytes) -> bytes:
    """Return the checksum of tfrecord files: CRC-32C, turned and shifted."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(crc >> 1) ^ (0x82F63B78 * (crc & 1)) for crc in table]
    return table


# --- a server -----------------------------------------------------------------------


class FileServer(ThreadingHTTPServer):
    """Serve files and parts of them; connections may break, or pause until told."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.ranges = True
        self.breaks_after: int | None = None
        self.pauses_after: int | None = None
        self.go_on = threading.Event()
        self.requests: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None:
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:][: self.server.breaks_after]
        if pause := self.server.pauses_after:
            self.wfile.write(rest[:pause])
            self.wfile.flush()
            self.server.go_on.wait()
        else:
            self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[FileServer]:
    """Run a server in a thread."""
    with FileServer(files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
