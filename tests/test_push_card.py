"""Model cards: valid for the hub, and nothing in them that no style records."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from net_samples import quick_net

from jaxstyle.cli.push_command import find_paths, make_card
from jaxstyle.cli.styles_command import list_commands, load_facts
from jaxstyle.files.style_files import save_style, shipped_styles

SHIPPED = shipped_styles()

TAGS = ["jax", "jaxstyle", "style-transfer", "neural-style-transfer"]

KNOWN = {"library_name": "jaxstyle", "pipeline_tag": "image-to-image", "tags": TAGS}


def card_of(tmp_path: Path, *, license: str | None = None, **facts: Any) -> ModelCard:
    """Return the card of a net with metadata, as huggingface_hub reads it."""
    metadata = {key: json.dumps(value) for key, value in facts.items()}
    save_style(quick_net(), path := tmp_path / "x.safetensors", metadata=metadata)
    card = make_card(load_facts(path), repo="alice/blue-wave", license=license)
    return ModelCard(card)


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    form = rf"^(`{{3,}}){language}\n(.*?)\n\1$"
    return [code for _, code in re.findall(form, text, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_of_a_style_that_ships_tells_all_it_records(name: str) -> None:
    facts = load_facts(SHIPPED[name])
    card = ModelCard(make_card(facts, repo="alice/x", license=None))
    assert card.data.to_dict() == KNOWN
    assert f"\n# {facts['title']}\n" in card.text
    style = f"*{facts['title']}* by {facts['painter']} ({facts['year']})."
    assert style in card.text
    assert f", {facts['width']} channels wide" in card.text
    _, commands = blocks(card.text, "sh")
    assert commands.splitlines() == list_commands(facts)
    (rest,) = blocks(card.text, "text")
    assert f"steps           {facts['steps']}\n" in rest
    assert f"\n  fingerprint  {facts['data']['fingerprint']}\n" in rest
    assert str(SHIPPED[name].parent) not in card.content


def test_a_card_says_how_to_use_the_style(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    (shell,) = blocks(card.text, "sh")
    (python,) = blocks(card.text, "python")
    assert len(shell.splitlines()) == 3
    assert "--style hf:alice/blue-wave -o " in shell
    assert 'jaxstyle.load_style("hf:alice/blue-wave")' in python
    assert "![The example photo in this style](example.jpg)" in card.text


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    assert card.data.to_dict() == KNOWN
    assert "\n# blue-wave\n" in card.text
    assert "one pass.\n" in card.text
    assert len(blocks(card.text, "sh")) == 1
    assert re.search(r"None|by these|by this|painter| by $", card.text, re.I) is None


def test_a_net_from_pytorch_says_what_it_was(tmp_path: Path) -> None:
    card = card_of(tmp_path, source="candy.pth", source_sha256="1a2b")
    (record,) = blocks(card.text, "text")
    assert "source          candy.pth" in record
    assert "source sha256   1a2b" in record


def test_a_license_is_stated_if_known(tmp_path: Path) -> None:
    assert card_of(tmp_path, license="mit").data.license == "mit"
    assert card_of(tmp_path, license="mit: #x").data.license == "mit: #x"
    facts = {"width": 4, "license": "cc0-1.0"}
    for said, stated in ((None, "cc0-1.0"), ("mit", "mit")):
        card = ModelCard(make_card(facts, repo="alice/wave", license=said))
        assert card.data.license == stated


def test_texts_mean_nothing_to_markdown_or_yaml(tmp_path: Path) -> None:
    card = card_of(
        tmp_path,
        title="---\n# A *wave* <script>",
        painter="[Eve](http://x)\x1b[2J",
        command="jaxstyle train\n```\n# ````",
    )
    assert card.data.to_dict() == KNOWN
    assert "\n# --- \\# A \\*wave\\* \\<script\\>\n" in card.text
    assert "\\[Eve\\](http://x)" in card.text
    assert "\x1b" not in card.content
    assert blocks(card.text, "sh")[1] == "jaxstyle train\n```\n# ````"


def test_what_holds_on_one_machine_is_left_out(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "arguments": {"data_dir": "/home/eve/data"},
        "data": {"name": "/home/eve/photos"},
        "settings": {"size": 224},
        "command": "jaxstyle train --style /home/eve/wave.jpg -o runs/wave",
    }
    card = card_of(tmp_path, **facts)
    assert "eve" not in card.content
    assert "data dir" not in card.text
    assert "  size  224\n" in card.text
    assert "  name  photos\n" in card.text
    assert "jaxstyle train --style wave.jpg -o runs/wave\n" in card.text


def test_paths_are_found_wherever_they_are() -> None:
    value = {"a": ["x /home/eve/a.jpg y", {"~/b": 3}], "c": "--vgg=/d", "e": None}
    assert find_paths(value) == ["/home/eve/a.jpg", "~/b", "/d"]
    assert find_paths(["coco/2014", "../x", "sea / sky", "https://example.org/x"]) == []
