"""What ``jaxstyle stylize`` refuses, passes over, and keeps when it is interrupted."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import run, start
from PIL import Image
from stylize_samples import STYLE, files, refusal, save_photo
from tqdm import tqdm

from jaxstyle import load_image
from jaxstyle.cli.stylize import painting, pictures, stylize_command
from jaxstyle.cli.stylize.painting import Painter
from jaxstyle.cli.stylize.photos import describe_others
from jaxstyle.files.image_files import write_pixels

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("stylize_folder")


def test_bad_photos_are_named_at_the_end_and_the_others_are_done(
    capsys: Captured,
) -> None:
    save_photo("in/a.png")
    save_photo("in/z.png", 40, 30)
    save_photo("in/small.png", 15, 40)
    Path("in/empty.jpg").touch()
    Path("in/text.png").write_text("no\nphoto")
    Path("in/cut.png").write_bytes(Path("in/a.png").read_bytes()[:-60])
    assert run(["stylize", "in", *STYLE, "-o", "out"]) == 1
    assert files("out") == ["a.png", "z.png"]
    printed = capsys.readouterr()
    assert printed.out == "out: 2 pictures\n"
    lines = printed.err.splitlines()
    assert len(lines) == 4
    for name, reason in {
        "cut.png": "cannot read the image in/cut.png: ",
        "empty.jpg": "the file is empty",
        "small.png": "in/small.png of 40x15 pixels is too small: at least 16x16",
        "text.png": "cannot read the image in/text.png: its format is unknown",
    }.items():
        assert [name in line and reason in line for line in lines].count(True) == 1


def test_files_that_are_no_images_by_their_names_are_counted() -> None:
    for name in ("a.png", "b/c.HEIC", "b/.hidden", "out/x.txt"):
        (path := Path("in", name)).parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def told() -> list[str]:
        return [*describe_others(["photo.png", "in"], output=Path("in/out"))]

    assert told() == []
    Path("in/clip.MOV").touch()
    assert told() == ["in: passed over 1 other file (.mov)"]
    Path("in/b/notes").touch()
    assert told() == ["in: passed over 2 other files (.mov, no suffix)"]


@pytest.mark.parametrize("photo", ["pipe.png", "folder", "fo*/*.png"])
def test_a_pipe_among_photos_is_refused_without_waiting(
    capsys: Captured, photo: str
) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe.png")
    os.mkfifo("folder/pipe.png")
    assert run(["stylize", photo, *STYLE, "-o", "out"]) == 2
    reason = "no images in fo*/*.png" if "*" in photo else "it is not a regular file"
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--contact-sheet",)])
def test_where_all_photos_are_bad_nothing_is_made(
    capsys: Captured, options: tuple[str, ...]
) -> None:
    Path("bad.png").write_text("no photo")
    assert run(["stylize", "bad.png", *STYLE, "-o", "out.png", *options]) == 2
    assert not Path("out.png").exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_bad_standard_input_is_called_by_its_name() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "jaxstyle", "stylize", "-", *STYLE, "-o", "-"],
        input=b"no photo",
        capture_output=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, b"")
    assert process.stderr == (
        b"jaxstyle stylize: error: cannot read the image standard input: its format "
        b"is unknown, or its first bytes are damaged\n"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("missing.png", "-o", "out.png"), "no such photo: missing.png"),
        (("photo.png", "no*.png", "-o", "out"), "no images in no*.png: expected"),
        (("photo.png", "empty", "-o", "out"), "no images in the folder empty: "),
        (("photo.png", "two.png", "-o", "out.png"), "-o out.png is one picture, but 2"),
        (("photo.png", "two.png", "-o", "-"), "-o - is one picture, but 2 are to be"),
        (("photo.png", "-o", "x", "--style", ""), "--style: expected a value, got ''"),
        (("photo.png", "-o", "./photo.png"), "photo.png is an input; writing"),
        ((".", "-o", "."), "is an input; writing the picture would lose it"),
        (("photo.png", "-o", "out.bmp"), "unknown suffix '.bmp'"),
        (("photo.png", "-o", "missing/out.png"), "there is no folder missing"),
        (("photo.png", "-o", "a.pngg"), "unknown suffix '.pngg', use one of .jpeg, "),
        (("photo.png", "-o", "out.d"), "for a folder, end its name with /"),
        (("photo.png", "-o", "wave.safetensors"), "unknown suffix '.safetensors'"),
        (("phto.png", "-o", "out"), "no such photo: phto.png; did you mean photo.png?"),
        (
            ("photo.png", "two.png", "--contact-sheet", "-o", "out.png"),
            "--contact-sheet takes one photo, got 2",
        ),
        (("photo.png", "--contact-sheet", "-o", "out"), "unknown suffix ''"),
        (
            ("photo.png", "-o", "x", "--style", "mosaic"),
            "no style mosaic: jaxstyle st",
        ),
        (("photo.png", "-o", "x", "--style", "no.jpg"), "no such image file: no.jpg"),
        (("photo.png", "-o", "x", "--style", "photo.png"), "36x20 pixels is too small"),
        (
            ("photo.png", "-o", "x", "--style", "other/wave.safetensors"),
            "two styles are called wave",
        ),
        (("photo.png", "-o", "x", "--strength", "1.1"), "a number from 0 to 1"),
        (("photo.png", "-o", "x", "--strength", "nan"), "--strength"),
        (("photo.png", "-o", "x", "--max-size", "0"), "--max-size"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    capsys: Captured, arguments: tuple[str, ...], named: str
) -> None:
    Path("empty").mkdir()
    Path("other").mkdir()
    shutil.copy("wave.safetensors", "other")
    save_photo("two.png")
    assert named in refusal(capsys, *STYLE, *arguments)


def test_a_photo_whose_picture_cannot_be_written_is_one_failure(
    capsys: Captured,
) -> None:
    """With the style's name, the name of one picture is longer than one may be."""
    shutil.copy("wave.safetensors", "other.safetensors")
    save_photo(f"in/{'x' * 250}.png")
    save_photo("in/photo.png")
    styles = ("--style", "other.safetensors", *STYLE)
    assert run(["stylize", "in", *styles, "-o", "out"]) == 1
    assert files("out") == ["photo.other.png", "photo.wave.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("File name too long")


def test_a_picture_that_fails_to_be_written_is_one_failure(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo("in/photo.png")
    save_photo("in/bad.png")

    def fail(picture: Any, path: Path, **options: Any) -> None:
        if path.name == "bad.png":
            raise ValueError(f"cannot write the image {path}: Input/output error")
        write_pixels(picture, path, **options)

    monkeypatch.setattr(pictures, "write_pixels", fail)
    assert run(["stylize", "in", *STYLE, "-o", "out"]) == 1
    assert files("out") == ["photo.png"]
    printed = capsys.readouterr()
    assert printed.out == "out: 1 picture\n"
    assert "cannot write the image out/bad.png: Input/output error" in printed.err


def test_a_name_as_long_as_one_may_be_is_written(capsys: Captured) -> None:
    save_photo(name := f"in/{'x' * 251}.png")
    assert run(["stylize", name, *STYLE, "-o", "out"]) == 0
    assert files("out") == [Path(name).name]


def test_a_cut_photo_is_painted_and_named_in_one_line(capsys: Captured) -> None:
    save_photo("photo.jpg")
    Path("photo.jpg").write_bytes(Path("photo.jpg").read_bytes()[:-2])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(["stylize", "photo.jpg", *STYLE, "-o", "out.png"]) == 0
    assert capsys.readouterr().err == (
        "jaxstyle stylize: photo.jpg breaks off: what is missing is gray\n"
    )


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert "No space left on device" in refusal(
        capsys, "photo.png", *STYLE, "-o", "out.png"
    )


@pytest.mark.parametrize("where", ["paint", "fetch"])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9"),
    ],
)
def test_a_lack_of_memory_names_the_photo(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise error

    class Unfinished:
        """A result that cannot be fetched."""

        __array__ = fail

    paint = fail if where == "paint" else lambda *_: Unfinished()
    monkeypatch.setattr(Painter, "__call__", paint)
    assert run(["stylize", "photo.png", *STYLE, "-o", "out.png"]) == 2
    assert capsys.readouterr().err == (
        "jaxstyle stylize: error: not enough memory for photo.png; "
        "use a smaller --max-size\n"
    )


def test_an_interrupt_keeps_what_is_done() -> None:
    """The photos are so many that they cannot all be done before it comes."""
    Path("in").mkdir()
    save_photo("in/0.png", 200, 200)
    for i in range(1, 1000):
        os.link("in/0.png", f"in/{i}.png")
    arguments = ["stylize", "in", *STYLE, "-o", "out"]
    with start(arguments) as process:
        while not list(Path().glob("out/*.png")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    made = files("out")
    assert process.returncode == 130
    assert 0 < len(made) < 1000
    assert err.decode() == f"interrupted after {len(made)} of 1000 pictures\n"
    assert out.decode() == f"out: {len(made)} pictures\n"
    for name in made:
        assert load_image(f"out/{name}").shape == (200, 200, 3)


def test_an_interrupt_waits_for_the_pictures_under_way_alone(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar counts them as the message does, and no file is left that is not whole.

    No batch is begun before the last one is painted, and written with two behind it.
    """
    for i in range(20):
        save_photo(f"in/{i:02d}.png", 200, 200)
    monkeypatch.setattr(painting, "BATCH_PIXELS", 200 * 200)
    bars: list[Any] = []
    painted: list[Any] = []

    class Slow:
        """A picture that is begun, and painted when it is waited for."""

        def __init__(self, array: jax.Array) -> None:
            self.array, self.ready = array, False
            assert all(other.ready for other in painted)
            painted.append(self)

        def block_until_ready(self) -> None:
            if len(painted) == 5:
                signal.raise_signal(signal.SIGINT)
            self.ready = True

        def __array__(self, *_: object, **__: object) -> np.ndarray:
            return np.asarray(self.array)

    def bar(**arguments: Any) -> Any:
        bars.append(tqdm(**{**arguments, "disable": False}, file=io.StringIO()))
        return bars[-1]

    begin = Painter.__call__
    monkeypatch.setattr(Painter, "__call__", lambda *each: Slow(begin(*each)))
    monkeypatch.setattr(stylize_command, "tqdm", bar)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run(["stylize", "in", *STYLE, "-o", "out"]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert files("out") == [f"{i:02d}.png" for i in range(5)]
    assert len(os.listdir("out")) == 5
    assert [x.n for x in bars] == [5]
    printed = capsys.readouterr()
    assert printed.err == "interrupted after 5 of 20 pictures\n"
    assert printed.out == "out: 5 pictures\n"
