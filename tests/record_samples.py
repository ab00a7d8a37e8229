"""Encoded images of all kinds, data sets of them, batches, and a server of files."""

import functools
import io
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxstyle.data.batches import make_batches
from jaxstyle.data.sources import Source


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
                file.write(header + masked_sum(header) + record + masked_sum(record))
        path.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))


def masked_sum(data: bytes) -> bytes:
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


# --- batches ------------------------------------------------------------------------


def take(source: Source, count: int, **options: Any) -> np.ndarray:
    """Return the first batches, ``[count, b, size, size, 3]``."""
    settings: dict[str, Any] = {
        "size": 16,
        "batch": 4,
        "seed": 1,
        "shorter_side": (16, 30),
    } | options
    with closing(make_batches(source, **settings)) as batches:
        return np.stack([next(batches) for _ in range(count)])


def blues(batches: np.ndarray) -> list[int]:
    """Return which of ten photos each crop is from."""
    return [
        round(blue * 10 / 255) for blue in np.median(batches[..., 2], (-1, -2)).flat
    ]


# --- a server -----------------------------------------------------------------------


class FileServer(ThreadingHTTPServer):
    """Serve files and parts of them; connections may break, or pause until told."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.ranges = True
        self.breaks_after: int | None = None
        self.pauses_after: int | None = None
        self.tag: str | None = None
        self.length: str | None = None
        self.redirect: str | None = None
        self.drips = False
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
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
            return
        same = self.headers.get("If-Range") in (None, self.server.tag)
        if wanted and self.server.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send_header("Content-Range", content_range)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        length = self.server.length or str(len(body) - start)
        self.send_header("Content-Length", length)
        self.end_headers()
        rest = body[start:][: self.server.breaks_after]
        if pause := self.server.pauses_after:
            self.wfile.write(rest[:pause])
            self.wfile.flush()
            self.server.go_on.wait()
        elif self.server.drips:
            with suppress(OSError):  # when it is no longer read
                for byte in rest:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.01)
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
