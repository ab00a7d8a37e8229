"""JSON objects on disk, with a digest that tells if they are damaged."""

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.regular_files import read_regular

DIGEST = "digest"


DEEPEST = 50
"""The most levels of lists and objects, one inside the other."""


def parse_json(content: bytes | str) -> Any:
    """Parse JSON; a ValueError for other content, or for more levels than `DEEPEST`."""
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    level = [value]
    for _ in range(DEEPEST):
        objects = [x.values() for x in level if isinstance(x, dict)]
        lists = [x for x in level if isinstance(x, list)]
        level = [*chain.from_iterable([*objects, *lists])]
    if level:
        raise ValueError("it nests too deep")
    return value


def parse_object(content: bytes | str) -> dict[str, Any]:
    """Parse a JSON object; a ValueError as for `parse_json`."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def save_object(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON object with its digest."""
    stored = json.loads(json.dumps(content))  # keys have become text
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**stored, DIGEST: _digest(stored)}))


def load_object(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Read an object of `save_object`; an OSError or a ValueError if it is damaged.

    ``kinds`` are the types of its values. One without a digest is taken at its word.
    """
    content = parse_object(read_regular(path))
    digest = content.pop(DIGEST, None)
    if digest not in (None, _digest(content)):
        raise ValueError(f"{path.name} is not what was written")
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path.name} has no {name}")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
