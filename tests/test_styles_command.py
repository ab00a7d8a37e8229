"""``jaxstyle styles``: the list, all about one style, and the styles that ship."""

import json
import re
import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import run
from safetensors import safe_open
from trained_nets import read_arguments, read_settings

from jaxstyle.cli.main import parse
from jaxstyle.cli.styles_command import list_commands
from jaxstyle.cli.train.training_inputs import choose_settings
from jaxstyle.files import load_painting
from jaxstyle.files.param_files import leaves
from jaxstyle.files.style_files import (
    load_style_file,
    load_style_header,
    save_style,
    shipped_paintings,
    shipped_styles,
)
from jaxstyle.nets.networks import NETWORKS, Network
from jaxstyle.nets.transform_net import net_shapes

Captured = pytest.CaptureFixture[str]

WAVE: dict[str, Any] = {
    "title": "The Great Wave off Kanagawa",
    "painter": "Katsushika Hokusai",
    "year": "1831",
    "command": "jaxstyle train --style great_wave.jpg -o great-wave "
    + "--size 9 " * 15,
    "losses": {
        "step": 40000,
        "validation_loss": 10.6929,
        "validation_content": 7.59688,
        "validation_style": 3.09597,
    },
    "steps": 40000,
    "settings": {"style": {"relu1_2": 8000.0}, "style_size": 320, "halve_every": None},
    "data": {"name": "photos", "photos": 1380},
    "versions": {"jax": "0.10.2"},
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose styles are those that ship."""
    (folder := tmp_path / "styles").mkdir()
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    return folder


def make_net(*, width: int) -> dict[str, Any]:
    """Return parameters of the right shapes, at once."""
    shapes = net_shapes(width=width, norm="affine", blocks=1)
    net: dict[str, Any] = jax.tree.map(
        np.ones, shapes, is_leaf=lambda x: isinstance(x, tuple)
    )
    return net


def save(path: Path, *, width: int = 1, **facts: Any) -> int:
    """Save a style and return the size of the file in bytes."""
    net = make_net(width=width)
    metadata = {key: json.dumps(value) for key, value in facts.items()}
    save_style(net, path, metadata=metadata)
    return path.stat().st_size


def printed(capsys: Captured, *arguments: str | Path) -> list[str]:
    """Return the lines that the command prints."""
    assert run(["styles", *arguments]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out.splitlines()


def refused(capsys: Captured, *arguments: str | Path) -> str:
    """Return the one line that the command is refused with."""
    assert run(["styles", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    return line


# --- the list -----------------------------------------------------------------------


def test_every_style_has_a_line(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Whole in a pipe, however long it is."""
    monkeypatch.delenv("COLUMNS", raising=False)  # parallel tests have it
    size = save(shipped / "great-wave.safetensors", width=3, **WAVE)
    save(shipped / "a.safetensors")
    megabytes = f"{size / 1e6:.1f}"
    heads = f"{'name':<12}{'title':<29}{'painter':<20}year  width   MB  steps   loss"
    none = f"{'a':<12}{'-':<29}{'-':<20}-         1  0.0      -      -"
    wave = f"great-wave  {WAVE['title']:<29}{WAVE['painter']:<20}1831      3  "
    assert printed(capsys) == [
        f"{heads}  content  style",
        f"{none}        -      -",
        f"{wave}{megabytes}  40000  10.69     7.60   3.10",
    ]


def test_short_names_need_little_room(shipped: Path, capsys: Captured) -> None:
    save(shipped / "u.safetensors", title="Udnie", painter="Picabia", year="1913")
    assert printed(capsys)[1].startswith("u     Udnie  Picabia  1913      1")


@pytest.mark.parametrize("columns", [*range(30, 120, 7), 1000])
def test_every_style_has_one_line_at_any_width(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    save(shipped / "great-wave.safetensors", width=3, **WAVE)
    save(shipped / "a.safetensors")
    lines = printed(capsys)
    assert [line.split()[0] for line in lines] == ["name", "a", "great-wave"]
    assert max(map(len, lines)) <= columns


def test_in_a_narrow_terminal_numbers_go_first_and_then_titles_are_cut(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    save(shipped / "great-wave.safetensors", width=3, **WAVE)
    monkeypatch.setenv("COLUMNS", "72")
    assert printed(capsys)[1] == (
        "great-wave  The Great Wave off Kanagawa  Katsushika Hokusai  1831      3"
    )
    monkeypatch.setenv("COLUMNS", "60")
    assert printed(capsys)[1] == (
        "great-wave  The Great Wave off Kana…  Katsushika Hoku…  1831"
    )


def test_all_that_is_known_is_printed_as_json(shipped: Path, capsys: Captured) -> None:
    save(shipped / "great-wave.safetensors", width=3, **WAVE)
    (line,) = printed(capsys, "--json")
    (facts,) = json.loads(line)
    assert WAVE.items() <= facts.items()
    assert facts["name"] == "great-wave"
    assert facts["kind"] == "net"
    assert facts["width"] == 3
    (line,) = printed(capsys, "great-wave", "--json")
    assert json.loads(line).items() < facts.items()


def test_where_nothing_ships_the_list_says_so(shipped: Path, capsys: Captured) -> None:
    assert refused(capsys) == (
        "jaxstyle styles: error: no style ships in this installation; make one with "
        "jaxstyle train or jaxstyle import"
    )


# --- one style ----------------------------------------------------------------------


def test_all_about_a_style_that_ships(shipped: Path, capsys: Captured) -> None:
    path = shipped / "great-wave.safetensors"
    size = save(path, width=3, **WAVE)
    assert printed(capsys, "great-wave") == [
        "title           The Great Wave off Kanagawa",
        "painter         Katsushika Hokusai",
        "year            1831",
        "steps           40000",
        "width           3",
        f"megabytes       {size / 1e6:.2f}",
        f"file            {path}",
        "format          jaxstyle-style",
        "format version  1",
        "",
        "data:",
        "  name    photos",
        "  photos  1380",
        "",
        "losses:",
        "  step                40000",
        "  validation loss     10.6929",
        "  validation content  7.59688",
        "  validation style    3.09597",
        "",
        "settings:",
        "  style        relu1_2=8000",
        "  style size   320",
        "  halve every  -",
        "",
        "versions:",
        "  jax  0.10.2",
        "",
        "command:",
        WAVE["command"],
    ]


def test_the_trainings_before_are_told_in_their_order(
    tmp_path: Path, capsys: Captured
) -> None:
    before = [{"command": "jaxstyle train -o a"}, {"command": "jaxstyle train -o b"}]
    facts = {**WAVE, "before": before, "command": "jaxstyle train --init b"}
    save(path := tmp_path / "wave.safetensors", **facts)
    assert printed(capsys, path)[-5:] == [
        "",
        "commands, one after another:",
        "jaxstyle train -o a",
        "jaxstyle train -o b",
        "jaxstyle train --init b",
    ]


def test_a_strangers_style_rules_no_terminal(tmp_path: Path, capsys: Captured) -> None:
    facts: dict[str, Any] = {
        "title": "A\x1b[2Jwave",
        "command": "a\nb",
        "before": [1, {"x": 2}],
    }
    save(path := tmp_path / "wave.safetensors", **facts)
    lines = printed(capsys, path)
    assert "title           A [2Jwave" in lines
    assert lines[-2:] == ["command:", "a b"]


def test_a_style_of_ones_own_may_hold_plain_text(
    tmp_path: Path, capsys: Captured
) -> None:
    net = make_net(width=2)
    note = " ".join(["brown-and-gold"] * 12)
    metadata = {"source": "wave.pth", "note": note, "report": '""', "names": '["a",2]'}
    save_style(net, tmp_path / "mine.safetensors", metadata=metadata)
    lines = printed(capsys, tmp_path / "mine.safetensors")
    assert "source          wave.pth" in lines
    assert "names           a, 2" in lines
    assert "report" in lines
    assert "width           2" in lines
    note_lines = [line for line in lines if "brown-and-gold" in line]
    assert len(note_lines) == 3
    assert max(map(len, note_lines)) <= 100
    assert note_lines[1].startswith(" " * 16 + "brown-and-gold ")


def test_of_another_network_no_width_is_told(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "curve", Network(apply=lambda params, x: x))
    path = tmp_path / "curve.safetensors"
    save_style({"gain": np.ones(3)}, path, metadata={"net": "curve"})
    lines = printed(capsys, path)
    assert not [line for line in lines if line.startswith("width")]
    train = f"train --data x --style y -o z --init {path}"
    with pytest.raises(ValueError, match=r"kind 'curve', not a transform net; choose"):
        choose_settings(parse(shlex.split(train))[1])


def test_a_style_that_is_nowhere_is_refused(shipped: Path, capsys: Captured) -> None:
    save(shipped / "wave.safetensors")
    assert refused(capsys, "wvae") == (
        "jaxstyle styles: error: no style wvae: did you mean wave? jaxstyle styles "
        "lists those that ship; or give an image of a painting, a file made by "
        "jaxstyle train or jaxstyle import, or hf:USER/REPO"
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "damaged or not safetensors"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds no style of this package's format"),
    ],
)
def test_a_file_that_is_no_style_is_refused(
    tmp_path: Path, capsys: Captured, content: bytes, named: str
) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert named in refused(capsys, tmp_path / "x.safetensors")


def test_a_truncated_style_is_refused(tmp_path: Path, capsys: Captured) -> None:
    save(path := tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert "damaged or not safetensors" in refused(capsys, path)


def test_a_folder_is_refused(tmp_path: Path, capsys: Captured) -> None:
    assert "it is not a file" in refused(capsys, tmp_path)


# --- what ships ---------------------------------------------------------------------

SHIPPED = shipped_styles()

PAINTINGS = shipped_paintings()

FACTS = (
    *("title", "painter", "year", "command", "before"),
    *("losses", "steps", "settings", "data"),
)


def texts(value: Any) -> Iterator[str]:
    """Yield the words of all texts in a value of JSON."""
    if isinstance(value, dict):
        yield from texts([*value, *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    else:
        yield from str(value).replace("=", " ").replace(",", " ").split()


def facts_of(name: str) -> dict[str, Any]:
    _, metadata = load_style_file(SHIPPED[name])
    marks = ("format", "format_version")
    return {key: json.loads(metadata[key]) for key in metadata if key not in marks}


def test_a_style_ships() -> None:
    assert SHIPPED


def test_the_list_of_what_ships_fits_80_columns(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys)
    assert max(map(len, lines)) <= 80
    heads = [line.split()[0] for line in lines if line and line[0] != " "]
    assert heads == ["name", *SHIPPED, "name", *PAINTINGS]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_net_is_small_and_whole(name: str) -> None:
    params, _ = load_style_file(SHIPPED[name])
    assert all(np.isfinite(array).all() for _, array in leaves(params))
    with safe_open(SHIPPED[name], framework="numpy") as file:
        types = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert types == {"F16"}
    assert SHIPPED[name].stat().st_size < 4e6


def test_paintings_ship() -> None:
    assert len(PAINTINGS) >= 30
    assert not PAINTINGS.keys() & SHIPPED.keys()


@pytest.mark.parametrize("name", PAINTINGS)
def test_a_shipped_painting_is_whole_and_known(name: str) -> None:
    _, facts = load_style_header(PAINTINGS[name])
    assert facts["title"].strip() == facts["title"] != ""
    painter = unicodedata.normalize("NFKD", facts["painter"]).encode("ascii", "ignore")
    assert name.split("-")[0] in painter.decode().lower()
    assert re.fullmatch("[0-9a-f]{64}", facts["source_sha256"])
    assert PAINTINGS[name].stat().st_size < 0.2e6
    for level in load_painting(name).values():
        assert np.isfinite(level.mean).all()
        assert np.linalg.eigvalsh(level.covariance).min() > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_of_a_shipped_style_all_is_known(name: str) -> None:
    facts = facts_of(name)
    assert set(FACTS) <= facts.keys()
    for key in ("title", "painter", "year"):
        assert facts[key].strip() == facts[key] != ""
    assert facts["steps"] > 0
    losses = facts["losses"]
    for part in ("loss", "content", "style"):
        assert 0 < losses[f"validation_{part}"] < np.inf
    assert facts["data"]["photos"] > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_the_commands_of_a_shipped_style_are_of_this_version(name: str) -> None:
    facts = facts_of(name)
    trainings, commands = [*facts["before"], facts], list_commands(facts)
    start = None
    pairs = zip(trainings, commands, strict=True)
    for at, (training, text) in enumerate(pairs, start=1):
        program, *words = shlex.split(text)
        assert program == "jaxstyle"
        command, arguments = parse(words)
        assert command == "train"
        assert arguments.output == (name if training is facts else f"{name}-{at}")
        assert arguments.data == training["data"]["name"]
        assert arguments.config.init == start
        # Defaults may change; a recorded command must not come to mean something else.
        config = replace(arguments.config, init=start and str(SHIPPED[name]))
        meant = choose_settings(replace(arguments, config=config))
        record = {key: json.dumps(training[key]) for key in ("settings", "command")}
        known = read_arguments(record, SHIPPED[name])
        found = read_settings(record, known, SHIPPED[name])
        assert replace(meant, summary="", init=None) == found
        start = f"{arguments.output}/style.safetensors"
        assert known["styles"] == list(arguments.styles)
        assert known["validation"] == arguments.validation


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_style_names_no_absolute_path(name: str) -> None:
    words = list(texts(facts_of(name)))
    assert len(words) > len(FACTS)
    assert [word for word in words if word.startswith(("/", "~/"))] == []
