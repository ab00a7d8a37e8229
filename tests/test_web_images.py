"""Images named by their addresses, and what is refused of them."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from image_samples import blocks
from PIL import Image
from record_samples import FileServer, serve
from stylize_samples import STYLE, files

from jaxstyle import load_image
from jaxstyle.cli.loading import parse_mixture
from jaxstyle.files import load_settings, web_images
from jaxstyle.files.downloads import download


def encoded(kind: str) -> bytes:
    Image.fromarray(blocks(20, 36)).save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stylize_folder: Path
) -> Iterator[FileServer]:
    """Serve images, and keep what is downloaded in a cache folder of its own."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("JAXSTYLE_CACHE", str(tmp_path / "cache"))
    content = {
        "sea.png": encoded("PNG"),
        "sea.png?width=3+4": encoded("PNG"),
        "a%20b.jpeg": encoded("JPEG"),
        "view": encoded("WEBP"),
        "page.png": b"<html>no image</html>",
    }
    with serve(content) as running:
        yield running


def test_an_image_is_downloaded_once(server: FileServer) -> None:
    address = server.url("sea.png")
    for _ in range(2):
        np.testing.assert_array_equal(load_image(address) * 255, blocks(20, 36))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sea.png", "sea.png"),
        ("sea.png?width=3+4", "sea.png"),
        ("a%20b.jpeg", "a_b.jpeg"),
        ("view", "view.webp"),
    ],
)
def test_the_file_has_the_name_in_the_address(
    server: FileServer, path: str, name: str
) -> None:
    found = web_images.local_image(server.url(path))
    assert Path(found).name == name
    assert list(parse_mixture(server.url(path))) == [found]


def test_mixtures_may_have_addresses(server: FileServer) -> None:
    sea, view = map(server.url, ("sea.png?width=3+4", "view"))
    first, second = map(web_images.local_image, (sea, view))
    files = [first, second]
    assert list(parse_mixture(f"{sea}+{view}")) == files
    assert parse_mixture(f"{sea}=3+{view}=1") == dict(zip(files, (3, 1), strict=True))
    shares = parse_mixture(f"{view}=2+hokusai-poppies+{sea}")
    assert list(shares.values()) == [2, 1, 1]
    assert [path.stem for path in shares] == ["view", "hokusai-poppies", "sea"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("page.png", "cannot read the image .*page.png: its format is unknown"),
        ("none.png", "cannot download .*none.png: "),
    ],
)
def test_what_is_no_image_is_refused_and_not_kept(
    server: FileServer, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        load_image(server.url(path))
    assert not files(str(tmp_path / "cache"))


def test_a_file_that_is_too_large_is_refused_and_not_kept(
    server: FileServer, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has more than 99 bytes"):
        download(server.url("sea.png"), tmp_path / "x", largest=99, quiet=True)
    assert not list(tmp_path.glob("x*"))


def test_a_photo_on_the_web_is_stylized(server: FileServer) -> None:
    address = server.url("sea.png")
    assert run(["stylize", address, *STYLE, "-o", "out"]) == 0
    assert files("out") == ["sea.png"]
    assert load_settings("out/sea.png")["photo"] == address
