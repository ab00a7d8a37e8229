"""A finished training becomes a style that ships, and can be made again elsewhere."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ship_style
from command_line import run
from provenance import check_no_paths, make_command, portable_arguments
from safetensors.numpy import load_file
from training_runs import TINY, save_data

from jaxstyle.cli.main import parse
from jaxstyle.cli.options import describe_options
from jaxstyle.files.param_files import digest_params, leaves
from jaxstyle.files.style_files import load_style_file, save_style

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("plain_convolutions")

ABOUT = ("--title", "The Wave", "--painter", "Hokusai", "--year", "about 1831")

STEPS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    save_data(folder := tmp_path_factory.mktemp("data"))
    return folder


@pytest.fixture(scope="module")
def finished(data: Path) -> Path:
    """Return the folder of a run whose arguments are full of paths."""
    paths = ("--style", str(data / "style.png"), "--data", str(data / "photos"))
    steps = ("--steps", str(STEPS), "--validate-every", "2", "--quiet")
    output = data / "run"
    assert run(["train", *TINY, *paths, "-o", output, *steps]) == 0
    return output


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ship(*arguments: str | Path) -> int:
    return ship_style.main(["--output", "styles", *ABOUT, *map(str, arguments)])


def refused(capsys: Captured, *arguments: str | Path) -> str:
    """Return the line of a run that must write nothing."""
    assert ship(*arguments) == 2
    assert not list(Path().iterdir())
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("ship_style: error: ")
    return line


def facts_of(path: str) -> dict[str, Any]:
    _, metadata = load_style_file(path)
    marks = ("format", "format_version")
    return {key: json.loads(metadata[key]) for key in metadata if key not in marks}


def changed(finished: Path, **facts: Any) -> Path:
    """Return the folder of a run like another, with other metadata, or less if None."""
    folder = Path("../changed")
    folder.mkdir(exist_ok=True)
    params, metadata = load_style_file(finished / "style.safetensors")
    texts = {**metadata, **{key: json.dumps(value) for key, value in facts.items()}}
    kept = {key: texts[key] for key in texts if facts.get(key, "") is not None}
    save_style(params, folder / "style.safetensors", metadata=kept)
    metrics = (finished / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(metrics)
    return folder


# --- what is written ----------------------------------------------------------------


def test_a_run_becomes_a_style(finished: Path, capsys: Captured) -> None:
    assert ship(finished, "the-wave") == 0
    size, halves, levels, command = capsys.readouterr().out.splitlines()
    path = Path("styles/the-wave.safetensors")
    assert size == f"{path}: {path.stat().st_size / 1e6:.2f} MB"
    assert halves == "69 of 69 arrays are in float16"
    assert levels.startswith("float16 changes the levels of astronaut.jpg by ")
    facts = facts_of(str(path))
    assert facts["command"] == command
    assert facts["title"] == "The Wave"
    assert facts["painter"] == "Hokusai"
    assert facts["year"] == "about 1831"
    assert facts["steps"] == facts["losses"]["step"] == STEPS
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert facts["losses"] == {key: last[key] for key in last if key != "time"}
    assert {"validation_loss", "validation_content", "validation_style"} < last.keys()
    photos = {"name": "photos", "photos": 9, "held_out": 3}
    assert facts["data"].items() > photos.items()
    assert facts["settings"]["style_size"] == 24
    assert facts["versions"]["jax"]


def test_the_net_is_that_of_the_run_in_half_precision(finished: Path) -> None:
    assert ship(finished, "the-wave") == 0
    trained = load_file(finished / "style.safetensors")
    shipped = load_file("styles/the-wave.safetensors")
    assert shipped.keys() == trained.keys()
    for name, array in trained.items():
        assert shipped[name].dtype == np.float16
        np.testing.assert_array_equal(shipped[name], array.astype(np.float16))


def test_no_path_of_the_machine_is_in_the_file(finished: Path) -> None:
    assert ship(finished, "the-wave") == 0
    content = Path("styles/the-wave.safetensors").read_bytes()
    assert str(finished.parent).encode() not in content
    assert str(Path.home()).encode() + b"/" not in content
    _, metadata = load_style_file("styles/the-wave.safetensors")
    assert not any("/" in text for text in metadata.values())


def test_the_command_makes_the_same_net(
    finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ship(finished, "the-wave") == 0
    program, *words = shlex.split(facts_of("styles/the-wave.safetensors")["command"])
    assert program == "jaxstyle"
    monkeypatch.chdir(data)
    assert run([*words, "--quiet"]) == 0
    again, _ = load_style_file("the-wave/style.safetensors")
    original, _ = load_style_file(finished / "style.safetensors")
    found = dict(leaves(again))
    for name, array in leaves(original):
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture(scope="module")
def from_shipped(finished: Path, data: Path) -> Path:
    """Return the folder of a run that started from a style that was shipped."""
    styles, output = data / "styles", data / "second"
    assert ship(finished, "the-sea", "--output", styles) == 0
    paths = ("--style", data / "style.png", "--data", data / "photos", "-o", output)
    start = ("--init", styles / "the-sea.safetensors")
    steps = ("--steps", "1", "--validate-every", "1", "--quiet")
    assert run(["train", *TINY, *paths, *start, *steps]) == 0
    return output


def test_the_trainings_before_are_kept(from_shipped: Path, capsys: Captured) -> None:
    assert ship(from_shipped, "the-wave") == 0
    first, last = capsys.readouterr().out.splitlines()[-2:]
    facts = facts_of("styles/the-wave.safetensors")
    (before,) = facts["before"]
    assert before["command"] == first
    assert before["steps"] == before["losses"]["step"] == STEPS
    assert facts["command"] == last
    options = [shlex.split(command) for command in (first, last)]
    assert [words[words.index("-o") + 1] for words in options] == [
        "the-wave-1",
        "the-wave",
    ]
    assert "--init" not in options[0]
    start = options[1][options[1].index("--init") + 1]
    assert start == "the-wave-1/style.safetensors"


def test_the_trainings_before_those_are_kept(from_shipped: Path) -> None:
    assert ship(from_shipped, "the-wave") == 0
    shipped = Path("styles/the-wave.safetensors")
    digest = digest_params(load_style_file(shipped)[0])
    third = changed(from_shipped, start=digest)
    assert ship(third, "the-gulf", "--start", shipped) == 0
    facts = facts_of("styles/the-gulf.safetensors")
    folders = ["the-gulf-1", "the-gulf-2", "the-gulf"]
    commands = [*(each["command"] for each in facts["before"]), facts["command"]]
    assert len(commands) == len(folders)
    for command, folder in zip(commands, folders, strict=True):
        assert f"-o {folder} " in command
    for command, start in zip(commands[1:], folders, strict=False):
        assert f"--init {start}/style.safetensors" in command


def test_another_start_is_refused(from_shipped: Path, capsys: Captured) -> None:
    wrong = from_shipped / "style.safetensors"
    line = refused(capsys, from_shipped, "the-wave", "--start", wrong)
    assert "is not the net that the training started from: its digest is" in line


def test_a_start_may_be_the_net_of_a_run(finished: Path, from_shipped: Path) -> None:
    start = finished / "style.safetensors"
    folder = changed(from_shipped, start=digest_params(load_style_file(start)[0]))
    assert ship(folder, "the-wave", "--start", start) == 0
    (before,) = facts_of("styles/the-wave.safetensors")["before"]
    assert ship(finished, "the-wave-1") == 0
    alone = facts_of("styles/the-wave-1.safetensors")
    assert before == {key: alone[key] for key in before}


def test_a_run_that_was_interrupted_has_the_steps_that_it_made(finished: Path) -> None:
    assert ship(changed(finished, steps=2), "the-wave") == 0
    facts = facts_of("styles/the-wave.safetensors")
    assert facts["steps"] == facts["settings"]["steps"] == 2
    assert "--steps 2" in facts["command"]


def test_photos_may_have_moved(finished: Path, data: Path, tmp_path: Path) -> None:
    options = json.loads((finished / "settings.json").read_text())["arguments"]
    moved = changed(finished, arguments={**options, "data": "/gone/pictures"})
    assert ship(moved, "the-wave", "--data", data / "photos") == 0
    facts = facts_of("styles/the-wave.safetensors")
    assert facts["data"]["name"] == "photos"
    assert "--data photos" in facts["command"]


# --- the command line ---------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--data photos --width 16 --norm instance --precision bfloat16",
        "--style-weight 1e5 --content-weight 0.5 --tv-weight 1e-06",
        "--style-weight relu1_2=1e4,relu2_2=0.25 --blend 1,0.5",
        "--blend relu1_1=1:0,relu2_1=2:1 --learning-rate 0.0015 --seed 7",
        "--style 'two words.jpg' 'it'\"'\"'s.png' --vgg vgg19 --init great-wave",
        "--preset default --steps 100 --validation 16 --size 160",
    ],
)
def test_a_command_line_is_found_again(options: str) -> None:
    words = shlex.split(f"train --style wave.jpg -o the-wave {options}")
    _, arguments = parse(words)
    program, *again = shlex.split(make_command(describe_options(arguments)))
    assert program == "jaxstyle"
    found = parse(again)[1]
    assert found.config == arguments.config
    assert describe_options(found) == describe_options(arguments)


def test_a_command_line_says_only_what_is_no_default() -> None:
    words = "train --style wave.jpg -o x --seed 0 --validation 32 --resume --quiet"
    _, arguments = parse(shlex.split(f"{words} --data-dir /data"))
    command = make_command(describe_options(arguments))
    assert command == "jaxstyle train --style wave.jpg -o x"


def test_files_are_called_by_their_base_names() -> None:
    words = "train --style /a/b.jpg ../c.jpg -o /runs/x --vgg ~/v.safetensors"
    _, parsed = parse([*words.split(), "--init", "y/style.safetensors"])
    record = {
        "arguments": describe_options(parsed),
        "settings": {"steps": 9},
        "steps": 9,
    }
    arguments = portable_arguments(record, output="x", data="coco/2014")
    assert make_command(arguments) == (
        "jaxstyle train --style b.jpg c.jpg -o x --init style.safetensors "
        "--vgg v.safetensors"
    )


def test_a_record_may_be_older_than_an_option() -> None:
    arguments = {"styles": ["a.jpg"], "output": "x", "data": "coco/2014"}
    assert make_command(arguments) == "jaxstyle train --style a.jpg -o x"


@pytest.mark.parametrize(
    "value",
    ["/data", "see /data/x", "a=/x", "~/x", {"a": ["b", "/x"]}, {"/x": 1}, "file:/x/y"],
)
def test_an_absolute_path_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the settings would hold the path ~?/"):
        check_no_paths({"title": "x", "settings": value})


def test_other_slashes_are_no_paths() -> None:
    check_no_paths({"a": "coco/2014", "b": {"c": ["../x", 3, None, "sea / sky", "~9"]}})


# --- float16 ------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[0.1, -3.7, 1e-9], [6e4, 1], [0], [1e-3, 3e-5]])
def test_float16_holds_what_nets_are_made_of(values: list[float]) -> None:
    assert ship_style.to_half(np.array(values, np.float32)).dtype == np.float16


@pytest.mark.parametrize("values", [[7e4, 1], [1e-8, 2e-8], [1e-6, 1.03e-6]])
def test_float32_stays_where_float16_would_lose_the_values(values: list[float]) -> None:
    array = np.array(values, np.float32)
    assert ship_style.to_half(array) is array


def test_what_stays_in_float32_is_told(finished: Path, capsys: Captured) -> None:
    params, metadata = load_style_file(finished / "style.safetensors")
    large = {**params["conv3"], "bias": np.full(8, 1e5, np.float32)}
    folder = changed(finished)
    path = folder / "style.safetensors"
    save_style({**params, "conv3": large}, path, metadata=metadata)
    assert ship(folder, "the-wave") == 0
    told = capsys.readouterr().out.splitlines()[1:3]
    assert told == [
        "68 of 69 arrays are in float16",
        "in float32, since float16 can not hold them: conv3/bias",
    ]
    assert load_file("styles/the-wave.safetensors")["conv3/bias"].dtype == np.float32


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["all", "The-Wave", "the_wave", "-wave", "../wave", ""]
)
def test_a_bad_name_is_refused(finished: Path, capsys: Captured, name: str) -> None:
    if name.startswith("-"):  # which argparse would take for an option
        with pytest.raises(ValueError, match="lower-case words"):
            ship_style.check_name(name)
        return
    assert f"got {name!r}" in refused(capsys, finished, name)


def test_other_photos_are_refused(finished: Path, data: Path, capsys: Captured) -> None:
    line = refused(capsys, finished, "the-wave", "--data", data)
    assert "is not what the run was trained on: its fingerprint is" in line


def test_a_style_without_a_record_is_refused(finished: Path, capsys: Captured) -> None:
    folder = changed(finished, arguments=None, versions=None)
    line = refused(capsys, folder, "the-wave")
    assert "does not hold arguments, versions; expected what jaxstyle train has" in line


def test_a_run_without_validation_is_refused(finished: Path, capsys: Captured) -> None:
    folder = changed(finished)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert "there is no validation in" in refused(capsys, folder, "the-wave")


def test_a_path_in_a_title_is_refused(finished: Path, capsys: Captured) -> None:
    line = refused(capsys, finished, "the-wave", "--title", "/wave")
    assert "the title would hold the path /wave" in line
