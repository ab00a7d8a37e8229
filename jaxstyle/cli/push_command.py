"""``jaxstyle push``: a style goes to the Hugging Face hub, with a model card."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax

from jaxstyle.cli.commands import PushOptions
from jaxstyle.cli.push_card import EXAMPLE, find_paths, make_card
from jaxstyle.cli.runtime import use_compilation_cache
from jaxstyle.cli.styles_command import decode, load_facts
from jaxstyle.files.hub import (
    CARD,
    PICTURE,
    PREFIX,
    STYLE,
    check_repo,
    check_token,
    push_files,
)
from jaxstyle.files.image_files import example_photos, load_image, save_image
from jaxstyle.files.style_files import find_style, load_style_file
from jaxstyle.nets.transform_net import Params, stylize


def run(arguments: PushOptions) -> int:
    """Make the card and the picture, and publish them with the style."""
    repo = arguments.repo.removeprefix(PREFIX)
    check_repo(repo)
    check_token()
    path = find_style(arguments.style)
    params, metadata = load_style_file(path)
    if arguments.card:
        card = read_card(arguments.card)
    else:
        card = make_card(load_facts(path), repo=repo, license=arguments.license)
    warn_of_paths(metadata)
    files = {
        STYLE: path.read_bytes(),
        CARD: card.encode(),
        PICTURE: make_picture(params),
    }
    page, commit = push_files(repo, files, private=arguments.private)
    print(f"{page}: pushed as {commit[:7]}; use it as --style {PREFIX}{repo}")
    return 0


def read_card(path: str) -> str:
    """Return a card of the user's own.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise ValueError(f"cannot read the card {path}: {reason}") from error


def make_picture(params: Params) -> bytes:
    """Return the example photo in a style, as JPEG."""
    (photo,) = (path for path in example_photos() if path.stem == EXAMPLE)
    use_compilation_cache()
    picture = jax.jit(stylize)(params, load_image(photo))
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as scratch:
        save_image(picture, path := Path(scratch, PICTURE))
        return path.read_bytes()


def warn_of_paths(metadata: Mapping[str, str]) -> None:
    """Tell which paths of this machine go out into the world."""
    found = sorted(
        {path for text in metadata.values() for path in find_paths(decode(text))}
    )
    if found:
        print(
            f"jaxstyle push: the style records paths, and whoever may fetch it sees "
            f"them: {', '.join(found)}",
            file=sys.stderr,
        )
