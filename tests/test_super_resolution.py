"""Super-resolution by the perceptual loss: the example of another training loop."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from image_quality import luma, psnr, ssim
from super_resolution import (
    LOSSES,
    SuperResolutionNet,
    blur,
    double,
    enlarge,
    init_params,
    make_step,
    shrink,
)
from super_resolution_results import make_pictures, make_rows, measure
from train_super_resolution import load_squares, main
from training_runs import save_data

import jaxstyle
from jaxstyle.data.sources import hold_out, open_source
from jaxstyle.files.image_files import load_image
from jaxstyle.files.param_files import load_params

Params = dict[str, Any]

TINY = (
    *("--crop", "16", "--batch", "2", "--width", "4", "--blocks", "1"),
    *("--steps", "6", "--size", "64", "--held-out", "2"),
)

NET = SuperResolutionNet(4, 1)


def waves(height: int = 24, width: int = 32) -> jax.Array:
    """Return one image of waves that grow shorter from the upper left, [1, h, w, 3]."""
    y, x, c = np.meshgrid(*map(np.arange, (height, width, 3)), indexing="ij")
    image = 0.5 + 0.5 * np.sin(0.1 * (1 + c) * x * y + c)
    return jnp.asarray(image[None], jnp.float32)


# --- quality ------------------------------------------------------------------------


def test_the_luma_is_in_studio_range() -> None:
    colors = jnp.array([[[[0.0, 0, 0], [1, 1, 1], [1, 0, 0]]]])
    expected = np.array([16, 235, 81.481]) / 255
    np.testing.assert_allclose(luma(colors)[0, 0], expected, rtol=1e-6)


def test_psnr_of_a_known_difference() -> None:
    gray = jnp.full((2, 12, 12, 3), 0.5)
    lighter = gray + jnp.array([0.1, 0.01])[:, None, None, None] * 255 / 219
    np.testing.assert_allclose(psnr(lighter, gray), [20, 40], rtol=1e-4)
    assert psnr(gray, gray).tolist() == [np.inf, np.inf]


def test_ssim_of_plain_images_is_that_of_their_means() -> None:
    dark, light = jnp.full((1, 11, 11, 3), 0.2), jnp.full((1, 11, 11, 3), 0.7)
    x, y = 0.2 * 219 / 255 + 16 / 255, 0.7 * 219 / 255 + 16 / 255
    expected = (2 * x * y + 1e-4) / (x * x + y * y + 1e-4)
    np.testing.assert_allclose(jax.jit(ssim)(dark, light), expected, rtol=1e-4)


def test_both_are_those_of_scikit_image() -> None:
    """Version 0.26 on its own luma, with Gaussian weights and population variances."""
    original = waves()
    picture = 0.8 * original + 0.2 * original[:, ::-1]
    both = jax.jit(lambda x, y: (psnr(x, y), ssim(x, y), ssim(y, y)))
    found = both(picture, original)
    np.testing.assert_allclose(found[0], 24.9031019, rtol=1e-5)
    np.testing.assert_allclose(found[1], 0.94788139, rtol=1e-5)
    np.testing.assert_allclose(found[2], 1, rtol=1e-6)


# --- images and the net -------------------------------------------------------------


def test_blur_is_a_gaussian() -> None:
    point = jnp.zeros((1, 13, 13, 1)).at[0, 6, 6].set(1)
    bell = np.exp(-0.5 * np.arange(-4.0, 5) ** 2 / 1.5**2)
    bell /= bell.sum()
    found = blur(point, sigma=1.5, reach=4)
    assert found.shape == (1, 5, 5, 1)
    expected = np.outer(bell, bell)[2:-2, 2:-2]
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=1e-5)


def test_sizes_change_but_plain_colors_and_means_do_not() -> None:
    plain = jnp.full((1, 16, 24, 3), 0.3)
    small, again = jax.jit(lambda x: (shrink(x), enlarge(shrink(x))))(plain)
    assert small.shape == (1, 4, 6, 3)
    assert again.shape == plain.shape
    for image in (small, again):
        np.testing.assert_allclose(image, 0.3, rtol=1e-5)


def test_what_is_finer_than_the_small_pixels_is_lost() -> None:
    board = jnp.indices((16, 16)).sum(0)[None, ..., None] % 2 * jnp.ones(3)
    np.testing.assert_allclose(shrink(board)[:, 1:-1, 1:-1], 0.5, atol=1e-3)


def test_waves_fade_as_under_a_gaussian_of_sigma_one() -> None:
    across = 0.5 + 0.4 * jnp.cos(2 * jnp.pi * jnp.arange(64) / 16)
    image = jnp.broadcast_to(across[:, None], (1, 16, 64, 3))
    sharp = jax.image.resize(image, (1, 4, 16, 3), "cubic")
    inner = np.s_[:, 1:-1, 4:-4]
    faded = 0.5 + np.exp(-0.5 * (2 * np.pi / 16) ** 2) * (sharp[inner] - 0.5)
    np.testing.assert_allclose(shrink(image)[inner], faded, atol=1e-4)


def test_positions_are_repeated_along_both_axes() -> None:
    x = jnp.arange(2 * 3 * 2).reshape(1, 2, 3, 2)
    found = double(x)
    assert found.shape == (1, 4, 6, 2)
    for row in (0, 1):
        for column in (0, 1):
            np.testing.assert_array_equal(found[:, row::2, column::2], x)


def test_a_new_net_is_bicubic_interpolation() -> None:
    params = init_params(jax.random.key(0), NET)
    small = waves(6, 8)
    found = jax.jit(NET.apply)({"params": params}, small)
    np.testing.assert_allclose(found, jax.jit(enlarge)(small), atol=1e-6)


class Memory(nn.Module):
    """A net that knows the one image that is wanted of it."""

    @nn.compact
    def __call__(self, small: jax.Array) -> jax.Array:
        _, h, w, _ = small.shape
        return self.param("image", nn.initializers.zeros, (1, 4 * h, 4 * w, 3))


@pytest.fixture(scope="module")
def vgg(raw: Params) -> Params:
    return dict(jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu4_3"])))


def test_a_net_that_returns_the_original_is_perfect(vgg: Params) -> None:
    originals = np.asarray(waves(64, 64))
    pictures = make_pictures(Memory(), {"perfect": {"image": originals}}, originals)
    table = measure(vgg, pictures, originals)
    perfect, bicubic = table["perfect loss"], table["bicubic"]
    assert perfect["relu2_2"] == perfect["relu4_3"] == 0 < bicubic["relu2_2"]
    assert bicubic["relu4_3"] > 0
    assert perfect["PSNR, dB"] == np.inf > bicubic["PSNR, dB"]
    assert perfect["SSIM"] == pytest.approx(1)
    assert bicubic["SSIM"] < 0.99
    grid = "grid of 4 px, dB"
    assert perfect[grid] == table["original"][grid] != bicubic[grid]


def test_gaps_of_the_table_are_empty() -> None:
    rows = make_rows({"net": {"a": 1.0, "b": 2.0}, "original": {"b": 3.0}})
    assert rows == [
        {"": "net", "a": "1.000", "b": "2.000"},
        {"": "original", "a": "", "b": "3.000"},
    ]


# --- training -----------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_goes_down(raw: Params, loss: str) -> None:
    vgg = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(raw, ["relu2_2"]))
    photos = np.rint(255 * waves()).astype(np.uint8)
    optimizer = optax.adam(1e-2)
    params = init_params(jax.random.key(0), NET)
    state = jaxstyle.training.init_state(params, optimizer)
    step = jax.jit(make_step(NET, optimizer, loss=loss))
    losses = []
    for _ in range(21):
        state, metrics = step(state, photos, vgg)
        losses.append(float(metrics["loss"]))
    assert 0 < losses[-1] < 0.95 * losses[0]


class Run(NamedTuple):
    """A finished run in a folder with photos, and what it has printed."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("super_resolution")
    save_data(folder)
    (folder / "taken" / "sheet.png").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield start("-o", "run", "--rows", "1")


def start(*options: str) -> Run:
    """Run the script in this folder to the end."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["--data", "photos", *TINY, *options]) == 0
    return Run(Path.cwd(), out.getvalue(), err.getvalue())


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_all_results_are_written(finished: Run) -> None:
    found = sorted(path.name for path in (finished.folder / "run").iterdir())
    nets = [f"{loss}.safetensors" for loss in sorted(LOSSES)]
    assert found == ["metrics.json", *nets, "sheet.png"]
    height, width, _ = load_image(finished.folder / "run" / "sheet.png").shape
    assert 64 < height < 2 * 64
    assert 4 * 64 < width < 5 * 64
    metrics = read_metrics(finished.folder / "run")
    assert metrics["arguments"]["steps"] == 6
    assert {name: list(x) for name, x in metrics["losses"].items()} == {
        "pixel": ["6"],
        "perceptual": ["6"],
    }


def test_the_table_is_of_the_nets_that_are_written(finished: Run, vgg: Params) -> None:
    table = read_metrics(finished.folder / "run")["held out"]
    names = ["bicubic", "pixel loss", "perceptual loss", "original"]
    assert list(table) == names
    printed = [line.split("|")[1].strip() for line in finished.out.splitlines()]
    assert printed == ["", "---", *names]
    unseen = hold_out(open_source(str(finished.folder / "photos")), 2)[1]
    photos = load_squares(unseen, size=64)
    path = finished.folder / "run" / "perceptual.safetensors"
    params, metadata = load_params(path)
    assert metadata["loss"] == "perceptual"
    pictures = make_pictures(NET, {"perceptual": params}, photos)
    expected = measure(vgg, pictures, photos)["perceptual loss"]
    assert table["perceptual loss"] == pytest.approx(expected, rel=1e-3)
    assert table["perceptual loss"]["relu2_2"] != table["pixel loss"]["relu2_2"]


def test_a_net_does_not_depend_on_what_was_trained_before(finished: Run) -> None:
    start("-o", "alone", "--loss", "perceptual", "--show", "photos")
    name = "perceptual.safetensors"
    nets = [load_params(Path(folder, name))[0] for folder in ("run", "alone")]
    jax.tree.map(np.testing.assert_array_equal, *nets)
    assert list(read_metrics(Path("alone"))["losses"]) == ["perceptual"]
    height, width, _ = load_image("alone/sheet.png").shape
    assert height > 11 * 64  # all photos that are not damaged
    assert width < 4 * 64


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "nowhere"), "no data nowhere"),
        (("--crop", "18"), "--crop must be a multiple of 4, at least 8, got 18"),
        (("--crop", "4"), "--crop must be a multiple of 4, at least 8, got 4"),
        (("--size", "60"), "--size must be a multiple of 4, at least 64, got 60"),
        (("--held-out", "12"), "cannot hold out 12 of the 12 images"),
        (("--show", "nowhere"), "no data nowhere"),
        (("-o", "photos/run"), "the output photos/run is within the photos"),
        (("-o", "taken"), "cannot write the image taken/sheet.png: it is a folder"),
        (("-o", "style.png"), "File exists: 'style.png'"),
        (("--loss", "beauty"), "invalid choice: 'beauty'"),
        (("--steps", "0"), "--steps must be greater than 0, got 0"),
        (("--steps", "two"), "invalid int value: 'two'"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    finished: Run,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    before = sorted(finished.folder.rglob("*"))
    try:
        code = main(["--data", "photos", "-o", "bad", *TINY, *options])
    except SystemExit as stop:  # from argparse
        code = int(str(stop.code))
    assert code == 2
    assert sorted(finished.folder.rglob("*")) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("train_super_resolution: error: ")
    assert message in line


def test_a_loss_that_is_not_finite_ends_the_run(
    finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--loss", "pixel", "--learning-rate", "1e30")
    assert main(["--data", "photos", "-o", "wild", *TINY, *options]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert "at step 6; try a smaller --learning-rate" in line
    assert not list(Path("wild").iterdir())
