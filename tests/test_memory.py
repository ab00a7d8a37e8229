"""What a run needs of memory is known before it starts."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from command_line import SHALLOW, TWO_SCALES, make, offer, refused_picture, run
from stylize_samples import STYLE, assert_picture, expected, save_photo
from training_runs import TINY, save_data

from jaxstyle import load_image
from jaxstyle.cli.train.training_programs import CachedPhotos, check_cache_fits
from jaxstyle.nets.transform_net import Params
from jaxstyle.scaling import memory
from jaxstyle.scaling.memory import (
    TooLargeError,
    check_memory,
    free_memory,
    needed_memory,
)
from jaxstyle.scaling.sharding import place

Captured = pytest.CaptureFixture[str]


def test_a_program_needs_its_results_and_what_lies_between() -> None:
    ones = jnp.ones((100, 100))
    kept = jax.jit(lambda x: x @ x).lower(ones).compile()
    assert needed_memory(kept) >= ones.nbytes
    reused = jax.jit(lambda x: x + 1, donate_argnums=0).lower(ones).compile()
    assert needed_memory(reused) < ones.nbytes


def test_linux_says_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:   7000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    assert free_memory() == 7000 * 1024
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "missing")
    assert free_memory() is None


def test_accelerators_say_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {"bytes_limit": 1000, "bytes_in_use": 300}
    device = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert free_memory() == 700
    device.memory_stats = lambda: None
    assert free_memory() is None


def test_what_is_still_to_come_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = jnp.ones((1000, 1000))
    program = jax.jit(lambda x: x + 1).lower(ones).compile()
    offer(monkeypatch, 8_000_000)
    check_memory(program, coming=(ones,))
    with pytest.raises(TooLargeError):
        check_memory(program, coming=(ones, jax.eval_shape(lambda: ones)))


def test_a_program_that_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = jax.jit(lambda x: x + 1).lower(jnp.ones((1000, 1000))).compile()
    offer(monkeypatch, 4_000_000)
    check_memory(program)
    offer(monkeypatch, 3_000_000)
    with pytest.raises(TooLargeError, match=r"needs 0\.0 GB, but only 0\.0 GB is free"):
        check_memory(program)


@pytest.mark.usefixtures("picture_folder")
def test_a_picture_that_is_too_large_is_refused_before_the_first_step(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, 1000)
    assert refused_picture(capsys, *TWO_SCALES) == (
        "jaxstyle optimize: error: not enough memory for --size 45: needs 0.0 GB, "
        "but only 0.0 GB is free; about --size 0 would fit"
    )


@pytest.mark.usefixtures("picture_folder")
def test_a_picture_that_is_too_large_is_looked_at_in_tiles(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TILE", 40)
    whole = make(*TWO_SCALES)
    offer(monkeypatch, 1000, 10**10)
    capsys.readouterr()
    command = ("optimize", "content.png", "style.png", "-o", "tiled.png", *SHALLOW)
    assert run([*command, *TWO_SCALES, "--steps", "3"]) == 0
    said = capsys.readouterr().err
    assert (
        "needs 0.0 GB, but only 0.0 GB is free; continuing in tiles of 40 pixels"
        in said
    )
    assert_picture("tiled.png", whole, within=1.1 / 255)


def test_a_training_that_is_too_large_is_refused(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_data(tmp_path)
    offer(monkeypatch, 1000)
    assert run(["train", *TINY, "-o", "out", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        "jaxstyle train: error: not enough memory for --batch 2 at --size 16: "
        "needs 0.0 GB, but only 0.0 GB is free; use a smaller --batch or --size\n"
    )
    assert list(Path("out").iterdir()) == []


def test_photos_need_room_beside_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    program = jax.jit(lambda x: x + 1).lower(jnp.ones((1000, 1000))).compile()
    photos = jnp.zeros((100, 18, 18, 3), jnp.uint8)
    cached, placement = CachedPhotos(photos, jnp.uint32(0)), place(1)
    needed = needed_memory(program) + photos.nbytes
    offer(monkeypatch, needed)
    check_cache_fits(cached, program, placement)
    offer(monkeypatch, needed - 1)
    with pytest.raises(TooLargeError):
        check_cache_fits(cached, program, placement)


# --- stylize ------------------------------------------------------------------------


@pytest.mark.usefixtures("stylize_folder")
@pytest.mark.parametrize("options", [(), ("--preserve-color",), ("--strength", "0.4")])
def test_tiles_make_the_same_picture(options: tuple[str, ...]) -> None:
    save_photo("large.png", 58, 83)
    command = ("stylize", "large.png", *STYLE, *options)
    assert run([*command, "-o", "whole.png"]) == 0
    assert run([*command, "-o", "tiled.png", "--tile", "40"]) == 0
    assert_picture("tiled.png", load_image("whole.png"), within=1.1 / 255)


@pytest.mark.usefixtures("stylize_folder")
def test_a_photo_that_is_too_large_is_painted_in_tiles(
    nets: dict[str, Params], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TILE", 20)
    offer(monkeypatch, 1000, 10**9)
    command = ("stylize", "photo.png", "--style", "wave.safetensors", "-o", "out.png")
    assert run(command) == 0
    said = capsys.readouterr().err
    assert (
        "needs 0.0 GB, but only 0.0 GB is free; continuing in tiles of 20 pixels"
        in said
    )
    assert "compiling for 36x20 pixels in tiles of 20 pixels on " in said
    assert_picture("out.png", expected(nets["wave"], "photo.png"))


@pytest.mark.usefixtures("stylize_folder")
def test_a_photo_that_is_too_large_even_so_is_named(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, 1000)
    assert run(["stylize", "photo.png", *STYLE, "-o", "out.png"]) == 2
    assert capsys.readouterr().err == (
        "jaxstyle stylize: error: not enough memory for photo.png: needs 0.0 GB, "
        "but only 0.0 GB is free; use a smaller --max-size\n"
    )
