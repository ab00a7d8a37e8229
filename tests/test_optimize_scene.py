"""What ``jaxstyle optimize`` makes a picture from: styles, regions, colors, inits."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import TWO_SCALES, loss, make, refused_picture
from conftest import Params
from image_samples import assert_close, noise
from PIL import Image

from jaxstyle.files.image_files import load_image
from jaxstyle.losses import gram_matrix
from jaxstyle.vgg import features

Captured = pytest.CaptureFixture[str]

BOTH = ("style.png", "style2.png")

LAYERS = ("relu1_1", "relu2_1")

STYLE_ALONE = ("--content-weight", "relu2_1=0")

LUMA = np.array([0.299, 0.587, 0.114])

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(picture_folder: Path) -> Path:
    """Add masks to the pictures: of two halves and an edge."""
    left = np.zeros((36, 48), np.uint8)
    left[:, :24] = 255
    Image.fromarray(left).save("left.png")
    Image.fromarray(255 - left).save("right.png")
    Image.fromarray(np.roll(left, -12, axis=1) // 255 * left).save("edge.png")
    return picture_folder


def photo() -> np.ndarray:
    return load_image("content.png", longest_side=32)


@jax.jit
def see(params: Params, image: jax.Array) -> list[jax.Array]:
    """Return the Gram matrix of each layer."""
    found = features(params, image)
    return [gram_matrix(found[layer]) for layer in LAYERS]


def style_distance(params: Params, one: np.ndarray, other: np.ndarray) -> float:
    """Return how far the Gram matrices of two images are from each other."""
    grams = [jax.device_get(see(params, image)) for image in (one, other)]
    return float(sum(np.square(a - b).mean() for a, b in zip(*grams, strict=True)))


# --- one knob -----------------------------------------------------------------------


def test_more_strength_gives_more_style_and_less_photo(shallow: Params) -> None:
    made = [make("--strength", s, "--steps", "20") for s in ("0.2", "0.5", "0.8")]
    style = load_image("style.png", shrink_to=32)
    from_style = [style_distance(shallow, picture, style) for picture in made]
    from_photo = [float(np.square(picture - photo()).mean()) for picture in made]
    assert from_style[0] > 2 * from_style[1] > 4 * from_style[2]
    assert 2 * from_photo[0] < from_photo[1] < from_photo[2]


def test_strength_multiplies_the_weight_of_the_style() -> None:
    make("--steps", "1", *STYLE_ALONE)
    expected = loss()
    for strength, factor in (("0", 0.01), ("1", 100)):
        make("--steps", "1", *STYLE_ALONE, "--strength", strength)
        assert loss() == pytest.approx(factor * expected)


# --- several styles -----------------------------------------------------------------


def test_blend_says_how_much_each_style_counts() -> None:
    losses = {}
    for blend in ("0,1", "2,2"):
        make("--steps", "1", "--blend", blend, styles=BOTH)
        losses[blend] = loss()
    make("--steps", "1", styles=BOTH)
    assert loss() == pytest.approx(losses["2,2"])
    make("--steps", "1", styles=BOTH[1:])
    assert loss() == pytest.approx(losses["0,1"])
    assert losses["0,1"] != pytest.approx(losses["2,2"])


def test_blend_may_differ_by_layer() -> None:
    expected = 0.0
    for style, here, nowhere in zip(BOTH, LAYERS, reversed(LAYERS), strict=True):
        weights = ("--style-weight", f"{here}=9,{nowhere}=0")
        make("--steps", "1", *STYLE_ALONE, *weights, styles=(style,))
        expected += loss()
    by_layer = ("--blend", "relu1_1=1:0,relu2_1=0:1")
    both = ("--style-weight", "relu1_1=9,relu2_1=9")
    make("--steps", "1", *STYLE_ALONE, *both, *by_layer, styles=BOTH)
    assert loss() == pytest.approx(expected)


# --- the size of strokes ------------------------------------------------------------


def test_style_scale_is_style_size_relative_to_the_picture() -> None:
    usual = make()
    np.testing.assert_array_equal(make("--style-size", "32"), usual)
    small = make("--style-scale", "0.5")
    np.testing.assert_array_equal(make("--style-size", "16"), small)
    assert np.abs(small - usual).max() > 1.5 / 255


def test_a_painting_is_never_enlarged() -> None:
    usual = make()
    as_it_is = make("--style-size", "40")  # style.png has 40 pixels on the longer side
    assert np.abs(as_it_is - usual).max() > 1.5 / 255
    np.testing.assert_array_equal(make("--style-scale", "3"), as_it_is)


# --- regions ------------------------------------------------------------------------

SIDES = {"left": np.s_[:, :14], "right": np.s_[:, 18:]}


def save_two_styles() -> Mapping[str, np.ndarray]:
    """Write red stripes and blue noise, and return both."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::4, :, 0] = stripes[1::4, :, 0] = 255
    blue = noise(32, 32, 3)
    blue[..., :2] = 0
    for name, style in {"stripes.png": stripes, "blue.png": blue}.items():
        Image.fromarray(style).save(name)
    return {name: load_image(name) for name in ("stripes.png", "blue.png")}


def test_swapping_the_styles_of_two_regions_swaps_them_in_the_picture(
    shallow: Params,
) -> None:
    styles = save_two_styles()
    how = ("--steps", "20", "--strength", "0.8", "--style-loss", "wasserstein")
    for sides in (("left", "right"), ("right", "left")):
        masks = ("--masks", *(f"{side}.png" for side in sides))
        picture = make(*how, *masks, styles=tuple(styles))
        for side, own in zip(sides, styles, strict=True):
            (other,) = styles.keys() - {own}
            part = picture[SIDES[side]]
            near, far = (style_distance(shallow, part, styles[s]) for s in (own, other))
            assert near < far / 4


@pytest.mark.parametrize("colors", [(), ("--preserve-color",)])
def test_what_no_mask_covers_stays_as_it_is(colors: tuple[str, ...]) -> None:
    options = ("--masks", "edge.png", *TWO_SCALES, "--init", "noise", *colors)
    painted = make(*options, "--steps", "20")
    photo = load_image("content.png", longest_side=45)
    assert_close(painted[:, 13:], photo[:, 13:], within=1e-6)
    assert np.abs(painted - photo)[:, :8].mean() > 0.05


def test_a_mask_may_be_soft() -> None:
    make("--steps", "1", *STYLE_ALONE)
    expected = loss() * 51 / 255
    Image.new("L", (48, 36), 51).save("even.png")
    make("--steps", "1", *STYLE_ALONE, "--masks", "even.png")
    assert loss() == pytest.approx(expected, rel=1e-4)
    ramp = np.linspace(0, 255, 96).astype(np.uint8)[None].repeat(72, 0)
    Image.fromarray(ramp).save("soft.png")  # twice as large as the photo
    painted = np.abs(make("--masks", "soft.png", "--steps", "20") - photo())
    assert painted[:, -8:].mean() > 2 * painted[:, :8].mean() > 0


def save_halves() -> None:
    """Write two paintings whose left sides are the same, and a mask of that side."""
    for name, seed in {"one.png": 1, "two.png": 2}.items():
        pixels = noise(36, 48, 3)
        pixels[:, 24:] //= seed**3
        Image.fromarray(pixels).save(name)
    mask = np.zeros((36, 48), np.uint8)
    mask[:, :15] = 255
    Image.fromarray(mask).save("part.png")


def style_masked(second: str, *masks: str) -> float:
    """Return the style loss of the first painting with a second, masked."""
    styles = ("one.png", second)
    options = ("--style-masks", *masks) if masks else ()
    make("--steps", "1", *STYLE_ALONE, *options, styles=styles)
    return loss()


def test_only_the_part_in_the_style_mask_counts() -> None:
    save_halves()
    expected = style_masked("one.png", "all", "part.png")
    assert style_masked("two.png", "all", "part.png") == pytest.approx(expected)
    assert style_masked("one.png") != pytest.approx(expected, rel=1e-3)
    whole = style_masked("two.png", "all", "all")
    assert style_masked("two.png") == pytest.approx(whole)
    assert whole != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--masks", "left.png"), "--masks needs one image per painting: 2, got 1"),
        (
            ("--style-masks", "all", "all", "all"),
            "--style-masks needs one image per painting: 2, got 3",
        ),
        (
            ("--masks", "left.png", "square.png"),
            "the mask square.png has 20x20 pixels, but what it masks is 32x24; draw it",
        ),
        (
            ("--style-masks", "all", "left.png"),
            "the mask left.png has 48x36 pixels, but what it masks is 32x16; draw it",
        ),
        (("--masks", "black.png", "left.png"), "the mask black.png is black all over"),
        (("--masks", "all", "left.png"), "no such image file: all"),
        (("--style-masks", "missing.png", "all"), "no such image file: missing.png"),
        (
            ("--blend", "relu1_1=1:2:3"),
            "--blend needs one number per painting: 2, got 3",
        ),
        (
            ("--blend", "relu1_2=1:2"),
            "style weights for relu1_2, not a style layer",
        ),
        (
            ("--style-scale", "2", "--style-size", "9"),
            "argument --style-size: not allowed with argument --style-scale",
        ),
        (("--match-color", "all"), "expected covariance, histogram, got 'all'"),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(
    capsys: Captured, options: tuple[str, ...], named: str
) -> None:
    Image.new("L", (20, 20), "white").save("square.png")
    Image.new("L", (48, 36), "black").save("black.png")
    assert named in refused_picture(capsys, *options, styles=BOTH)


# --- colors ------------------------------------------------------------------------


def chroma(picture: np.ndarray) -> np.ndarray:
    without: np.ndarray = picture - (picture @ LUMA)[..., None]
    return without


def test_preserve_color_keeps_the_chroma_of_the_photo() -> None:
    picture = make("--preserve-color", "--steps", "9", *TWO_SCALES)
    whole = load_image("content.png", longest_side=45)
    assert_close(chroma(picture), chroma(whole), within=1 / 255 + 1e-6)
    assert np.abs((picture - whole) @ LUMA).mean() > 0.02
    assert np.abs(chroma(make("--steps", "9", *TWO_SCALES)) - chroma(whole)).max() > 0.1


def test_match_color_brings_the_colors_nearer_to_the_photo() -> None:
    options = ("--steps", "20", "--strength", "0.9")
    mean = photo().mean((0, 1))
    plain, *matched = (
        make(*options, *match, styles=("style2.png",))
        for match in (
            (),
            *(("--match-color", how) for how in ("covariance", "histogram")),
        )
    )
    far = np.abs(plain.mean((0, 1)) - mean).max()
    for picture in matched:
        assert np.abs(picture.mean((0, 1)) - mean).max() < far / 3
    assert np.abs(matched[0] - matched[1]).max() > 0.01


# --- what it starts from ------------------------------------------------------------


def test_gray_starts_from_gray_with_a_trace_of_noise() -> None:
    picture = make("--steps", "1", "--init", "gray")
    assert_close(picture, 128 / 255)  # of 127.5 to 128.5


def test_style_stats_starts_from_noise_in_the_colors_of_the_styles() -> None:
    pictures = [
        make("--steps", "1", "--init", "style-stats", "--seed", seed, styles=BOTH)
        for seed in "00 1".replace(" ", "")
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[1] - pictures[2]).mean() > 0.1
    pixels = [load_image(path, shrink_to=32).reshape(-1, 3) for path in BOTH]
    mean = np.mean([style.mean(0) for style in pixels], axis=0)
    spread = np.sqrt(np.mean([np.square(s).mean(0) for s in pixels], axis=0) - mean**2)
    assert_close(pictures[0].mean((0, 1)), mean, within=0.05)
    assert_close(pictures[0].std((0, 1)), spread, within=0.08)
