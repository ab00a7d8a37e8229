"""``jaxstyle push``: publish a style on the Hugging Face hub, with a model card."""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import jax

from jaxstyle.cli.commands import PushOptions
from jaxstyle.cli.runtime import use_compilation_cache
from jaxstyle.cli.styles_command import (
    BEFORE,
    COMMAND,
    CONTROLS,
    decode,
    describe,
    list_commands,
    load_facts,
)
from jaxstyle.files import hub, style_files
from jaxstyle.files.atomic import describe_error
from jaxstyle.files.image_files import example_photos, load_image, save_image
from jaxstyle.files.regular_files import read_regular
from jaxstyle.nets.transform_net import Params, stylize

TAGS = ("jax", "jaxstyle", "style-transfer", "neural-style-transfer")

EXAMPLE, CREDIT = "chelsea", "Chelsea the cat, by Stefan van der Walt (CC0)"
"""The photo that the card shows in the style, and its credit."""

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


def run(arguments: PushOptions) -> int:
    """Make the card and the picture, and publish them with the style."""
    repo = arguments.repo.removeprefix(hub.PREFIX)
    hub.check_repo(repo)
    hub.check_token()
    path = style_files.find_style(arguments.style)
    params, metadata = style_files.load_style_file(path)
    style_files.check_transform_net(metadata, name=arguments.style)
    if arguments.card:
        card = read_card(arguments.card)
    else:
        card = make_card(load_facts(path), repo=repo, license=arguments.license)
    warn_of_paths(metadata)
    files = {
        hub.STYLE: path.read_bytes(),
        hub.CARD: card.encode(),
        hub.PICTURE: make_picture(params),
    }
    page, commit = hub.push_files(repo, files, private=arguments.private)
    print(f"{page}: pushed as {commit[:7]}; use it as --style {hub.PREFIX}{repo}")
    return 0


def read_card(path: str | Path) -> str:
    """Read the user's own card; a ValueError if it cannot be read."""
    try:
        return read_regular(path).decode("utf-8")
    except UnicodeDecodeError as error:
        reason = "it is not text in UTF-8"
        raise ValueError(f"cannot read the card {path}: {reason}") from error
    except (OSError, ValueError) as error:
        reason = describe_error(error)
        raise ValueError(f"cannot read the card {path}: {reason}") from error


def make_picture(params: Params) -> bytes:
    """Render the example photo in a style, as JPEG."""
    (photo,) = (path for path in example_photos() if path.stem == EXAMPLE)
    use_compilation_cache()
    picture = jax.jit(stylize)(params, load_image(photo))
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as scratch:
        save_image(picture, path := Path(scratch, hub.PICTURE))
        return path.read_bytes()


def warn_of_paths(metadata: Mapping[str, str]) -> None:
    """Warn of paths of this machine that would be published."""
    paths = {path for text in metadata.values() for path in find_paths(decode(text))}
    if paths:
        warning = "the style records paths, and whoever may fetch it sees them"
        print(f"jaxstyle push: {warning}: {', '.join(sorted(paths))}", file=sys.stderr)


# --- the card -----------------------------------------------------------------------


def make_card(facts: Mapping[str, Any], *, repo: str, license: str | None) -> str:
    """Write the model card, Markdown below YAML, from the facts of `load_facts`."""
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
    address = f"{hub.PREFIX}{repo}"
    yield f"# {_plain(facts.get('title') or repo.partition('/')[2])}"
    yield _about(facts)
    yield f"![The example photo in this style]({hub.PICTURE})"
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
    """Put a text on one line, and escape what Markdown would interpret."""
    line = " ".join(str(text).split()).translate(CONTROLS)
    return re.sub(r"([\\`*_\[\]<>&#|~])", r"\\\1", line)


def _without_folders(text: str) -> str:
    """Replace the paths of this machine in a text by names."""
    return PATH.sub(lambda found: PurePosixPath(found[0]).name, text)


def _fence(text: str, language: str) -> str:
    """Fence code, whatever backticks are in it."""
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall("`*", text)))
    lines = [line.translate(CONTROLS) for line in text.split("\n")]
    return "\n".join([f"{ticks}{language}", *lines, ticks])


# --- what else is made public -------------------------------------------------------


def find_paths(value: Any) -> list[str]:
    """Collect the absolute paths in the texts of a value of JSON."""
    if isinstance(value, Mapping):
        return [path for pair in value.items() for path in find_paths(list(pair))]
    if isinstance(value, list):
        return [path for item in value for path in find_paths(item)]
    return PATH.findall(value) if isinstance(value, str) else []
