"""``jaxstyle push``: what arrives on the hub, and one line if nothing does."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import run
from hub_repos import Hub
from hub_server import READER, WRITER
from image_samples import smooth
from net_samples import quick_net
from PIL import Image

from jaxstyle import load_image, save_style, stylize
from jaxstyle.cli import push_command
from jaxstyle.cli.push_command import EXAMPLE
from jaxstyle.files.image_files import example_photos
from jaxstyle.files.style_files import load_style_file

Captured = pytest.CaptureFixture[str]

FILES = {"style.safetensors", "README.md", "example.jpg"}

PHOTO = smooth(20, 24)
"""The example photo, made small."""

ABOUT: dict[str, Any] = {
    "title": "A wave",
    "painter": "Eve",
    "command": "jaxstyle train -o wave",
}

pytestmark = [
    pytest.mark.usefixtures("plain_convolutions"),
    # huggingface_hub puts files as httpx no longer likes it.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with a style, hold a token that may write, and paint little."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setattr(push_command, "load_image", lambda _: PHOTO)
    monkeypatch.setattr(push_command, "use_compilation_cache", lambda: None)
    save("wave.safetensors", **ABOUT)


def save(path: str, seed: int = 0, **facts: Any) -> None:
    metadata = {key: json.dumps(value) for key, value in facts.items()}
    save_style(quick_net(seed), path, metadata=metadata)


def pushed(hub: Hub, *options: str) -> dict[str, bytes]:
    """Push the style; return the files of the repository, which is the only one."""
    assert run(["push", "wave.safetensors", "alice/wave", *options]) == 0
    (repo,) = hub.repos.values()
    return {name: file.content for name, file in (repo.files() or {}).items()}


def refusal(hub: Hub, capsys: Captured, *arguments: str) -> str:
    """Return the one line of a push after which no repository has a commit."""
    assert run(["push", *(arguments or ("wave.safetensors", "alice/wave"))]) == 2
    assert not any(repo.commits for repo in hub.repos.values())
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle push: error: ")
    return line.removeprefix("jaxstyle push: error: ")


# --- what arrives -------------------------------------------------------------------


def test_a_style_arrives_with_a_card_and_a_picture(hub: Hub, capsys: Captured) -> None:
    files = pushed(hub)
    assert files.keys() == FILES
    (commit,) = hub.repos["alice/wave"].commits
    assert not hub.repos["alice/wave"].private
    told = f"{hub.url}/alice/wave: pushed as {commit[:7]}; use it as --style "
    assert capsys.readouterr() == (f"{told}hf:alice/wave\n", "")
    assert files["style.safetensors"] == Path("wave.safetensors").read_bytes()
    assert b"# A wave\n" in files["README.md"]


def test_large_files_are_put_where_the_hub_says_and_text_into_the_commit(
    hub: Hub,
) -> None:
    pushed(hub)
    found = hub.repos["alice/wave"].files() or {}
    large = {name: file.digest for name, file in found.items() if file.large}
    assert large.keys() == FILES - {"README.md"}
    put = {path for method, path, _ in hub.requests if method == "PUT"}
    assert put == {f"{hub.store_url}/{digest}" for digest in large.values()}
    tokens = {path.startswith(hub.store_url): token for _, path, token in hub.requests}
    assert tokens == {False: WRITER, True: ""}


def test_it_comes_back_bit_by_bit_with_all_that_it_records(hub: Hub) -> None:
    pushed(hub)
    assert run(["push", "hf:alice/wave", "alice/again"]) == 0
    first, again = (repo.files() for repo in hub.repos.values())
    assert first is not None
    assert again is not None
    assert first["style.safetensors"] == again["style.safetensors"]
    Path("back.safetensors").write_bytes(again["style.safetensors"].content)
    params, metadata = load_style_file("back.safetensors")
    expected, recorded = load_style_file("wave.safetensors")
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert metadata == recorded
    assert {key: json.loads(metadata[key]) for key in ABOUT} == ABOUT


def test_the_picture_is_the_photo_in_this_very_style(hub: Hub) -> None:
    with Image.open(io.BytesIO(pushed(hub)["example.jpg"])) as picture:
        found = np.asarray(picture) / 255
    differences = [
        np.abs(found - np.clip(jax.jit(stylize)(quick_net(seed), PHOTO), 0, 1)).mean()
        for seed in (0, 1)
    ]
    assert differences[0] < 0.02  # what JPEG costs
    assert differences[1] > 0.1


def test_the_photo_is_an_example_of_the_package_and_small() -> None:
    (path,) = (path for path in example_photos() if path.stem == EXAMPLE)
    assert max(load_image(path).shape) < 600


def test_the_code_of_the_card_runs(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    card = pushed(hub)["README.md"].decode()
    (snippet,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    Image.fromarray(np.rint(PHOTO * 255).astype(np.uint8)).save("photo.jpg")
    exec(compile(snippet, "card", "exec"), {})
    with Image.open("picture.png") as picture:
        assert picture.size == (24, 20)
    shell, *_ = re.findall(r"^```sh\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    install, *lines = shell.splitlines()
    assert install.startswith("pip install '.[hub]'")
    capsys.readouterr()
    assert [run(line.split()[1:]) for line in lines] == [0, 0]
    assert "painter         Eve\n" in capsys.readouterr().out


def test_the_same_again_makes_no_commit(hub: Hub, capsys: Captured) -> None:
    pushed(hub)
    first = capsys.readouterr().out
    pushed(hub)
    assert capsys.readouterr().out == first
    assert len(hub.repos["alice/wave"].commits) == 1


def test_a_better_net_replaces_the_first_and_other_files_stay(hub: Hub) -> None:
    hub.add("alice/wave", {"README.md": b"mine", "notes.txt": b"notes"})
    pushed(hub)
    save("wave.safetensors", seed=1, title="A storm")
    files = pushed(hub)
    assert len(hub.repos["alice/wave"].commits) == 3
    assert files.keys() == FILES | {"notes.txt"}
    assert files["style.safetensors"] == Path("wave.safetensors").read_bytes()
    assert b"# A storm\n" in files["README.md"]


def test_a_style_that_ships_is_pushed_by_name(hub: Hub) -> None:
    assert run(["push", "great_wave_8", "hf:alice/wave"]) == 0
    files = hub.repos["alice/wave"].files() or {}
    assert b"Katsushika Hokusai" in files["README.md"].content


# --- options ------------------------------------------------------------------------


def test_private_hides_the_repository(hub: Hub) -> None:
    pushed(hub, "--private")
    assert hub.repos["alice/wave"].private
    pushed(hub, "--private")


def test_private_does_not_publish_in_a_repository_that_is_public(
    hub: Hub, capsys: Captured
) -> None:
    commit = hub.add("alice/wave", {"README.md": b"x"})
    assert run(["push", "wave.safetensors", "alice/wave", "--private"]) == 2
    assert "alice/wave is there already, and public; leave out --private" in (
        capsys.readouterr().err
    )
    assert [*hub.repos["alice/wave"].commits] == [commit]
    assert hub.store == {}


def test_a_license_is_stated(hub: Hub) -> None:
    assert (
        b"\nlicense: cc-by-4.0\n" in pushed(hub, "--license", "cc-by-4.0")["README.md"]
    )


def test_a_card_of_ones_own_is_taken_as_it_is(hub: Hub) -> None:
    card = "---\nlicense: mit\n---\n# Mine, with an é\n"
    Path("mine.md").write_text(card, encoding="utf-8")
    assert pushed(hub, "--card", "mine.md")["README.md"].decode() == card


def test_paths_that_become_public_are_told(hub: Hub, capsys: Captured) -> None:
    arguments = {"data": "/home/eve/photos", "output": "runs/wave", "init": "~/a.b"}
    save("wave.safetensors", arguments=arguments, source="https://example.org/x")
    files = pushed(hub)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("whoever may fetch it sees them: /home/eve/photos, ~/a.b")
    assert b"eve" not in files["README.md"]


# --- what is refused ----------------------------------------------------------------


def test_without_a_token_nothing_is_asked(
    hub: Hub, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert refusal(hub, capsys) == (
        "no token for the Hugging Face hub: set HF_TOKEN, or log in with: hf auth login"
    )
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "repo", "line"),
    [
        ("hf_wrong", "alice/wave", "401, Invalid username or password; "),
        (READER, "alice/wave", "403, You don't have the rights to write to the names"),
        (WRITER, "bob/wave", "403, You don't have the rights to write to the names"),
    ],
)
def test_a_token_that_may_not_write_is_told(
    hub: Hub,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    repo: str,
    line: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    found = refusal(hub, capsys, "wave.safetensors", repo)
    assert found.startswith(f"cannot push to {repo}: the hub answers {line}")
    assert hub.repos == {}


def test_a_repository_of_somebody_else_is_left_alone(
    hub: Hub, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("alice/wave", {"README.md": b"x"})
    monkeypatch.setenv("HF_TOKEN", READER)
    assert run(["push", "wave.safetensors", "alice/wave"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot push to alice/wave: the hub answers 403" in line
    assert len(hub.repos["alice/wave"].commits) == 1


def test_a_hub_that_is_down_is_told(hub: Hub, capsys: Captured) -> None:
    hub.status = 500
    assert refusal(hub, capsys) == (
        "cannot push to alice/wave: the hub answers 500, Not now"
    )


def test_a_store_that_refuses_is_told(hub: Hub, capsys: Captured) -> None:
    hub.store_status = 403
    line = refusal(hub, capsys)
    assert line.startswith("cannot push to alice/wave: the hub answers 403, Not now")
    assert line.endswith("; the repository is there, and may have no files")


def test_without_a_network_one_line_says_so(
    hub: Hub, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    line = refusal(hub, capsys)
    assert "cannot push to alice/wave: cannot reach http://127.0.0.1:9 (" in line


@pytest.mark.parametrize("repo", ["wave", "alice/a/b", "alice/wave@main", "/wave", ""])
def test_a_malformed_repository_is_refused(
    hub: Hub, capsys: Captured, repo: str
) -> None:
    line = refusal(hub, capsys, "wave.safetensors", repo)
    assert line.startswith(f"no repository {repo!r} on the hub: expected USER/REPO")
    assert hub.requests == []


def test_what_is_no_style_is_not_pushed(hub: Hub, capsys: Captured) -> None:
    assert "no style wvae: jaxstyle styles lists" in refusal(
        hub, capsys, "wvae", "alice/wave"
    )
    content = Path("wave.safetensors").read_bytes()
    Path("wave.safetensors").write_bytes(content[:-1])
    assert "damaged or not safetensors" in refusal(hub, capsys)
    assert hub.requests == []


def test_a_card_that_cannot_be_read_is_named(hub: Hub, capsys: Captured) -> None:
    command = ("wave.safetensors", "alice/wave", "--card", "card.md")
    line = refusal(hub, capsys, *command)
    assert line == "cannot read the card card.md: No such file or directory"
    Path("card.md").write_bytes(b"\xff")
    assert "it is not text in UTF-8" in refusal(hub, capsys, *command)


def test_a_license_that_the_hub_does_not_know_is_told(
    hub: Hub, capsys: Captured
) -> None:
    command = ("wave.safetensors", "alice/wave", "--license", "nonsense")
    line = refusal(hub, capsys, *command)
    assert "Invalid metadata in README.md" in line
    assert '"license" must be one of' in line


def test_a_license_is_for_the_made_card_only(hub: Hub, capsys: Captured) -> None:
    options = ("--license", "mit", "--card", "card.md")
    line = refusal(hub, capsys, "wave.safetensors", "alice/wave", *options)
    assert "--card: not allowed with argument --license" in line


def test_without_the_library_one_line_says_what_to_install(
    hub: Hub, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refusal(hub, capsys).endswith(": pip install huggingface_hub")
