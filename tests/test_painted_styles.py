"""``jaxstyle stylize`` by images of paintings, and ``jaxstyle describe``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import SHALLOW, run
from decoder_samples import Tree, fit_decoder, make_vgg
from jax import export
from PIL import Image
from stylize_samples import files, refusal, save_photo

from jaxstyle import load_image, save_style
from jaxstyle.cli import painted_styles
from jaxstyle.cli.stylize import stylize_command
from jaxstyle.cli.stylize.photos import Photo, fit_masks
from jaxstyle.files import load_painting, load_settings
from jaxstyle.nets import init_net
from jaxstyle.optimize.scenes import Scene
from jaxstyle.transport import Region, describe, mix, stylize, stylize_tiled
from jaxstyle.transport.paintings import Painting
from jaxstyle.vgg import layers

Captured = pytest.CaptureFixture[str]

LEVEL = 1 / 255


@pytest.fixture(scope="module")
def params(plain_convolutions: None) -> Iterator[Tree]:
    """A narrow encoder and decoder, which the command line takes, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "WIDTHS", (4, 4, 4, 4, 4))
        encoder = make_vgg()
        narrow = {"encoder": encoder, "decoder": fit_decoder(encoder)}
        patch.setattr(painted_styles, "_transport", lambda: narrow)
        yield narrow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Tree) -> None:
    """Work in a folder with a photo, two paintings and a mask."""
    monkeypatch.chdir(tmp_path)
    save_photo("photo.png", 24, 36)
    save_painting("sea.png", 0, 40, 32)
    save_painting("fire.jpg", 1, 36, 60)
    half = np.zeros((24, 36), np.uint8)
    half[:, :18] = 255
    Image.fromarray(half).save("left.png")
    Image.fromarray(255 - half).save("right.png")


def save_painting(name: str, seed: int, height: int, width: int) -> None:
    colors = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(colors).resize((width, height), Image.Resampling.BICUBIC).save(name)


def described(params: Tree, name: str, **sizes: int) -> Painting:
    found: Painting = jax.jit(describe)(params, jnp.asarray(load_image(name, **sizes)))
    return found


def painted(params: Tree, target: Any, **options: Any) -> np.ndarray:
    """Return what is made of the photo."""
    photo = jnp.asarray(load_image("photo.png"))
    return np.clip(jax.jit(stylize)(params, photo, target, **options), 0, 1)


def make(*arguments: str) -> np.ndarray:
    """Run ``jaxstyle stylize`` and return the picture."""
    assert run(["stylize", "photo.png", *arguments, "-o", "out.png", "--quiet"]) == 0
    return load_image("out.png")


def assert_same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.6 * LEVEL)


def test_a_photo_is_painted_like_an_image(params: Tree) -> None:
    found = make("--style", "sea.png")
    assert_same(found, painted(params, described(params, "sea.png")))
    assert np.abs(found - load_image("photo.png")).max() > 0.1
    settings = load_settings("out.png")
    assert settings["style"] == "sea"
    assert settings["style_size"] == 512


def test_strength_moves_features(params: Tree) -> None:
    target = described(params, "sea.png")
    found = make("--style", "sea.png", "--strength", "0.5")
    assert_same(found, painted(params, target, strength=0.5))
    assert_same(make("--style", "sea.png", "--strength", "0"), load_image("photo.png"))


@pytest.mark.parametrize("options", [(), ("--tile", "176", "--stroke-size", "0")])
def test_passes_paint_the_picture_again(params: Tree, options: tuple[str, ...]) -> None:
    if options:
        save_photo("photo.png", 24, 288)
    target = described(params, "sea.png")
    expected = jnp.asarray(painted(params, target))
    for _ in range(2):
        expected = jnp.clip(jax.jit(stylize)(params, expected, target), 0, 1)
    found = make("--style", "sea.png", "--passes", "3", *options)
    assert_same(found, expected)
    assert np.abs(found - painted(params, target)).max() > 2 * LEVEL
    assert load_settings("out.png")["passes"] == 3


def test_the_size_of_a_painting_is_chosen(params: Tree) -> None:
    save_painting("large.png", 2, 100, 80)
    found = make("--style", "large.png", "--style-size", "50")
    small = described(params, "large.png", longest_side=50)
    assert_same(found, painted(params, small))


def test_paintings_are_mixed(params: Tree) -> None:
    found = make("--style", "sea.png=3+fire.jpg=1")
    paintings = [described(params, name) for name in ("sea.png", "fire.jpg")]
    assert_same(found, painted(params, jax.jit(mix)(paintings, [3.0, 1.0])))


def test_each_painting_has_its_region(params: Tree) -> None:
    found = make(
        *("--style", "sea.png", "--style", "fire.jpg"),
        *("--masks", "left.png", "right.png"),
    )
    left = jnp.asarray(load_image("left.png")[..., 0])
    regions = [
        Region(described(params, "sea.png"), left),
        Region(described(params, "fire.jpg"), 1 - left),
    ]
    assert_same(found, painted(params, regions))
    assert load_settings("out.png")["style"] == "sea+fire"


def test_several_paintings_and_nets_go_into_a_folder() -> None:
    save_style(
        init_net(jax.random.key(0), width=2, blocks=1), "net.safetensors", metadata={}
    )
    styles = ("--style", "sea.png", "--style", "net.safetensors")
    assert run(["stylize", "photo.png", *styles, "-o", "new", "--quiet"]) == 0
    assert files("new") == ["photo.net.png", "photo.sea.png"]


def test_a_contact_sheet_shows_paintings() -> None:
    sheet = make("--style", "sea.png", "--style", "fire.jpg", "--contact-sheet")
    assert sheet.shape[1] > 3 * 36


def test_large_photos_are_painted_in_tiles(params: Tree) -> None:
    save_photo("photo.png", 24, 190)
    found = make("--style", "sea.png", "--tile", "168")
    target, photo = described(params, "sea.png"), jnp.asarray(load_image("photo.png"))
    tiled = jax.jit(stylize_tiled, static_argnames="tile")
    expected = np.clip(tiled(params, photo, target, tile=168), 0, 1)
    assert_same(found, expected)


# --- the start of an optimization ---------------------------------------------------


def test_optimize_starts_from_a_painted_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "WIDTHS", (64, 128, 256, 512, 512))
    inputs = ["photo.png", "sea.png", "fire.jpg", "-o", "out.png", "--quiet"]
    assert (
        run(["optimize", *inputs, *SHALLOW, "--init", "transport", "--steps", "1"]) == 0
    )
    recorded: Any = load_settings("out.png")["settings"]
    assert recorded["init"] == "transport"


def test_the_start_is_the_mixture_or_in_regions(params: Tree) -> None:
    names = ("photo.png", "sea.png", "fire.jpg")
    photo, *styles = (jnp.asarray(load_image(name)) for name in names)
    left = jnp.asarray(load_image("left.png")[..., 0])
    paintings = [described(params, name) for name in names[1:]]
    mixed = painted_styles.paint_scene(Scene(photo, styles))
    assert_same(mixed, painted(params, jax.jit(mix)(paintings, [1.0, 1.0])))
    masks = [left, 1 - left]
    parts = painted_styles.paint_scene(Scene(photo, styles, masks))
    assert_same(parts, painted(params, list(map(Region, paintings, masks))))


def test_scenes_that_are_too_small_are_refused() -> None:
    small = Scene(jnp.zeros((15, 20, 3)), [jnp.zeros((32, 32, 3))])
    with pytest.raises(ValueError, match="use a larger --coarsest"):
        painted_styles.paint_scene(small)


# --- files --------------------------------------------------------------------------


def test_a_described_painting_is_a_style(params: Tree, capsys: Captured) -> None:
    facts = ("--title", "The Sea", "--painter", "N. N.", "--year", "1900")
    assert run(["describe", "sea.png", "-o", "sea.safetensors", *facts]) == 0
    assert "sea.safetensors: 0.0 MB" in capsys.readouterr().out
    expected = painted(params, load_painting("sea.safetensors"))
    assert_same(make("--style", "sea.safetensors"), expected)
    assert np.abs(expected - painted(params, described(params, "sea.png"))).max() < 0.1
    capsys.readouterr()
    assert run(["styles", "sea.safetensors"]) == 0
    assert "The Sea" in capsys.readouterr().out


def test_an_exported_painting_paints_the_same(params: Tree, capsys: Captured) -> None:
    assert run(["export", "sea.png", "-o", "sea.stablehlo"]) == 0
    assert capsys.readouterr().out.startswith("sea.stablehlo: a painting, ")
    content = Path("sea.stablehlo").read_bytes()
    assert b".py" not in content
    run_file = jax.jit(export.deserialize(bytearray(content)).call)
    for height, width in ((24, 36), (21, 35)):
        photo = jnp.asarray(load_image("photo.png"))[:height, :width]
        expected = jax.jit(stylize)(params, photo, described(params, "sea.png"))
        np.testing.assert_allclose(run_file(photo[None])[0], expected, atol=1e-4)


def test_other_files_take_no_painting(capsys: Captured) -> None:
    assert run(["export", "sea.png", "-o", "sea.onnx"]) == 2
    message = "sea.png is a painting, which .onnx files cannot hold; write sea.stableh"
    assert message in capsys.readouterr().err


def test_photos_of_several_sizes_are_painted_alike(params: Tree) -> None:
    save_photo("photos/a.png", 24, 36)
    save_photo("photos/b.png", 19, 41)
    options = ("--style", "sea.png", "-o", "out", "--quiet")
    assert run(["stylize", "photos", *options]) == 0
    for path in (Path("out/a.png"), Path("out/b.png")):
        photo = jnp.asarray(load_image(Path("photos") / path.name))
        target = described(params, "sea.png")
        expected = np.clip(jax.jit(stylize)(params, photo, target), 0, 1)
        assert_same(load_image(path), expected)


def test_files_keep_paintings(params: Tree) -> None:
    """Up to the noise that is added, and to 8 bits of each number of the factor."""
    run(["describe", "sea.png", "-o", "sea.safetensors"])
    exact = described(params, "sea.png")
    for layer, found in load_painting("sea.safetensors").items():
        np.testing.assert_array_equal(found.mean, exact[layer].mean)
        scale = np.abs(exact[layer].covariance).max()
        np.testing.assert_allclose(
            found.covariance, exact[layer].covariance, atol=0.03 * scale
        )


def test_a_painting_of_one_color_is_said_to_be_one(capsys: Captured) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save("red.png")
    make("--style", "red.png")
    assert "red.png is of a single color" in capsys.readouterr().err


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "tiny.png"], "tiny.png at 31x40 pixels is too small"),
        (["--style", "text.png"], "cannot read the image text.png"),
        (["--style", "none.png"], "no such image file: none.png"),
        (["--style", "sea.png+net.safetensors"], "a painting and a net"),
        (["--style", "damaged.safetensors"], "damaged"),
        (["--style", "sea.png", "--style", "other/sea.png"], "two styles are called"),
        (
            ["--style", "sea.png", "--masks", "left.png", "right.png"],
            "--masks needs one image per painting: 1, got 2",
        ),
        (["--style", "sea.png", "--masks", "black.png"], "black all over"),
        (["--style", "net.safetensors", "--masks", "left.png"], "net is a net"),
        (["--style", "sea.png", "--style-size", "20"], "is too small"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    Path("other").mkdir()
    Image.new("RGB", (31, 40), "white").save("tiny.png")
    Image.new("RGB", (36, 24), "black").save("black.png")
    save_painting("other/sea.png", 3, 40, 40)
    Path("text.png").write_text("no image")
    Path("damaged.safetensors").write_bytes(b"x" * 100)
    net = init_net(jax.random.key(0), width=2, blocks=1)
    save_style(net, "net.safetensors", metadata={})
    line = refusal(capsys, "photo.png", *arguments, "-o", "out.png", "--quiet")
    assert message in line


def test_masks_that_cover_a_photo_once_do_so_at_its_size() -> None:
    shares = jnp.asarray(np.random.default_rng(0).dirichlet((0.2,) * 3, (6, 9)))
    regions = [Region({}, shares[..., i]) for i in range(3)]
    fitted = painted_styles.fit_target(regions, jnp.zeros((24, 36, 3)))
    assert not isinstance(fitted, Mapping)
    total = sum((region.mask for region in fitted), jnp.zeros(()))
    np.testing.assert_allclose(total, np.ones((24, 36)), rtol=1e-5)


def test_a_mask_of_other_proportions_is_refused_before_all_work(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stylize_command, "load_all", None)
    Image.new("L", (36, 36), "white").save("square.png")
    arguments = ["--style", "sea.png", "--masks", "square.png", "-o", "out.png"]
    assert run(["stylize", "photo.png", *arguments]) == 2
    assert capsys.readouterr().err == (
        "jaxstyle stylize: error: the mask square.png has 36x36 pixels, but the photo "
        "photo.png is 36x24; draw it on the image itself\n"
    )


def test_photos_that_fit_their_masks_are_separated_from_others() -> None:
    Image.new("L", (36, 36), "white").save("square.png")
    Image.new("RGB", (72, 48)).save("twice.png")
    fit, square, damaged = (
        Photo(Path(name), Path(name), name)
        for name in ("twice.png", "square.png", "net.safetensors")
    )
    fitting, unfit = fit_masks([fit, square, damaged], ["left.png"])
    assert fitting == [fit, damaged]
    (line,) = unfit
    assert "left.png has 36x24 pixels, but the photo square.png is 36x36" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sea.png", "-o", "sea.png"], "sea.png is an input"),
        (["sea.png", "-o", "sea.txt"], "sea.txt"),
        (["sea.png", "-o", "none/sea.safetensors"], "there is no folder none"),
        (["none.png", "-o", "x.safetensors"], "none.png"),
    ],
)
def test_describe_refuses_bad_input(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    before = files()
    assert run(["describe", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxstyle describe: error: ")
    assert message in line
    assert files() == before
