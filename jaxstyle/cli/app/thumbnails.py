"""What the styles that ship look like: the same photo in each, on one sheet."""

import json
from importlib import resources
from pathlib import Path

from PIL import Image

from jaxstyle.files.style_files import ALL, find_styles, shipped_paintings

FOLDER = Path(str(resources.files("jaxstyle") / "examples"))

SHEET = FOLDER / "styles.webp"
"""The sheet that ``scripts/make_thumbnails.py`` makes."""

EXAMPLES = tuple(FOLDER / f"{name}.jpg" for name in ("chelsea", "astronaut", "coffee"))
"""Photos to try."""

DESCRIPTION = 0x010E
"""The EXIF tag that holds the number of columns, and the names of tiles, as JSON."""


def list_styles() -> list[str]:
    """List the styles to show: paintings, and nets without the smaller ones."""
    return [*shipped_paintings(), *(path.stem for path in find_styles([ALL]))]


def load_thumbnails() -> dict[str, Image.Image]:
    """Cut the sheet into the pictures of the styles that ship, by name."""
    with Image.open(SHEET) as sheet:
        sheet.load()
        about = json.loads(sheet.getexif()[DESCRIPTION])
        columns, names = about["columns"], about["names"]
        width, height = (
            sheet.width // columns,
            sheet.height // -(-len(names) // columns),
        )
        tiles = {}
        for index, name in enumerate(names):
            row, column = divmod(index, columns)
            left, upper = column * width, row * height
            tiles[name] = sheet.crop((left, upper, left + width, upper + height))
    return {name: tiles[name] for name in list_styles()}
