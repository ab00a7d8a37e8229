"""Styles from the Hugging Face hub: fetched once, checked, and one line if not."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import run
from hub_repos import Hub
from hub_server import READER
from net_samples import quick_net

from jaxstyle import load_style, save_style
from jaxstyle.cli.loading import load_styles
from jaxstyle.cli.main import parse
from jaxstyle.cli.train.training_inputs import choose_settings
from jaxstyle.files.param_files import save_params
from jaxstyle.files.style_files import find_style, find_styles, load_style_file

Captured = pytest.CaptureFixture[str]

WAVE = "hf:alice/wave"


def style(folder: Path, seed: int = 0, **metadata: str) -> bytes:
    """Return the file of a narrow net."""
    save_style(quick_net(seed), folder / "x.safetensors", metadata=metadata)
    return (folder / "x.safetensors").read_bytes()


def put(hub: Hub, content: bytes, repo: str = "alice/wave", **options: Any) -> str:
    """Put a style on the hub as it is; return the commit."""
    return hub.add(repo, {"style.safetensors": content}, **options)


def refusal(name: str = WAVE) -> str:
    """Return the one line that a style is refused with."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        load_style(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fetched(hub: Hub) -> int:
    """Return how often the store has sent a file, and forget it."""
    sent = sum(
        path.startswith(hub.store_url) and method == "GET"
        for method, path, _ in hub.requests
    )
    hub.requests.clear()
    return sent


def process(**environment: str) -> tuple[int, str, str]:
    """Ask for all about a style in a process of its own: code, output, errors."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxstyle", "styles", WAVE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# --- what arrives -------------------------------------------------------------------


def test_a_style_arrives_bit_by_bit(hub: Hub, tmp_path: Path) -> None:
    put(hub, content := style(tmp_path, title='"A wave"', note="plain text"))
    path = find_style(WAVE)
    assert path.read_bytes() == content
    params, metadata = load_style_file(path)
    jax.tree.map(np.testing.assert_array_equal, params, quick_net())
    assert metadata["title"] == '"A wave"'
    assert metadata["note"] == "plain text"
    jax.tree.map(np.testing.assert_array_equal, params, load_style(WAVE))


def test_a_style_is_fetched_once_and_kept_in_the_cache_of_the_library(
    hub: Hub, tmp_path: Path
) -> None:
    commit = put(hub, style(tmp_path))
    folder = Path(os.environ["HF_HOME"], "hub", "models--alice--wave", "snapshots")
    assert find_style(WAVE) == folder / commit / "style.safetensors"
    assert fetched(hub) == 1
    load_style(WAVE)
    assert [method for method, _, _ in hub.requests] == ["HEAD"]


def test_nothing_but_the_style_is_fetched(hub: Hub, tmp_path: Path) -> None:
    files = {"style.safetensors": style(tmp_path), "model.pkl": b"x", "README.md": b"x"}
    hub.add("alice/wave", files)
    load_style(WAVE)
    assert {path.rpartition("/")[2] for _, path, _ in hub.requests} == {
        "style.safetensors",
        hub.repos["alice/wave"].files()["style.safetensors"].digest,  # type: ignore[index]
    }


def test_a_newer_style_is_noticed(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path))
    load_style(WAVE)
    put(hub, newer := style(tmp_path, seed=1))
    assert find_style(WAVE).read_bytes() == newer


def test_a_revision_stays(hub: Hub, tmp_path: Path) -> None:
    first = put(hub, older := style(tmp_path))
    hub.repos["alice/wave"].branches["v1.0"] = first
    put(hub, newer := style(tmp_path, seed=1))
    for revision, expected in (("main", newer), ("v1.0", older), (first, older)):
        assert find_style(f"{WAVE}@{revision}").read_bytes() == expected
    hub.requests.clear()
    load_style(f"{WAVE}@{first}")
    assert hub.requests == []


def test_a_private_style_arrives_with_a_token_that_the_store_never_sees(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, content := style(tmp_path), private=True)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert find_style(WAVE).read_bytes() == content
    seen = {path.startswith(hub.store_url): token for _, path, token in hub.requests}
    assert seen == {False: READER, True: ""}


# --- without a network --------------------------------------------------------------


def test_a_hub_that_is_down_does_not_matter_once_it_is_cached(
    hub: Hub, tmp_path: Path
) -> None:
    put(hub, content := style(tmp_path))
    load_style(WAVE)
    hub.status = 503
    assert find_style(WAVE).read_bytes() == content


def test_what_is_cached_works_without_a_network(hub: Hub, tmp_path: Path) -> None:
    commit = put(hub, style(tmp_path, title='"A wave"'))
    load_style(WAVE)
    hub.requests.clear()
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": nobody()}):
        code, output, errors = process(**environment)
        assert (code, errors) == (0, "")
        assert "title           A wave\n" in output
        assert commit in output
    assert hub.requests == []


def test_without_a_network_one_line_says_so_at_once(hub: Hub) -> None:
    start = time.monotonic()
    code, output, errors = process(HF_ENDPOINT=(address := nobody()))
    assert time.monotonic() - start < 10
    assert (code, output) == (2, "")
    (line,) = errors.splitlines()
    assert f"cannot fetch {WAVE}: cannot reach {address}" in line
    code, output, errors = process(HF_HUB_OFFLINE="1")
    assert (code, output) == (2, "")
    (line,) = errors.splitlines()
    assert "HF_HUB_OFFLINE" in line


def nobody() -> str:
    """Return an address at which nobody listens."""
    return "http://127.0.0.1:9"


# --- what is refused ----------------------------------------------------------------


def test_a_repository_that_is_missing_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refusal()
    assert line.startswith(f"cannot fetch {WAVE}: the hub answers 401, Invalid user")
    assert "no such repository, or one that needs a valid token: set HF_TOKEN" in line
    monkeypatch.setenv("HF_TOKEN", READER)
    assert "404, Repository not found; no such repository" in refusal()


def test_a_private_repository_needs_a_token(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path), private=True)
    assert "needs a valid token: set HF_TOKEN, or log in with" in refusal()


def test_a_token_that_is_wrong_is_told(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hub, style(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the hub answers 401, Invalid username or password; " in refusal()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (403, "the hub answers 403, Not now; the token may not do that"),
        (502, "the hub answers 502, Not now"),
        (500, "the hub answers 500, Not now"),
    ],
)
def test_what_the_hub_answers_is_told_at_once(hub: Hub, status: int, line: str) -> None:
    hub.status = status
    assert refusal() == f"cannot fetch {WAVE}: {line}"
    assert len(hub.requests) == 1


def test_a_store_that_refuses_is_told(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path))
    hub.store_status = 403
    assert f"cannot fetch {WAVE}: the hub answers 403" in refusal()


def test_a_revision_or_a_file_that_is_missing_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.add("alice/wave", {"model.safetensors": style(tmp_path)})
    assert refusal(f"{WAVE}@v2") == f"cannot fetch {WAVE}@v2: there is no such revision"
    missing = "there is no style.safetensors, which jaxstyle push writes"
    assert refusal() == f"cannot fetch {WAVE}: {missing}"


@pytest.mark.parametrize(
    "name",
    [
        *("hf:", "hf:wave", "hf:/wave", "hf:alice/", "hf:a/b/c", "hf://alice/wave"),
        *("hf:alice/a wave", "hf:alice/../x", "hf:alice/wave.git", "hf:alice/a--b"),
    ],
)
def test_a_malformed_name_is_refused_unasked(hub: Hub, name: str) -> None:
    line = refusal(name)
    assert f"no repository {name.removeprefix('hf:')!r} on the hub" in line
    assert "expected USER/REPO" in line
    assert hub.requests == []


def test_a_revision_may_not_be_empty(hub: Hub) -> None:
    assert "expected hf:USER/REPO@REVISION" in refusal(f"{WAVE}@")


def test_a_damaged_style_is_refused(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path)[:-1])
    line = refusal()
    assert "damaged or not safetensors" in line
    assert "models--alice--wave" in line


def test_parameters_of_something_else_are_refused(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_params({"encoder": {"kernel": np.ones(3)}}, path, metadata={"format": "pt"})
    put(hub, path.read_bytes())
    assert "holds no style of this package's format" in refusal()
    net = quick_net()
    marks = {"format": "jaxstyle-style", "format_version": "1"}
    net["conv1"]["kernel"][0] = np.nan
    save_params(net, path, metadata=marks)
    put(hub, path.read_bytes())
    assert "conv1/kernel holds NaN or infinite values" in refusal()


class _Trap:
    """What creates a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


def test_a_pickle_is_never_opened(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(trap := pickle.dumps(_Trap()))
    Path("sprung").unlink()
    put(hub, trap)
    assert "damaged or not safetensors" in refusal()
    assert not Path("sprung").exists()


def test_without_the_library_one_line_says_what_to_install(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = "styles on the Hugging Face hub need the package huggingface_hub: "
    assert refusal() == f"{line}pip install huggingface_hub"
    assert run(["styles", WAVE]) == 2
    assert capsys.readouterr() == (
        "",
        f"jaxstyle styles: error: {line}pip install huggingface_hub\n",
    )


# --- wherever a style is taken ------------------------------------------------------


def test_pictures_get_the_name_of_the_repository(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path), "alice/ocean.v2")
    put(hub, style(tmp_path, seed=1), "a-b/udnie")
    styles = load_styles(["hf:alice/ocean.v2", "hf:a-b/udnie", "great-wave-8"])
    assert [each.name for each in styles] == ["ocean.v2", "udnie", "great-wave-8"]
    for seed, each in enumerate(styles[:2]):
        jax.tree.map(np.testing.assert_array_equal, each.params, quick_net(seed))


def test_two_names_for_one_style_are_one(hub: Hub, tmp_path: Path) -> None:
    commit = put(hub, style(tmp_path))
    assert len(find_styles([WAVE, f"{WAVE}@{commit}", WAVE])) == 1


def test_a_style_is_exported(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(hub, style(tmp_path))
    assert run(["export", WAVE, "-o", "hub.onnx"]) == 0
    assert run(["export", "x.safetensors", "-o", "file.onnx"]) == 0
    assert Path("hub.onnx").read_bytes() == Path("file.onnx").read_bytes()


def test_a_training_starts_from_a_style(hub: Hub, tmp_path: Path) -> None:
    put(hub, style(tmp_path))
    words = ["train", "--style", "x.png", "-o", "run", "--init", WAVE]
    assert choose_settings(parse(words)[1]).width == 4


def test_all_about_a_style_is_told(hub: Hub, tmp_path: Path, capsys: Captured) -> None:
    put(hub, style(tmp_path, title='"A wave"', painter='"Eve\\u001b[2J"', before="3"))
    assert run(["styles", WAVE]) == 0
    printed = capsys.readouterr().out
    assert "title           A wave\n" in printed
    assert "width           4\n" in printed
    assert "painter         Eve [2J\n" in printed  # nothing that clears the screen
