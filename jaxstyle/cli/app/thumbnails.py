"""What the styles that ship look like: the same photo in each, on one sheet."""

from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from jaxstyle.files.image_files import load_settings
from jaxstyle.files.style_files import ALL, find_styles, shipped_paintings

FOLDER = Path(str(resources.files("jaxstyle") / "examples"))

SHEET = FOLDER / "styles.webp"
"""The sheet that ``scripts/make_thumbnails.py`` makes."""

EXAMPLES = tuple(FOLDER / f"{name}.jpg" for name in ("chelsea", "astronaut", "coffee"))
"""Photos to try."""


def list_styles() -> list[str]:
    """List the styles to show: paintings, and nets without the smaller ones."""
    return [*shipped_paintings(), *(path.stem for path in find_styles([ALL]))]


def load_thumbnails() -> dict[str, Image.Image]:
    """Cut the sheet into the pictures of the styles that ship, by name."""
    about: Any = load_settings(SHEET)
    columns, names = about["columns"], about["names"]
    rows = -(-len(names) // columns)
    with Image.open(SHEET) as sheet:
        sheet.load()
        width, height = sheet.width // columns, sheet.height // rows
        tiles = {}
        for index, name in enumerate(names):
            row, column = divmod(index, columns)
            left, upper = column * width, row * height
            tiles[name] = sheet.crop((left, upper, left + width, upper + height))
    return {name: tiles[name] for name in list_styles()}
