"""The download of a VGG network: converted and kept, or nothing changes."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from vgg_samples import make_convolutions, save_photo, write_published_keras

from jaxstyle.convert import published_vgg
from jaxstyle.convert.published_vgg import download_vgg
from jaxstyle.files.downloads import cache_folder
from jaxstyle.files.param_files import load_params
from jaxstyle.vgg import layers


class Server(ThreadingHTTPServer):
    """Serve ``body`` at /good; at /truncated and /tampered what the names say."""

    body = b""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.body
        bodies = {
            "/good": body,
            "/truncated": body[: len(body) // 2],
            "/tampered": body[:-1] + bytes([body[-1] ^ 1]),
        }
        if self.path not in bodies:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(bodies[self.path])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(
    narrow_vgg: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """Serve a tiny VGG-19 in Keras' format, with the package expecting its checksum."""
    write_published_keras(tmp_path / "tiny.h5", make_convolutions("vgg19"))
    save_photo(tmp_path / "photo.png")
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(
        published_vgg, "example_photos", lambda: [tmp_path / "photo.png"]
    )
    with Server(("127.0.0.1", 0), Handler) as running:
        running.body = (tmp_path / "tiny.h5").read_bytes()
        md5 = hashlib.md5(running.body).hexdigest()
        published = published_vgg.Download(running.url("good"), md5)
        monkeypatch.setitem(published_vgg.DOWNLOADS, "vgg19", published)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_is_converted_and_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_vgg, "PHOTO_SIDE", 32)
    path = download_vgg("vgg19")
    assert path == cache_folder() / "vgg19.safetensors"
    assert list(cache_folder().iterdir()) == [path]
    params, metadata = load_params(path)
    assert metadata["network"] == "vgg19"
    assert metadata["source"] == server.url("good")
    assert layers.layer_names(params)[-1] == "relu5_4"
    kernel, _ = make_convolutions("vgg19")["conv5_4"]
    np.testing.assert_allclose(params["conv5_4"]["kernel"], kernel, rtol=2**-10)
    assert load_file(path)["conv5_4/kernel"].dtype == np.float16


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("truncated", r"broke off after \d+ of \d+ bytes"),
        ("tampered", "its MD5 sum is [0-9a-f]{32}, expected [0-9a-f]{32}"),
        ("absent", "404"),
    ],
)
def test_a_failed_download_leaves_everything_as_it_was(
    server: Server, tmp_path: Path, path: str, message: str
) -> None:
    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    cache_folder().mkdir()
    (cache_folder() / "vgg19.safetensors").write_bytes(b"what was there before")
    before = files()
    with pytest.raises(ValueError, match=message) as caught:
        download_vgg("vgg19", url=server.url(path))
    assert server.url(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files() == before


def test_a_server_that_does_not_answer_is_one_clear_line(server: Server) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/good"
    with pytest.raises(ValueError, match=f"cannot download {url}: .*refused"):
        download_vgg("vgg19", url=url)
    with pytest.raises(ValueError, match="cannot download nonsense"):
        download_vgg("vgg19", url="nonsense")
    assert not cache_folder().exists()


def test_an_unusable_cache_is_one_clear_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_vgg, "PHOTO_SIDE", 32)
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "tiny.h5"))
    with pytest.raises(ValueError, match="cannot create the cache folder"):
        download_vgg("vgg19")


def test_unknown_downloads_are_refused() -> None:
    with pytest.raises(ValueError, match="no download 'vgg11'; known are vgg16, vgg19"):
        download_vgg("vgg11")


def test_downloads_are_checked_against_the_published_sums() -> None:
    sums = {name: download.md5 for name, download in published_vgg.DOWNLOADS.items()}
    assert sums == {
        "vgg16": "6d6bbae143d832006294945121d1f1fc",
        "vgg19": "253f8cb515780f3b799900260a226db6",
    }
