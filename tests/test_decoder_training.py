"""The training of decoders: crops, steps, resuming, and the program."""

import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_samples import (
    fit_decoder,
    make_decoder,
    make_maps,
    make_vgg,
    save_photographs,
)

from jaxstyle.cli.train import decoder_command, decoder_run
from jaxstyle.cli.train.decoder_command import main
from jaxstyle.data.photo_album import (
    Album,
    center_squares,
    draw_crops,
    hold_out,
    open_album,
)
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.param_files import load_params, save_params
from jaxstyle.files.run_log import read_metrics
from jaxstyle.files.transport_files import load_decoder
from jaxstyle.transport.decoder_steps import (
    init_state,
    make_optimizer,
    move_batch,
    style_distance,
    train_pass,
)

pytestmark = pytest.mark.usefixtures("narrow_vgg", "plain_convolutions")

TINY = (
    *("--photos", "photos", "--paintings", "paintings", "--out", "run"),
    *("--batch", "2", "--crop", "32", "--fitted", "1", "--evaluate-every", "10"),
    "--quiet",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with photographs, where runs are small."""
    monkeypatch.chdir(tmp_path)
    save_photographs(tmp_path / "photos", 6)
    save_photographs(tmp_path / "paintings", 2, side=70)
    monkeypatch.setattr(decoder_run, "PAINTING", 64)
    monkeypatch.setattr(decoder_run, "HELD_OUT", 2)
    monkeypatch.setattr(decoder_run, "SQUARE", 32)
    monkeypatch.setattr(decoder_run, "FITTED", {"batch": 2, "crop": 32})
    vgg = make_vgg()
    monkeypatch.setattr(decoder_command, "load_vgg", lambda: vgg)
    return tmp_path


def without_times(path: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line.items() if name != "time"}
        for line in read_metrics(path)
    ]


# --- photographs --------------------------------------------------------------------


def test_photographs_are_decoded_once(folder: Path) -> None:
    (folder / "photos" / "broken.jpg").write_bytes(b"no image")
    notes: list[str] = []
    open_photos = partial(
        open_album, folder / "album", [folder / "photos"], smallest=49, say=notes.append
    )
    photos = open_photos()
    assert len(notes) == 2
    assert "48" in notes[0]
    assert "broken.jpg" in notes[1]
    assert photos.names == [f"photos/{i:02d}.png" for i in range(1, 6)]
    assert photos.photos[2].shape == (51, 51, 3)
    again = open_photos()
    assert (again.names, again.digest) == (photos.names, photos.digest)
    assert len(notes) == 2
    (folder / "photos" / "00.png").unlink()
    with pytest.raises(ValueError, match="other photographs"):
        open_photos()


@pytest.fixture
def album(folder: Path) -> Album:
    return open_album(folder / "album", [folder / "photos"], smallest=32, say=print)


def test_held_out_photographs_are_not_trained_on(album: Album) -> None:
    kept, held = hold_out(album, 2)
    assert sorted(kept.names + held.names) == album.names
    assert len(held.names) == 2
    assert held.digest != hold_out(album, 1)[1].digest
    with pytest.raises(ValueError, match="cannot hold out 6"):
        hold_out(album, 6)
    assert center_squares(held, 32).shape == (2, 32, 32, 3)


def test_crops_depend_on_seed_and_step_alone(album: Album) -> None:
    draw = partial(draw_crops, album, batch=4, crop=32)
    first = draw(seed=3, step=5)
    assert first.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(first, draw(seed=3, step=5))
    assert (first != draw(seed=3, step=6)).any()
    assert (first != draw(seed=4, step=5)).any()


# --- steps --------------------------------------------------------------------------


def make_photos() -> jax.Array:
    y, x, c, n = np.meshgrid(*map(np.arange, (32, 32, 3, 4)), indexing="ij")
    waves = 128 + 127 * np.sin(0.1 * (n + 1) * x + 0.2 * y + c)
    return jnp.asarray(waves.transpose(3, 0, 1, 2).astype(np.uint8))


def test_passes_lower_their_loss() -> None:
    vgg, photos = make_vgg(), make_photos()
    optimizer = make_optimizer(20, rate=1e-3, warmup=1)
    state = start = init_state(fit_decoder(vgg), optimizer)
    painting = photos[0].at[:, ::2].set(255)
    step = jax.jit(partial(train_pass, optimizer=optimizer))
    losses = []
    for _ in range(20):
        state, metrics = step(state, photos, painting, vgg)
        losses.append(metrics)
    assert set(losses[0]) == {
        f"level{level}/{part}"
        # After relu3_1 comes relu4_1.
        for level, deepest in ((3, 4), (4, 4), (2, 2))
        for part in (
            *("features", "pixels", "clipped"),
            *(f"relu{layer}_1" for layer in range(1, deepest + 1)),
        )
    }
    for level in (2, 3, 4):
        first, last = (
            sum(value for name, value in losses[i].items() if f"l{level}/" in name)
            for i in (0, -1)
        )
        assert last < 0.95 * first
    assert int(state.step) == 20
    for kept in (("block1",), ("block4", "input")):
        old, new = start.params, state.params
        for name in kept:
            old, new = old[name], new[name]
        jax.tree.map(np.testing.assert_array_equal, new, old)


def test_a_batch_is_moved_to_the_distribution_of_a_painting() -> None:
    features, target = make_maps(3, 8, 9, 4), make_maps(11, 12, 4, seed=1) ** 2
    moved = move_batch(features, target)
    assert moved.shape == features.shape
    goal = target.reshape(1, -1, 4)
    before, after = (float(style_distance(x, goal)) for x in (features, moved))
    assert abs(after) < 0.01 * before
    np.testing.assert_allclose(
        moved.mean((0, 1, 2)), target.mean((0, 1)), rtol=1e-3, atol=1e-3
    )


# --- the program --------------------------------------------------------------------


@pytest.fixture
def checkpoints_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_command, "SECONDS", 0.0)
    monkeypatch.setattr(decoder_command, "LOGGED", 2)


@pytest.mark.usefixtures("checkpoints_often")
def test_a_killed_run_goes_on_exactly(folder: Path) -> None:
    command = [*TINY, "--steps", "4"]
    assert main(command) == 0
    shutil.move("run", "whole")
    assert main([*command, "--hours", "1e-9"]) == 0
    assert find_checkpoints(folder / "run" / "checkpoints")[-1] == 2
    assert main(command) == 0
    for name in ("final.safetensors", "decoder.safetensors"):
        ours, whole = (load_params(folder / run / name)[0] for run in ("run", "whole"))
        jax.tree.map(np.testing.assert_array_equal, ours, whole)
    logs = [without_times(folder / run / "metrics.jsonl") for run in ("run", "whole")]
    assert logs[0] == logs[1]


def test_a_run_leaves_a_decoder_and_its_pictures(folder: Path) -> None:
    assert main([*TINY, "--steps", "10"]) == 0
    params, metadata = load_decoder(folder / "run" / "decoder.safetensors")
    assert sorted(params) == [f"block{level}" for level in range(1, 5)]
    assert metadata["step"] == "10"
    assert len(metadata["psnr"].split()) == 4
    assert (folder / "run" / "sheet.png").exists()
    lines = without_times(folder / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 10, 10]
    assert "psnr4" in lines[0]
    assert "level4/features" in lines[1]


def test_a_run_starts_from_the_parameters_of_another(folder: Path) -> None:
    params = [fit_decoder(make_vgg()), make_decoder()]
    configurations = []
    for given in params:
        save_params(given, folder / "start.safetensors", metadata={})
        options = decoder_run.DecoderOptions(
            photos=["photos"],
            paintings=["paintings"],
            out="run",
            start="start.safetensors",
            crop=32,
        )
        run = decoder_run.open_run(options, make_vgg(), say=print)
        state = decoder_run.find_start(run)
        jax.tree.map(np.testing.assert_array_equal, state.params, given)
        configurations.append(run.configuration)
    assert configurations[0] != configurations[1]


PROBLEMS = {
    "no folder": (["--photos", "nowhere"], "no images in the folder nowhere"),
    "no image": (["--photos", "empty"], "no images in the folder empty"),
    "a wrong crop": (["--crop", "33"], "a multiple of 8"),
    "output among photographs": (["--out", "photos/run"], "within the photographs"),
    "photographs too small": (["--crop", "64"], "no photograph can be used"),
    "output among paintings": (["--out", "paintings/run"], "within the photographs"),
    "paintings too small": (["--paintings", "photos"], "no photograph can be used"),
    "no start": (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
    "a start that is none": (["--start", "photos/01.png"], "photos/01.png"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_bad_input_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], problem: str
) -> None:
    (folder / "empty").mkdir()
    options, expected = PROBLEMS[problem]
    assert main([*TINY, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith("train_decoder: error: ")
    assert expected in said
    assert said.count("\n") == 1


def test_other_settings_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--steps", "2"]) == 0
    assert main([*TINY, "--steps", "2", "--seed", "1"]) == 2
    assert "seed 0 -> 1" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--steps", "0"], ["--width", "-1"], []])
def test_wrong_arguments_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*TINY, *options] if options else [])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
