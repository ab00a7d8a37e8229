"""The web page, in a real browser: what it paints is what `jaxstyle.stylize` paints."""

import io
import os
import shutil
import threading
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jax
import make_web_page
import numpy as np
import pytest
from command_line import contents
from image_samples import noise, oriented, smooth
from net_samples import random_net
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from jaxstyle import load_image, load_style, save_style, stylize

Captured = pytest.CaptureFixture[str]
Browser = webdriver.Chrome

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_convolutions")]

TIMES = "\u00d7"
"""The multiplication sign, between width and height."""

STYLES = ("great-wave-8", "my net&co.safetensors")
"""A style that ships, and a file whose name means something in HTML and addresses."""

REQUIRED = "JAXSTYLE_REQUIRE_BROWSER"
"""The environment variable by which a missing browser is a failure, as it is in CI."""

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)

ROUNDING = 1.5
"""How far two pictures may be apart, in 8-bit levels."""

LONGEST = 120
"""How many seconds a picture may take."""


# --- the page in a browser ----------------------------------------------------------


def find_programs() -> dict[str, str]:
    """Return the paths of what these tests need, or skip them, if something is not."""
    found = {
        "browser": shutil.which("chromium") or shutil.which("google-chrome"),
        "driver": shutil.which("chromedriver"),
        "npm": shutil.which("npm"),
    }
    if None in found.values():
        reason = "needs chromium or google-chrome, chromedriver and npm on the PATH"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    return {name: path for name, path in found.items() if path}


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    return find_programs()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, str]) -> Path:
    """Return the folder of a page with two styles."""
    folder = tmp_path_factory.mktemp("page")
    save_style(random_net(), folder / STYLES[1], metadata={})
    output = folder / "web"
    styles = (STYLES[0], str(folder / STYLES[1]))
    assert make_web_page.main([*styles, "-o", str(output)]) == 0
    return output


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(page: Path) -> Iterator[str]:
    """Serve the folder, as ``python -m http.server`` does."""
    handler = partial(Handler, directory=str(page))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium(
    tmp_path_factory: pytest.TempPathFactory, programs: dict[str, str]
) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = programs["browser"]
    folder = tmp_path_factory.mktemp("browser")
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(folder / "downloads")}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=programs["driver"])
    with webdriver.Chrome(options=options, service=service) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, address: str) -> Iterator[Browser]:
    """Open the page anew; nothing may be complained about in the console."""
    chromium.get(address)
    wait_until_idle(chromium)
    yield chromium
    complaints: Any = chromium
    assert complaints.get_log("browser") == []


def wait_until_idle(browser: Browser) -> None:
    WebDriverWait(browser, LONGEST, poll_frequency=0.05).until(
        lambda _: browser.execute_script(
            "return !document.getElementById('controls').disabled;"
        )
    )


def choose(browser: Browser, path: Path) -> None:
    browser.find_element(By.ID, "file").send_keys(str(path))
    wait_until_idle(browser)


def move(browser: Browser, control: str, value: str) -> None:
    """Give a slider or the list of styles a value, as a hand does."""
    browser.execute_script(
        "const control = document.getElementById(arguments[0]);"
        "control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', { bubbles: true }));",
        control,
        value,
    )


def press_stylize(browser: Browser) -> None:
    browser.find_element(By.ID, "stylize").click()
    wait_until_idle(browser)


def text(browser: Browser, element: str) -> str:
    return browser.find_element(By.ID, element).text


def enabled(browser: Browser) -> list[bool]:
    buttons = ("stylize", "download")
    return [browser.find_element(By.ID, button).is_enabled() for button in buttons]


def read_canvas(browser: Browser) -> np.ndarray:
    """Return what is on the canvas, in 8-bit levels; it must be opaque."""
    url = browser.execute_script(
        "return document.getElementById('canvas').toDataURL();"
    )
    image = Image.open(io.BytesIO(b64decode(url.partition(",")[2])))
    pixels = np.asarray(image.convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    colors: np.ndarray = pixels[..., :3]
    return colors


def expected_picture(net: Any, photo: Path) -> np.ndarray:
    picture = np.asarray(jax.jit(stylize)(net, load_image(photo)))
    levels: np.ndarray = 255 * np.clip(picture, 0, 1)
    return levels


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.astype(float), expected, rtol=0, atol=ROUNDING)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 96x64 pixels."""
    return save(tmp_path / "photo.png", noise(64, 96, 3) // 2 + 64)


@pytest.fixture
def painted(browser: Browser, photo: Path) -> Browser:
    """The page after it has stylized that photo."""
    choose(browser, photo)
    press_stylize(browser)
    return browser


# --- what it paints -----------------------------------------------------------------


def test_it_paints_what_stylize_paints(painted: Browser, photo: Path) -> None:
    expected = expected_picture(load_style(STYLES[0]), photo)
    assert np.abs(expected - 255 * load_image(photo)).mean() > 20 * ROUNDING
    assert_close(read_canvas(painted), expected)


def test_it_says_how_large_and_how_long(painted: Browser) -> None:
    size, _, seconds = text(painted, "status").partition(" pixels in ")
    assert size == f"96 {TIMES} 64"
    assert float(seconds.removesuffix(" s")) < LONGEST
    assert enabled(painted) == [True, True]
    canvas = painted.find_element(By.ID, "canvas")
    assert canvas.accessible_name == "The photo photo.png in the style great-wave-8"


def test_another_style_paints_another_picture(
    painted: Browser, page: Path, photo: Path
) -> None:
    name = STYLES[1].removesuffix(".safetensors")
    move(painted, "style", name)
    assert text(painted, "style-about") == "width 4"
    press_stylize(painted)
    net = load_style(page.parent / STYLES[1])
    assert_close(read_canvas(painted), expected_picture(net, photo))


def test_at_strength_0_the_photo_comes_back(painted: Browser, photo: Path) -> None:
    move(painted, "strength", "0")
    np.testing.assert_array_equal(
        read_canvas(painted), np.rint(255 * load_image(photo))
    )


def test_between_strengths_photo_and_picture_are_mixed(
    painted: Browser, photo: Path
) -> None:
    move(painted, "strength", "25")
    expected = expected_picture(load_style(STYLES[0]), photo)
    assert_close(read_canvas(painted), 0.75 * 255 * load_image(photo) + 0.25 * expected)
    assert text(painted, "strength-value") == "25 %"


def test_a_large_photo_is_shrunk_and_keeps_its_proportions(
    browser: Browser, tmp_path: Path
) -> None:
    pixels = np.rint(255 * smooth(300, 450)).astype(np.uint8)
    path = save(tmp_path / "large.png", pixels)
    move(browser, "size", "256")
    choose(browser, path)
    press_stylize(browser)
    assert text(browser, "status").startswith(f"256 {TIMES} 171 pixels in ")
    move(browser, "strength", "0")
    expected = 255 * load_image(path, longest_side=256)
    found = read_canvas(browser)
    assert found.shape == (171, 256, 3)
    np.testing.assert_allclose(found.astype(float), expected, rtol=0, atol=3)


def test_a_photo_lies_as_its_camera_was_held(browser: Browser, tmp_path: Path) -> None:
    pixels = np.rint(255 * smooth(32, 48)).astype(np.uint8)
    path = save(tmp_path / "turned.png", pixels, exif=oriented(6))
    choose(browser, path)
    found = read_canvas(browser)
    assert found.shape == (48, 32, 3)
    np.testing.assert_array_equal(found, np.rint(255 * load_image(path)))


def test_transparent_pixels_are_over_white(browser: Browser, tmp_path: Path) -> None:
    path = save(tmp_path / "half.png", np.full((20, 24, 4), (0, 100, 200, 0), np.uint8))
    choose(browser, path)
    np.testing.assert_array_equal(read_canvas(browser), np.full((20, 24, 3), 255))


# --- how it is used -----------------------------------------------------------------


def test_at_first_there_is_only_a_photo_to_choose(browser: Browser) -> None:
    assert text(browser, "status") == "Choose a photo to begin."
    assert enabled(browser) == [False, False]
    about = text(browser, "style-about")
    assert about == "The Great Wave off Kanagawa, Katsushika Hokusai, 1831, width 8"


def test_every_control_has_a_name(browser: Browser) -> None:
    found = browser.find_elements(By.CSS_SELECTOR, "input, select, button")
    assert [control.accessible_name for control in found] == [
        *("Photo", "Style", "Longest side", "Strength", "Stylize", "Download PNG")
    ]


def test_a_photo_may_be_dropped(browser: Browser, photo: Path) -> None:
    browser.execute_script(
        "const files = new DataTransfer();"
        "const bytes = Uint8Array.from(arguments[0]);"
        "files.items.add(new File([bytes], 'dropped.png'));"
        "const drop = { dataTransfer: files, bubbles: true, cancelable: true };"
        "document.body.dispatchEvent(new DragEvent('drop', drop));",
        list(photo.read_bytes()),
    )
    wait_until_idle(browser)
    assert text(browser, "status") == f"dropped.png: 96 {TIMES} 64 pixels"
    np.testing.assert_array_equal(
        read_canvas(browser), np.rint(255 * load_image(photo))
    )


def test_the_picture_can_be_downloaded(painted: Browser) -> None:
    painted.find_element(By.ID, "download").click()
    capabilities = painted.capabilities
    profile = Path(capabilities["chrome"]["userDataDir"])
    path = profile.parent / "downloads" / "photo-great-wave-8.png"
    WebDriverWait(painted, LONGEST, poll_frequency=0.05).until(lambda _: path.exists())
    with Image.open(path) as picture:
        np.testing.assert_array_equal(
            np.asarray(picture)[..., :3], read_canvas(painted)
        )


def test_a_file_that_is_no_image_is_named_and_changes_nothing(
    painted: Browser, tmp_path: Path
) -> None:
    before = read_canvas(painted)
    (tmp_path / "notes.png").write_text("not an image")
    choose(painted, tmp_path / "notes.png")
    error = "notes.png is no image that this browser can read."
    assert text(painted, "error") == error
    np.testing.assert_array_equal(read_canvas(painted), before)
    press_stylize(painted)
    assert text(painted, "error") == ""
    np.testing.assert_array_equal(read_canvas(painted), before)


def test_a_photo_that_is_too_small_is_told(browser: Browser, tmp_path: Path) -> None:
    choose(browser, save(tmp_path / "thin.png", noise(15, 40, 3)))
    press_stylize(browser)
    error = f"40 {TIMES} 15 pixels are too few: each side needs 16."
    assert text(browser, "error") == error
    assert enabled(browser) == [True, False]


def test_the_page_answers_while_it_paints(browser: Browser, tmp_path: Path) -> None:
    """The net runs in a worker: on the page itself, clocks would stand still."""
    choose(browser, save(tmp_path / "photo.png", noise(400, 500, 3)))
    browser.execute_script(
        "let last = performance.now();"
        "window.longest = 0;"
        "setInterval(() => {"
        "  const now = performance.now();"
        "  window.longest = Math.max(window.longest, now - last);"
        "  last = now;"
        "}, 5);"
    )
    press_stylize(browser)
    _, _, seconds = text(browser, "status").partition(" pixels in ")
    painted = 1e3 * float(seconds.removesuffix(" s"))
    assert browser.execute_script("return window.longest;") < painted / 2


# --- the folder ---------------------------------------------------------------------


def test_the_folder_holds_all_that_the_page_needs(page: Path) -> None:
    names = set(contents(page))
    assert names == {
        *("index.html", "app.js", "style.css"),
        *("nets/great-wave-8.onnx", "nets/my net&co.onnx"),
        *("onnxruntime/ort.js", "onnxruntime/ort-wasm-simd-threaded.wasm"),
    }


def test_the_page_names_no_other_server(page: Path) -> None:
    for name in ("index.html", "app.js", "style.css"):
        source = (page / name).read_text()
        assert "//" not in source.replace("// ", "")
    assert "default-src 'self'" in (page / "index.html").read_text()
