"""``jaxstyle stylize`` from end to end: what is made, where, and what is refused."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import run, start
from image_samples import oriented, smooth
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from jaxstyle import init_net, load_image, load_settings, save_style, stylize
from jaxstyle.color import keep_colors
from jaxstyle.commands import stylize_batches, stylize_pictures
from jaxstyle.transform_net import Params

Captured = pytest.CaptureFixture[str]

STYLE = ("--style", "wave.safetensors", "--quiet")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compile each program once for all tests of this file."""
    folder = tmp_path_factory.mktemp("cache")
    compilation_cache.reset_cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXSTYLE_CACHE", str(folder))
        yield folder
    jax.config.update("jax_compilation_cache_dir", None)  # type: ignore[no-untyped-call]
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def nets() -> dict[str, Params]:
    """Two nets whose pictures look like their photos, but for what they add."""
    return {name: make_net(seed) for seed, name in enumerate(("wave", "udnie"))}


def make_net(seed: int) -> Params:
    net = init_net(jax.random.key(seed), width=2, blocks=1)
    return {**net, "conv6": {**net["conv6"], "bias": np.array([0.1, -0.1, 0.2])}}


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nets: dict[str, Params]
) -> Path:
    """Go to a folder with styles and a photo of 36x20 pixels."""
    monkeypatch.chdir(tmp_path)
    for name, net in nets.items():
        save_style(net, f"{name}.safetensors", metadata={})
    save_photo("photo.png")
    return tmp_path


def save_photo(name: str, height: int = 20, width: int = 36, **options: Any) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(smooth(height, width) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(name, **options)


def expected(net: Params, name: str) -> np.ndarray:
    """Return what the net makes of a photo."""
    picture = jax.jit(stylize)(net, load_image(name))
    clipped: np.ndarray = np.clip(np.asarray(picture), 0, 1)
    return clipped


def assert_picture(name: str, picture: Any, *, within: float = 0.6 / 255) -> None:
    np.testing.assert_allclose(load_image(name), picture, rtol=0, atol=within)


def files(folder: str = ".") -> list[str]:
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def refusal(capsys: Captured, *arguments: str) -> str:
    """Return the one line of a run that must write nothing."""
    before = {name: Path(name).read_bytes() for name in files()}
    assert run(["stylize", *arguments]) == 2
    assert {name: Path(name).read_bytes() for name in files()} == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle stylize: error: ")
    return line


# --- one photo ----------------------------------------------------------------------


def test_a_photo_becomes_a_picture_with_its_settings(
    nets: dict[str, Params], capsys: Captured
) -> None:
    assert run(["stylize", "photo.png", *STYLE, "-o", "out.png"]) == 0
    assert capsys.readouterr() == ("out.png: 1 picture\n", "")
    assert_picture("out.png", expected(nets["wave"], "photo.png"))
    settings = load_settings("out.png")
    assert settings["photo"] == "photo.png"
    assert settings["style"] == "wave"
    assert settings["strength"] == 1
    assert settings["preserve_color"] is False
    assert settings["max_size"] is None
    for package in ("jaxstyle", "jax", "flax", "numpy"):
        assert settings[package] == metadata.version(package)


def test_without_an_image_suffix_the_output_is_a_folder() -> None:
    assert run(["stylize", "photo.png", *STYLE, "-o", "new/v1.0"]) == 0
    assert files("new") == ["v1.0/photo.png"]


def test_progress_and_compilations_are_shown(capsys: Captured) -> None:
    options = ["--style", "wave.safetensors", "-o", "out.png"]
    assert run(["stylize", "photo.png", *options]) == 0
    printed = capsys.readouterr().err
    assert "compiling for 36x20 pixels on " in printed
    assert "compiled in " in printed
    assert "1/1" in printed


@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_strength_mixes_photo_and_picture(
    nets: dict[str, Params], strength: float
) -> None:
    run(["stylize", "photo.png", *STYLE, "-o", "out.png", "--strength", f"{strength}"])
    photo, picture = load_image("photo.png"), expected(nets["wave"], "photo.png")
    assert_picture("out.png", (1 - strength) * photo + strength * picture)


def test_preserve_color_keeps_the_photos_colours(nets: dict[str, Params]) -> None:
    run(["stylize", "photo.png", *STYLE, "-o", "out.png", "--preserve-color"])
    photo = jax.numpy.asarray(load_image("photo.png"))
    picture = jax.numpy.asarray(expected(nets["wave"], "photo.png"))
    assert_picture("out.png", keep_colors(photo, picture))
    assert np.abs(load_image("out.png") - picture).max() > 0.1


def test_max_size_shrinks_and_never_enlarges() -> None:
    save_photo("large.png", 40, 72)
    for name, limit in (("large", "36"), ("photo", "36"), ("photo", "99")):
        options = ("-o", "out.png", "--max-size", limit)
        assert run(["stylize", f"{name}.png", *STYLE, *options]) == 0
        assert load_image("out.png").shape == (20, 36, 3)


def test_a_photo_on_its_side_is_turned_upright() -> None:
    save_photo("photo.jpg", 36, 20, exif=oriented(6))
    assert run(["stylize", "photo.jpg", *STYLE, "-o", "out.png"]) == 0
    assert load_image("out.png").shape == (20, 36, 3)


def test_a_pipe_from_standard_input_to_standard_output(
    folder: Path, cache: Path, nets: dict[str, Params]
) -> None:
    arguments = ["stylize", "-", "--style", "wave.safetensors", "-o", "-"]
    process = subprocess.run(
        [sys.executable, "-m", "jaxstyle", *arguments],
        input=Path("photo.png").read_bytes(),
        capture_output=True,
        env=os.environ | {"JAXSTYLE_CACHE": str(cache)},
        check=True,
    )
    assert b"compiling for" in process.stderr
    with Image.open(io.BytesIO(process.stdout)) as image:
        assert image.format == "PNG"
    Path("out.png").write_bytes(process.stdout)
    assert_picture("out.png", expected(nets["wave"], "photo.png"))
    assert load_settings("out.png")["photo"] == "standard input"


# --- many photos --------------------------------------------------------------------


def test_a_folder_keeps_its_structure_and_its_names(nets: dict[str, Params]) -> None:
    save_photo("in/a.png")
    save_photo("in/b/a.png", 25, 20)
    save_photo("in/b/c.jpg")
    save_photo("in/d.webp", 30, 41, lossless=True)
    save_photo("in/.hidden/e.png")
    Path("in/notes.txt").write_text("no photo")
    assert run(["stylize", "in", *STYLE, "-o", "out"]) == 0
    assert files("out") == ["a.png", "b/a.png", "b/c.jpg", "d.png"]
    for name, made in {
        "a.png": "a.png",
        "b/a.png": "b/a.png",
        "d.webp": "d.png",
    }.items():
        assert_picture(f"out/{made}", expected(nets["wave"], f"in/{name}"))
    assert_picture("out/b/c.jpg", expected(nets["wave"], "in/b/c.jpg"), within=0.1)


def test_an_output_folder_among_the_photos_is_passed_over() -> None:
    save_photo("in/a.png")
    for _ in range(2):
        assert run(["stylize", "in", *STYLE, "-o", "in/out"]) == 0
    assert files("in") == ["a.png", "out/a.png"]


def test_a_pattern_keeps_what_it_leaves_open() -> None:
    for name in ("x/a.png", "x/b/a.png", "y/a.png"):
        save_photo(f"in/{name}")
    save_photo("in/x/c.gif")
    Path("in/x/c.txt").write_text("no photo")
    assert run(["stylize", "in/**/[ac].*", *STYLE, "-o", "out"]) == 0
    assert files("out") == ["x/a.png", "x/b/a.png", "x/c.png", "y/a.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(
    nets: dict[str, Params],
) -> None:
    save_photo("x/a.png", 20, 36)
    save_photo("y/a.bmp", 16, 20)
    save_photo("y/A.png", 20, 16)
    photos = ("x/a.png", "y/a.bmp", "y/A.png")
    assert run(["stylize", *photos, *STYLE, "-o", "out"]) == 0
    assert files("out") == ["A-3.png", "a-2.png", "a.png"]
    assert_picture("out/a-2.png", expected(nets["wave"], "y/a.bmp"))


def test_a_photo_given_twice_is_made_once(capsys: Captured) -> None:
    assert run(["stylize", "photo.png", "*.png", ".", *STYLE, "-o", "out"]) == 0
    assert files("out") == ["photo.png"]


def test_several_styles_are_in_the_names(nets: dict[str, Params]) -> None:
    save_photo("in/a.png")
    Path("runs/udnie").mkdir(parents=True)
    Path("udnie.safetensors").rename("runs/udnie/style.safetensors")
    styles = (*STYLE, "--style", "runs/udnie/style.safetensors")
    assert run(["stylize", "in/a.png", *styles, "-o", "out"]) == 0
    assert files("out") == ["a.udnie.png", "a.wave.png"]
    for name, net in nets.items():
        assert_picture(f"out/a.{name}.png", expected(net, "in/a.png"))
        assert load_settings(f"out/a.{name}.png")["style"] == name


def test_few_programs_are_compiled_for_many_sizes(
    capsys: Captured, nets: dict[str, Params]
) -> None:
    sizes = [(20, 36), (33, 64), (64, 17), (65, 20), (21, 36), (70, 36)]
    for height, width in sizes:
        save_photo(f"in/{height}x{width}.png", height, width)
    assert run(["stylize", "in", "--style", "wave.safetensors", "-o", "out"]) == 0
    lines = capsys.readouterr().err.splitlines()
    compiled = [line.strip() for line in lines if "compiling" in line]
    assert [line.partition(" on ")[0] for line in compiled] == [
        "compiling for 64x64 pixels, 4 photos at a time,",
        "compiling for 64x128 pixels, 2 photos at a time,",
    ]
    for height, width in sizes:
        name = f"{height}x{width}.png"
        assert_picture(f"out/{name}", expected(nets["wave"], f"in/{name}"))


def test_a_batch_that_is_not_full_is_filled_up(
    monkeypatch: pytest.MonkeyPatch, nets: dict[str, Params]
) -> None:
    monkeypatch.setattr(stylize_batches, "BATCH_PIXELS", 2 * 20 * 36)
    for name in "abc":
        save_photo(f"in/{name}.png")
    assert run(["stylize", "in", *STYLE, "-o", "out"]) == 0
    assert files("out") == ["a.png", "b.png", "c.png"]
    assert_picture("out/c.png", expected(nets["wave"], "in/c.png"))


# --- contact sheets -----------------------------------------------------------------


def test_a_contact_sheet_shows_the_photo_in_all_styles(
    nets: dict[str, Params],
) -> None:
    styles = (*STYLE, "--style", "udnie.safetensors", "--contact-sheet")
    assert run(["stylize", "photo.png", *styles, "-o", "sheet.png"]) == 0
    sheet = load_image("sheet.png")
    pictures = [load_image("photo.png")]
    pictures += [expected(net, "photo.png") for net in nets.values()]
    for i, picture in enumerate(pictures):
        places = [
            left
            for left in range(sheet.shape[1] - 35)
            if np.abs(sheet[-28:-8, left : left + 36] - picture).max() < 0.6 / 255
        ]
        assert len(places) == 1, i
    assert load_settings("sheet.png")["style"] == "wave, udnie"


def test_a_contact_sheet_has_few_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    styles = (*STYLE, "--style", "udnie.safetensors", "--contact-sheet")
    shapes = {}
    for columns in (2, 3):
        monkeypatch.setattr(stylize_pictures, "COLUMNS", columns)
        assert run(["stylize", "photo.png", *styles, "-o", "sheet.png"]) == 0
        shapes[columns] = load_image("sheet.png").shape
    assert shapes[2][0] == 2 * shapes[3][0]
    assert shapes[2][1] < shapes[3][1]


# --- styles that ship ---------------------------------------------------------------


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose styles, two of them, are those that ship."""
    (styles := folder / "package" / "styles").mkdir(parents=True)
    for name in ("wave", "udnie"):
        Path(f"{name}.safetensors").rename(styles / f"{name}.safetensors")
    monkeypatch.setattr(resources, "files", lambda _: folder / "package")
    return styles


def test_all_is_every_style_that_ships(shipped: Path, nets: dict[str, Params]) -> None:
    assert run(["stylize", "photo.png", "--style", "all", "-o", "out", "--quiet"]) == 0
    assert files("out") == ["photo.udnie.png", "photo.wave.png"]
    for name, net in nets.items():
        assert_picture(f"out/photo.{name}.png", expected(net, "photo.png"))


def test_all_fits_a_contact_sheet(shipped: Path) -> None:
    options = ("--style", "all", "--contact-sheet", "--quiet")
    assert run(["stylize", "photo.png", *options, "-o", "sheet.png"]) == 0
    assert load_settings("sheet.png")["style"] == "udnie, wave"


def test_a_style_that_is_wanted_twice_is_made_once(
    shipped: Path, nets: dict[str, Params]
) -> None:
    save_style(nets["wave"], "mine.safetensors", metadata={})
    wanted = ("wave", "mine.safetensors", "all", str(shipped / "wave.safetensors"))
    options = [word for style in wanted for word in ("--style", style)]
    sheet = ("-o", "sheet.png", "--contact-sheet", "--quiet")
    assert run(["stylize", "photo.png", *options, *sheet]) == 0
    assert load_settings("sheet.png")["style"] == "wave, mine, udnie"


def test_where_nothing_ships_all_is_refused(shipped: Path, capsys: Captured) -> None:
    for path in shipped.iterdir():
        path.unlink()
    line = refusal(capsys, "photo.png", "--style", "all", "-o", "out")
    assert "no style ships in this installation; make one with jaxstyle" in line


# --- what goes wrong ----------------------------------------------------------------


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


@pytest.mark.parametrize("options", [(), ("--contact-sheet",)])
def test_where_all_photos_are_bad_nothing_is_made(
    capsys: Captured, options: tuple[str, ...]
) -> None:
    Path("bad.png").write_text("no photo")
    assert run(["stylize", "bad.png", *STYLE, "-o", "out.png", *options]) == 1
    assert not Path("out.png").exists()
    printed = capsys.readouterr()
    assert printed.out == "out.png: 0 pictures\n"
    assert printed.err.count("\n") == 1


def test_bad_standard_input_is_called_by_its_name(folder: Path, cache: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "jaxstyle", "stylize", "-", *STYLE, "-o", "-"],
        input=b"no photo",
        capture_output=True,
        env=os.environ | {"JAXSTYLE_CACHE": str(cache)},
        check=False,
    )
    assert (process.returncode, process.stdout) == (1, b"")
    assert process.stderr == (
        b"jaxstyle stylize: error: cannot read the image standard input: its format "
        b"is unknown, or its first bytes are damaged\n"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("missing.png", "-o", "out.png"), "no such photo: missing.png"),
        (("photo.png", "no*.png", "-o", "out"), "no images in no*.png: expected"),
        (("photo.png", "empty", "-o", "out"), "no images in empty: expected files"),
        (("photo.png", "two.png", "-o", "out.png"), "-o out.png is one picture, but 2"),
        (("photo.png", "two.png", "-o", "-"), "-o - is one picture, but 2 are to be"),
        (("photo.png", "-o", "./photo.png"), "photo.png is an input; writing"),
        ((".", "-o", "."), "is an input; writing the picture would lose it"),
        (("photo.png", "-o", "out.bmp"), "unknown suffix '.bmp'"),
        (("photo.png", "-o", "missing/out.png"), "there is no folder missing"),
        (("photo.png", "-o", "wave.safetensors"), "cannot make the folder wave.safe"),
        (
            ("photo.png", "two.png", "--contact-sheet", "-o", "out.png"),
            "--contact-sheet takes one photo, got 2",
        ),
        (("photo.png", "--contact-sheet", "-o", "out"), "unknown suffix ''"),
        (("photo.png", "-o", "x", "--style", "mosaic"), "no style mosaic: expected"),
        (("photo.png", "-o", "x", "--style", "photo.png"), "not safetensors"),
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
    def fail(*_: object) -> Any:
        raise error

    compute = stylize_pictures.compute

    def compute_or_fail(
        job: Any, batch: Any, function: Callable[..., Any], *values: Any
    ) -> Any:
        chosen = fail if (function is np.asarray) == (where == "fetch") else function
        return compute(job, batch, chosen, *values)

    monkeypatch.setattr(stylize_pictures, "compute", compute_or_fail)
    assert run(["stylize", "photo.png", *STYLE, "-o", "out.png"]) == 1
    assert capsys.readouterr().err == (
        "jaxstyle stylize: error: not enough memory for photo.png; "
        "use a smaller --max-size\n"
    )


def test_an_interrupt_keeps_what_is_done(folder: Path, cache: Path) -> None:
    """The photos are so many that they cannot all be done before it comes."""
    Path("in").mkdir()
    save_photo("in/0.png", 200, 200)
    for i in range(1, 1000):
        os.link("in/0.png", f"in/{i}.png")
    arguments = ["stylize", "in", *STYLE, "-o", "out"]
    with start(arguments, cache=cache) as process:
        while not list(Path().glob("out/*.png")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    made = files("out")
    assert process.returncode == 130
    assert 0 < len(made) < 1000
    assert err.decode() == f"interrupted after {len(made)} of 1000 pictures\n"
    assert out.decode() == f"out: {len(made)} pictures\n"
    for name in made:
        assert load_image(f"out/{name}").shape == (200, 200, 3)
