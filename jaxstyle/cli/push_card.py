"""The model card of a style: what its file records, and nothing else."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from jaxstyle.cli.styles_command import (
    BEFORE,
    COMMAND,
    CONTROLS,
    describe,
    list_commands,
)
from jaxstyle.files.hub import PICTURE, PREFIX

TAGS = ("jax", "jaxstyle", "style-transfer", "neural-style-transfer")

EXAMPLE, CREDIT = "chelsea", "Chelsea the cat, by Stefan van der Walt (CC0)"
"""The photo that the card shows in the style, and what it is."""

APART = ("file", "arguments", COMMAND, BEFORE)
"""The facts that are told elsewhere, or hold on one machine only."""

PATH = re.compile(r"(?<![\w./])~?/\w\S*")
"""An absolute path within a text."""

SHELL = """\
pip install '.[hub]'  # in a clone of jaxstyle
jaxstyle styles {address}
jaxstyle stylize photo.jpg --style {address} -o picture.png"""

PYTHON = """\
import jax, jaxstyle

net = jaxstyle.load_style("{address}")
photo = jaxstyle.load_image("photo.jpg")
jaxstyle.save_image(jax.jit(jaxstyle.stylize)(net, photo), "picture.png")"""


def make_card(facts: Mapping[str, Any], *, repo: str, license: str | None) -> str:
    """Return the card, Markdown below YAML.

    Args:
        facts: what `jaxstyle.cli.styles_command.load_facts` returns.
        repo: ``USER/REPO``.
        license: what the user says it is.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name="jaxstyle",
        license=license or facts.get("license"),
        pipeline_tag="image-to-image",
        tags=list(TAGS),
    )
    body = "\n\n".join(_sections(facts, repo=repo))
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def _sections(facts: Mapping[str, Any], *, repo: str) -> Iterator[str]:
    address = f"{PREFIX}{repo}"
    yield f"# {_plain(facts.get('title') or repo.partition('/')[2])}"
    yield _about(facts)
    yield f"![The example photo in this style]({PICTURE})"
    yield f"The example photo is {CREDIT}."
    yield "## How to use it"
    yield _fence(SHELL.format(address=address), "sh")
    yield _fence(PYTHON.format(address=address), "python")
    yield "## How it was made"
    if commands := list_commands(facts):
        several = len(commands) > 1
        yield "By these commands, one after another:" if several else "By this command:"
        yield _fence(_without_folders("\n".join(commands)), "sh")
    yield "What else the file records:" if commands else "What the file records:"
    rest = {key: value for key, value in facts.items() if key not in APART}
    yield _fence(_without_folders("\n".join(describe(rest))), "text")


def _about(facts: Mapping[str, Any]) -> str:
    """Say what it is, and of which painting if that is known."""
    about = (
        "A transform net ([Johnson et al., 2016](https://arxiv.org/abs/1603.08155)) "
        f"for jaxstyle, {facts['width']} channels wide: it paints any photo in one pass"
    )
    if facts.get("title"):
        about += f", in the style of *{_plain(facts['title'])}*"
    if facts.get("painter"):
        about += f" by {_plain(facts['painter'])}"
    if facts.get("year"):
        about += f" ({_plain(facts['year'])})"
    return f"{about}."


def _plain(text: Any) -> str:
    """Return a text on one line, in which nothing means something to Markdown."""
    line = " ".join(str(text).split()).translate(CONTROLS)
    return re.sub(r"([\\`*_\[\]<>&#|~])", r"\\\1", line)


def _without_folders(text: str) -> str:
    """Return a text in which paths of this machine have become names."""
    return PATH.sub(lambda found: PurePosixPath(found[0]).name, text)


def _fence(text: str, language: str) -> str:
    """Return a block of code, whatever backticks are in it."""
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall("`*", text)))
    lines = [line.translate(CONTROLS) for line in text.split("\n")]
    return "\n".join([f"{ticks}{language}", *lines, ticks])


# --- what else is made public -------------------------------------------------------


def find_paths(value: Any) -> list[str]:
    """Return the absolute paths in the texts of a value of JSON."""
    if isinstance(value, Mapping):
        return [path for pair in value.items() for path in find_paths(list(pair))]
    if isinstance(value, list):
        return [path for item in value for path in find_paths(item)]
    return PATH.findall(value) if isinstance(value, str) else []
