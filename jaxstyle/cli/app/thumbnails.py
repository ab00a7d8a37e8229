"""What the styles that ship look like: the same photo in each, on one sheet."""

from importlib import resources
from pathlib import Path

from PIL import Image

from jaxstyle.files.style_files import SMALLER, shipped_paintings, shipped_styles

FOLDER = Path(str(resources.files("jaxstyle") / "examples"))

SHEET = FOLDER / "styles.webp"
"""The sheet, a tile per style in the order of `list_styles`."""

EXAMPLES = tuple(FOLDER / f"{name}.jpg" for name in ("chelsea", "astronaut", "coffee"))
"""Photos to try."""

COLUMNS = 8
"""The number of tiles side by side."""

TILE = (112, 75)
"""The width and height of a tile, in pixels."""


def list_styles() -> list[str]:
    """List the styles to show: paintings, and nets without the smaller ones."""
    nets = [name for name in shipped_styles() if not SMALLER.fullmatch(name)]
    return [*shipped_paintings(), *nets]


def load_thumbnails() -> dict[str, Image.Image]:
    """Cut the sheet into the pictures of styles, by name."""
    width, height = TILE
    with Image.open(SHEET) as sheet:
        sheet.load()
        found = {}
        for index, name in enumerate(list_styles()):
            row, column = divmod(index, COLUMNS)
            left, upper = column * width, row * height
            found[name] = sheet.crop((left, upper, left + width, upper + height))
    return found
