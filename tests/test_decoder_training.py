"""The training of decoders: crops, steps, resuming, and the program."""

import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoder_samples import make_decoder, make_vgg, save_photographs

import jaxstyle
from jaxstyle.cli.train import decoder_command, decoder_run
from jaxstyle.cli.train.decoder_command import GROUP, choose, main, make_replay
from jaxstyle.data.photo_album import (
    Album,
    center_squares,
    draw_crops,
    hold_out,
    open_album,
)
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.param_files import load_params
from jaxstyle.files.run_log import read_metrics
from jaxstyle.files.transport_files import load_decoder
from jaxstyle.transport.decoder_steps import (
    Schedule,
    draw_level,
    encode_photos,
    init_state,
    train_blocks,
    train_chain,
)
from jaxstyle.vgg import layers as vgg_layers

pytestmark = pytest.mark.usefixtures("narrow_vgg", "plain_convolutions")

TINY = (
    *("--photos", "photos", "--out", "run", "--batch", "2", "--crop", "32"),
    *("--fitted", "1", "--evaluate-every", "10", "--quiet"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with photographs, where runs are small."""
    monkeypatch.chdir(tmp_path)
    save_photographs(tmp_path / "photos", 6)
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


def test_steps_of_a_group_share_its_crops() -> None:
    drawn: list[int] = []

    def draw(number: int) -> np.ndarray:
        drawn.append(number)
        return np.full(3, number)

    maps_of = make_replay(draw, lambda crops: [jnp.asarray(crops)], echo=2)
    groups = [maps_of(step)[0].tolist() for step in range(2 * GROUP + 1)]
    assert groups[:-1] == 2 * GROUP * [[n for n in range(GROUP) for _ in range(3)]]
    assert drawn == list(range(2 * GROUP))
    for turn in range(2):
        steps = range(turn * GROUP, (turn + 1) * GROUP)
        met = np.concatenate([choose(step, batch=3, seed=1) for step in steps])
        assert sorted(met) == list(range(3 * GROUP))


# --- steps --------------------------------------------------------------------------


def make_photos() -> jax.Array:
    y, x, c, n = np.meshgrid(*map(np.arange, (32, 32, 3, 4)), indexing="ij")
    waves = 128 + 127 * np.sin(0.1 * (n + 1) * x + 0.2 * y + c)
    return jnp.asarray(waves.transpose(3, 0, 1, 2).astype(np.uint8))


def test_steps_lower_the_loss_of_the_blocks_in_use() -> None:
    vgg = jaxstyle.vgg.normalize(make_vgg())
    state = start = init_state(make_decoder())
    maps = jax.jit(encode_photos)(vgg, make_photos())
    schedule = Schedule(30, first=1e-2, warmup=1)
    step = jax.jit(partial(train_blocks, levels=(5, 3), schedule=schedule))
    losses = []
    for _ in range(30):
        state, metrics = step(state, maps, jnp.arange(4))
        losses.append(metrics)
    assert sorted(losses[0]) == ["block3", "block5"]
    for block in losses[0]:
        assert losses[-1][block] < losses[0][block]
    assert int(state.step) == 30
    for block in ("block1", "block2", "block4"):
        jax.tree.map(
            np.testing.assert_array_equal, state.params[block], start.params[block]
        )
    constants = state.params["block5"]["input"]
    np.testing.assert_array_equal(constants["std"], np.ones(vgg_layers.WIDTHS[4]))


def test_chains_lower_their_loss() -> None:
    vgg = jaxstyle.vgg.normalize(make_vgg())
    state, photos = init_state(make_decoder()), make_photos()
    schedule = Schedule(20, first=1e-2, warmup=1)
    step = jax.jit(partial(train_chain, level=3, schedule=schedule))
    losses = []
    for _ in range(20):
        state, metrics = step(state, photos, vgg)
        losses.append(metrics)
    assert sorted(losses[0]) == ["features3", "pixels3"]
    assert losses[-1]["pixels3"] < losses[0]["pixels3"]


def test_levels_are_drawn_by_seed_and_step() -> None:
    drawn = [draw_level((5, 4, 3), seed=0, step=step) for step in range(60)]
    assert set(drawn) == {3, 4, 5}
    assert drawn == [draw_level((5, 4, 3), seed=0, step=step) for step in range(60)]


def test_learning_rates_rise_and_fall() -> None:
    schedule = Schedule(1000, first=5e-4, last=1e-5, warmup=100)
    rates = [float(schedule.learning_rate(jnp.array(s))) for s in (0, 99, 500, 1000)]
    np.testing.assert_allclose(rates[0], 5e-6, rtol=1e-3)
    assert rates[1] == pytest.approx(5e-4, rel=0.03)
    assert rates[2] == pytest.approx(2.55e-4, rel=1e-3)
    assert rates[3] == pytest.approx(1e-5, rel=1e-3)


# --- the program --------------------------------------------------------------------


@pytest.fixture
def checkpoints_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_command, "SECONDS", 0.0)
    monkeypatch.setattr(decoder_command, "LOGGED", 2)


@pytest.mark.usefixtures("checkpoints_often")
def test_a_killed_run_goes_on_exactly(folder: Path) -> None:
    """It is killed after six steps of ten, and again in the second stage."""
    assert main([*TINY, "--steps", "10"]) == 0
    assert main([*TINY, "--steps", "4", "--stage", "chain"]) == 0
    shutil.move("run", "whole")
    for steps, options in ((10, ()), (4, ("--stage", "chain"))):
        command = [*TINY, "--steps", str(steps), *options]
        assert main([*command, "--hours", "1e-9"]) == 0
        stage = folder / "run" / (options[1] if options else "blocks")
        assert find_checkpoints(stage / "checkpoints")[-1] == 2
        assert main(command) == 0
        twin = folder / "whole" / stage.name
        for params in ("final.safetensors", "../decoder.safetensors"):
            if params.startswith("..") and stage.name == "blocks":
                continue
            jax.tree.map(
                np.testing.assert_array_equal,
                load_params(stage / params)[0],
                load_params(twin / params)[0],
            )
        assert without_times(stage / "metrics.jsonl") == without_times(
            twin / "metrics.jsonl"
        )


def test_a_run_leaves_a_decoder_and_its_pictures(folder: Path) -> None:
    assert main([*TINY, "--steps", "10"]) == 0
    params, metadata = load_decoder(folder / "run" / "decoder.safetensors")
    assert sorted(params) == [f"block{level}" for level in range(1, 6)]
    assert (metadata["stage"], metadata["step"]) == ("blocks", "10")
    assert len(metadata["psnr"].split()) == 5
    assert (folder / "run" / "blocks" / "sheet.png").exists()
    lines = without_times(folder / "run" / "blocks" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 10, 10]
    assert "psnr5" in lines[0]
    assert "block2" in lines[1]


PROBLEMS = {
    "no folder": (["--photos", "nowhere"], "no images in the folder nowhere"),
    "no image": (["--photos", "empty"], "no images in the folder empty"),
    "a wrong crop": (["--crop", "33"], "a multiple of 16"),
    "output among photographs": (["--out", "photos/run"], "within the photographs"),
    "photographs too small": (["--crop", "64"], "no photograph can be used"),
    "a chain without blocks": (["--stage", "chain"], "first train the blocks"),
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


@pytest.mark.parametrize(
    "options", [["--steps", "0"], ["--stage", "last"], ["--width", "-1"], []]
)
def test_wrong_arguments_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*TINY, *options] if options else [])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
