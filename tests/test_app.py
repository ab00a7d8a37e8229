"""The app: its jobs, and the page in a real browser, with all of its controls."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run, save_pictures
from image_samples import noise
from PIL import Image

from jaxstyle.cli.app import jobs, thumbnails
from jaxstyle.cli.app.jobs import OPTIMIZE, PASS, Jobs, Request
from jaxstyle.files.image_files import load_image, load_settings
from jaxstyle.files.style_files import shipped_paintings

REQUIRED = "JAXSTYLE_REQUIRE_BROWSER"

LONGEST = 300
"""How many seconds a picture may take."""


# --- jobs ---------------------------------------------------------------------------


def test_every_style_has_a_thumbnail() -> None:
    found = thumbnails.load_thumbnails()
    assert {*shipped_paintings()} < {*found}
    assert "great-wave" in found
    assert "great-wave-8" not in found
    pictures = {name: np.asarray(x).astype(int) for name, x in found.items()}
    assert all(picture.std() > 10 for picture in pictures.values())  # none is missing
    for blue, red in (("starry-night", "the-scream"), ("great-wave", "wheat-field")):
        warmth = [
            (pictures[x][..., 0] - pictures[x][..., 2]).mean() for x in (blue, red)
        ]
        assert warmth[0] < warmth[1]
    assert thumbnails.SHEET.stat().st_size < 100_000


def test_a_request_is_a_command_line() -> None:
    one = Request("a.jpg", "udnie", PASS, 0.5, 2.0).command(Path("out.png"))
    assert " ".join(one) == (
        "stylize a.jpg --style udnie --stroke-size 2.0 --strength 0.5 -o out.png"
    )
    best = Request("a.jpg", "b.jpg", OPTIMIZE, 0.5, 2.0, 256, 50)
    assert " ".join(best.command(Path("out.png"))) == (
        "optimize a.jpg b.jpg --style-scale 2.0 --size 256 --steps 50 --save-every 2 "
        "--strength 0.5 -o out.png"
    )


class Command(Request):
    """A request that runs a program of a test instead."""

    def command(self, output: Path) -> list[str]:
        return [self.photo, str(output)]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Stand in for the package: a picture on the way, then the last after a signal."""
    folder = tmp_path / "jaxstyle"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(
        "import pathlib, shutil, signal, sys\n"
        "def end(*_):\n"
        "    print('interrupted after step 3', flush=True)\n"
        "    path.write_bytes(b'last')\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "path = pathlib.Path(sys.argv[2])\n"
        "if sys.argv[1] == 'fails':\n"
        "    sys.exit('jaxstyle x: error: it is broken')\n"
        "path.with_suffix('.00003.png').write_bytes(b'third')\n"
        "signal.pause()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "POLL", 0.01)
    return Command("works", "", OPTIMIZE, 1.0, 1.0, steps=9)


def test_a_job_shows_pictures_on_the_way_and_stops(program: Command) -> None:
    running, shown = Jobs(), []
    for picture, line in running.run(program, "me"):
        shown.append((picture and picture.read_bytes(), line.partition(" (")[0]))
        if picture is not None:
            running.stop("another")
            running.stop("me")
    assert (b"third", "step 3 of 9") in shown
    assert shown[-1] == (b"last", "interrupted after step 3")
    assert not running.running


def test_a_job_without_a_page_ends(program: Command) -> None:
    running = Jobs()
    updates = running.run(program, "me")
    next(updates)
    (process,) = running.running.values()
    updates.close()  # type: ignore[attr-defined]
    assert process.poll() is not None
    assert not running.running


def test_a_job_that_fails_says_why(program: Command) -> None:
    with pytest.raises(ValueError, match=r"^it is broken$"):
        list(Jobs().run(program._replace(photo="fails"), "me"))


def test_without_gradio_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "jaxstyle.cli.app.page", raising=False)
    assert run(["app"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("the app needs gradio: pip install 'jaxstyle[app]'")


# --- in a browser -------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the app, as ``jaxstyle app`` does."""
    pytest.importorskip("gradio")
    folder, port = tmp_path_factory.mktemp("app"), "17860"
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "cache")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxstyle", "app", "--port", port],
            env=environment,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(address):
                break
            time.sleep(0.2)
        assert process.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Any]:
    """Open the page in a window of a usual size."""
    from selenium import webdriver

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        reason = "needs chromium or google-chrome, and chromedriver, on the PATH"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument("--window-size=1280,1000")
    downloads = tmp_path_factory.mktemp("downloads")
    allowed = {"behavior": "allow", "downloadPath": str(downloads)}
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        opened.downloads = downloads  # type: ignore[attr-defined]
        opened.execute_cdp_cmd("Page.setDownloadBehavior", allowed)
        opened.get(server)
        yield opened


class Page:
    """What a hand and an eye do with the page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def wait(self, found: Any) -> Any:
        from selenium.webdriver.support.wait import WebDriverWait

        waiting = WebDriverWait(self.browser, LONGEST, poll_frequency=0.1)
        return waiting.until(lambda _: found())

    def find(self, css: str) -> Any:
        return self.wait(lambda: self.browser.find_elements("css selector", css))[0]

    def drop(self, name: str, path: Path) -> None:
        self.find(f"#{name} input[type=file]").send_keys(str(path))
        self.find(f"#{name} img")

    def press(self, name: str) -> None:
        css = f"#{name} button" if name not in ("paint", "stop") else f"#{name}"
        self.browser.execute_script("arguments[0].click()", self.find(css))

    def move(self, name: str, value: float) -> None:
        self.browser.execute_script(
            "const box = arguments[0]; box.value = arguments[1];"
            "box.dispatchEvent(new Event('input', { bubbles: true }));"
            "box.dispatchEvent(new Event('blur', { bubbles: true }));",
            self.find(f"#{name} input[type=number]"),
            value,
        )

    def said(self) -> str:
        return str(self.find("#said").text)

    def picture(self) -> str | None:
        found = self.browser.find_elements("css selector", "#picture img")
        return found[0].get_attribute("src") if found else None

    def download(self) -> Path:
        folder = self.browser.downloads
        for path in folder.glob("*.png"):  # a second one may have its name
            path.unlink()
        self.wait(lambda: self.find("#download").is_enabled())
        self.browser.execute_script("arguments[0].click()", self.find("#download"))
        (path,) = self.wait(lambda: [*folder.glob("*.png")])
        return Path(path)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save_pictures(folder)
    Image.fromarray(noise(48, 64, 3) // 2 + 64).save(folder / "photo.png")
    return folder


@pytest.mark.slow
def test_a_photo_in_a_style_that_is_clicked(browser: Any, inputs: Path) -> None:
    page = Page(browser)
    page.press("paint")
    page.wait(lambda: "Drop a photo first." in browser.page_source)
    page.drop("photo", inputs / "photo.png")
    buttons = browser.find_elements("css selector", "#styles button.thumbnail-item")
    assert len(buttons) == len(thumbnails.list_styles())
    wave = thumbnails.list_styles().index("great-wave")
    browser.execute_script("arguments[0].click()", buttons[wave])
    page.wait(lambda: "great-wave" in page.find("#chosen").text)
    page.move("strength", 0.7)
    page.move("strokes", 2)
    page.press("paint")
    page.wait(lambda: page.said().startswith("done in"))
    saved = page.download()
    record = load_settings(saved)
    assert (record["style"], record["strength"]) == ("great-wave", 0.7)
    assert record["stroke_size"] == 2
    assert load_image(saved).shape == (48, 64, 3)


@pytest.mark.slow
def test_a_painting_that_is_dropped_is_optimized_and_stopped(
    browser: Any, inputs: Path
) -> None:
    page = Page(browser)
    page.drop("photo", inputs / "photo.png")
    browser.execute_script(
        "arguments[0].click()", page.find("#way label:last-child input")
    )
    page.drop("painting", inputs / "style.png")
    page.wait(lambda: "the painting below" in page.find("#chosen").text)
    page.move("size", 128)
    page.move("steps", 500)
    before = page.picture()
    page.press("paint")
    first = page.wait(lambda: (now := page.picture()) != before and now)
    page.wait(lambda: (now := page.picture()) != first and now)
    assert "of 500" in page.said()
    page.press("stop")
    page.wait(lambda: page.said().startswith("interrupted after step"))
    saved = page.download()
    result: Any = load_settings(saved)["result"]
    assert 0 < result["steps"] < 500
    assert load_image(saved).shape == (96, 128, 3)


@pytest.mark.slow
def test_the_page_asks_no_other_server_and_fits_small_windows(
    browser: Any, server: str
) -> None:
    import json

    browser.set_window_size(420, 900)
    browser.refresh()
    Page(browser).find("#styles button.thumbnail-item")
    beyond = "document.documentElement.scrollWidth - window.innerWidth"
    assert browser.execute_script(f"return {beyond}") <= 0
    styles = 'document.querySelector("#styles .grid-container").parentElement'
    cut_off = f"const x = {styles}; return x.scrollWidth - x.clientWidth"
    assert browser.execute_script(cut_off) <= 0
    asked = {
        message["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    }
    local = (server, "data:", "blob:", "chrome")
    assert not {url for url in asked if not url.startswith(local)}
