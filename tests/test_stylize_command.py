"""``jaxstyle stylize`` from end to end: what is made of photos, and where."""

import io
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import run
from image_samples import oriented
from PIL import Image
from stylize_samples import (
    STYLE,
    assert_picture,
    expected,
    files,
    refusal,
    save_photo,
)

from jaxstyle import load_image, save_style, stylize
from jaxstyle.cli.stylize import full_size, painting, pictures
from jaxstyle.files import load_settings
from jaxstyle.images import restore_detail
from jaxstyle.images.color import keep_colors
from jaxstyle.nets import NETWORKS, Network
from jaxstyle.nets.transform_net import Params

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("plain_convolutions", "stylize_folder")


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


@pytest.mark.parametrize("terminal", [True, False])
def test_compilations_are_shown_and_a_bar_in_terminals(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    options = ["--style", "wave.safetensors", "-o", "out.png"]
    assert run(["stylize", "photo.png", *options]) == 0
    printed = capsys.readouterr().err
    assert "compiling for 36x20 pixels on " in printed
    assert "compiled in " in printed
    assert ("1/1" in printed) == terminal


def test_passes_of_photos_of_many_sizes(nets: dict[str, Params]) -> None:
    """Such photos lie in larger arrays."""
    sizes = [(20, 36), (24, 30), (22, 34)]
    for index, (height, width) in enumerate(sizes):
        save_photo(f"many/{index}.png", height, width)
    assert run(["stylize", "many", *STYLE, "-o", "twice", "--passes", "2"]) == 0
    for index in range(len(sizes)):
        once = expected(nets["wave"], f"many/{index}.png")
        twice = np.clip(stylize(nets["wave"], jax.numpy.asarray(once)), 0, 1)
        assert_picture(f"twice/{index}.png", twice)


@pytest.mark.parametrize("strength", [0, 0.25, 1])
def test_strength_mixes_photo_and_picture(
    nets: dict[str, Params], strength: float
) -> None:
    run(["stylize", "photo.png", *STYLE, "-o", "out.png", "--strength", f"{strength}"])
    photo, picture = load_image("photo.png"), expected(nets["wave"], "photo.png")
    assert_picture("out.png", (1 - strength) * photo + strength * picture)


def test_preserve_color_keeps_the_photos_colors(nets: dict[str, Params]) -> None:
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


def test_a_pipe_from_standard_input_to_standard_output(nets: dict[str, Params]) -> None:
    arguments = ["stylize", "-", "--style", "wave.safetensors", "-o", "-"]
    process = subprocess.run(
        [sys.executable, "-m", "jaxstyle", *arguments],
        input=Path("photo.png").read_bytes(),
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    with Image.open(io.BytesIO(process.stdout)) as image:
        assert image.format == "PNG"
    Path("out.png").write_bytes(process.stdout)
    assert_picture("out.png", expected(nets["wave"], "photo.png"))
    assert load_settings("out.png")["photo"] == "standard input"


# --- transparency -------------------------------------------------------------------


@pytest.mark.parametrize("painted", [36, 18])
def test_transparency_is_kept(
    nets: dict[str, Params], monkeypatch: pytest.MonkeyPatch, painted: int
) -> None:
    monkeypatch.setattr(full_size, "PAINTED", painted)
    with Image.open("photo.png") as image:
        photo = image.convert("RGBA")
    photo.paste((0, 0, 0, 0), (0, 0, 18, 20))
    photo.save("photo.png")
    for name in ("out.png", "out.webp"):
        assert run(["stylize", "photo.png", *STYLE, "-o", name]) == 0
        with Image.open(name) as image:
            assert image.getchannel("A").tobytes() == photo.getchannel("A").tobytes()
    opaque = np.s_[:, 18:]
    if painted == 36:
        picture = expected(nets["wave"], "photo.png")
        found = load_image("out.png")
        np.testing.assert_allclose(found[opaque], picture[opaque], atol=0.6 / 255)
    assert load_image("out.png")[:, :18].min() == 1


@pytest.mark.filterwarnings("default::jaxstyle.files.image_decoding.ImageFileWarning")
def test_a_jpeg_file_says_once_that_it_has_no_transparency(capsys: Captured) -> None:
    save_photo("photo.png")
    with Image.open("photo.png") as image:
        image.putalpha(128)
        image.save("photo.png")
    assert run(["stylize", "photo.png", *STYLE, "-o", "out.jpg"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxstyle stylize: JPEG files have no transparency: ")


# --- large photos -------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint photos at 36 pixels at most, as those of phones at 1,024."""
    monkeypatch.setattr(full_size, "PAINTED", 36)


def restored(net: Params, name: str, *, side: int) -> np.ndarray:
    """Return what the net makes of a photo that is painted at a longer side."""
    image = load_image(name, shrink_to=side)
    picture = np.clip(jax.jit(stylize)(net, image), 0, 1)
    whole = jax.jit(restore_detail)(load_image(name), image, picture)
    return np.clip(np.asarray(whole), 0, 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("stroke_size", "side"), [("1", 36), ("2", 18), ("0", 96)])
def test_a_large_photo_is_painted_small_and_keeps_its_size(
    nets: dict[str, Params], capsys: Captured, stroke_size: str, side: int
) -> None:
    save_photo("large.jpg", 90, 96)
    options = ("--style", "wave.safetensors", "--stroke-size", stroke_size)
    assert run(["stylize", "large.jpg", *options, "-o", "out.png"]) == 0
    compiled = f"compiling for {side}x{round(side * 90 / 96)} pixels"
    assert compiled in capsys.readouterr().err
    assert_picture("out.png", restored(nets["wave"], "large.jpg", side=side))
    assert load_settings("out.png")["stroke_size"] == float(stroke_size)


@pytest.mark.usefixtures("small")
def test_large_and_small_photos_share_programs_and_tiles(
    nets: dict[str, Params], capsys: Captured
) -> None:
    """Painted at 36x20, all of them; a small one as without the option."""
    for name, times in {"a": 1, "b": 2, "c": 3}.items():
        save_photo(f"in/{name}.png", 20 * times, 36 * times)
    options = ("--style", "wave.safetensors", "-o", "out")
    assert run(["stylize", "in", *options]) == 0
    assert "compiling for 36x20 pixels, 3 photos at a" in capsys.readouterr().err
    assert_picture("out/a.png", expected(nets["wave"], "in/a.png"))
    for name in "bc":
        assert_picture(
            f"out/{name}.png", restored(nets["wave"], f"in/{name}.png", side=36)
        )


@pytest.mark.usefixtures("small")
def test_a_large_photo_keeps_its_own_colors_in_full_size(
    nets: dict[str, Params],
) -> None:
    save_photo("large.png", 40, 72)
    options = ("-o", "out.png", "--preserve-color", "--tile", "30")
    assert run(["stylize", "large.png", *STYLE, *options]) == 0
    photo, small = load_image("large.png"), load_image("large.png", shrink_to=36)
    painted = keep_colors(small, jax.jit(stylize)(nets["wave"], small))  # type: ignore[arg-type]
    whole = jax.jit(restore_detail)(photo, small, painted)
    assert_picture("out.png", keep_colors(photo, whole))  # type: ignore[arg-type]


@pytest.mark.usefixtures("small")
def test_a_contact_sheet_of_a_large_photo_shows_it_small() -> None:
    save_photo("large.png", 40, 72)
    for name in ("large", "photo"):
        sheet = ("-o", f"{name}.sheet.png", "--contact-sheet")
        assert run(["stylize", f"{name}.png", *STYLE, *sheet]) == 0
    shapes = [load_image(f"{name}.sheet.png").shape for name in ("large", "photo")]
    assert shapes[0] == shapes[1]


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
    monkeypatch.setattr(painting, "BATCH_PIXELS", 2 * 20 * 36)
    for name in "abc":
        save_photo(f"in/{name}.png")
    assert run(["stylize", "in", *STYLE, "-o", "out"]) == 0
    assert files("out") == ["a.png", "b.png", "c.png"]
    assert_picture("out/c.png", expected(nets["wave"], "in/c.png"))


# --- any network --------------------------------------------------------------------


@pytest.fixture
def tint(stylize_folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Register a network that only knows whole images, and return its parameter."""
    color = np.array([0.2, 0.5, 0.8], np.float32)
    network = Network(apply=lambda params, images: images * params["color"])
    monkeypatch.setitem(NETWORKS, "tint", network)
    save_style({"color": color}, "tint.safetensors", metadata={"net": "tint"})
    return color


def test_any_network_paints_photos_of_any_size(
    nets: dict[str, Params], tint: np.ndarray, capsys: Captured
) -> None:
    """Without padding: photos of one size are a batch, even beside a transform net."""
    for name, width in {"a": 36, "b": 37, "c": 36}.items():
        save_photo(f"in/{name}.png", 21, width)
    styles = ("--style", "tint.safetensors", "--style", "wave.safetensors")
    assert run(["stylize", "in", *styles, "-o", "out"]) == 0
    compiled = [
        line for line in capsys.readouterr().err.splitlines() if "ing f" in line
    ]
    assert len(compiled) == 4
    assert sum("36x21 pixels, 2 photos at a time" in line for line in compiled) == 2
    for name in "abc":
        photo = f"in/{name}.png"
        assert_picture(f"out/{name}.tint.png", tint * load_image(photo))
        assert_picture(f"out/{name}.wave.png", expected(nets["wave"], photo))


@pytest.mark.usefixtures("tint")
def test_a_network_without_tiles_is_not_run_in_tiles(capsys: Captured) -> None:
    options = ("--style", "tint.safetensors", "--tile", "20", "-o", "out.png")
    line = refusal(capsys, "photo.png", *options)
    assert line.endswith("tint cannot run in tiles; leave out --tile")


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
        monkeypatch.setattr(pictures, "COLUMNS", columns)
        assert run(["stylize", "photo.png", *styles, "-o", "sheet.png"]) == 0
        shapes[columns] = load_image("sheet.png").shape
    assert shapes[2][0] == 2 * shapes[3][0]
    assert shapes[2][1] < shapes[3][1]


# --- styles that ship ---------------------------------------------------------------


@pytest.fixture
def shipped(stylize_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose styles, two of them, are those that ship."""
    (styles := stylize_folder / "package" / "styles").mkdir(parents=True)
    for name in ("wave", "udnie"):
        Path(f"{name}.safetensors").rename(styles / f"{name}.safetensors")
    monkeypatch.setattr(resources, "files", lambda _: stylize_folder / "package")
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
