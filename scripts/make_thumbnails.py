"""Make the sheet of thumbnails that ``jaxstyle app`` shows: one photo in each style.

    python scripts/make_thumbnails.py

It goes to ``jaxstyle/examples/styles.webp``, with the names of its tiles, row by row,
in its EXIF description. Make it anew when styles come or go.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from jaxstyle.files import shipped_paintings, shipped_styles

EXAMPLES = Path(__file__).parents[1] / "jaxstyle" / "examples"

PHOTO, SHEET = EXAMPLES / "chelsea.jpg", EXAMPLES / "styles.webp"

COLUMNS, TILE = 8, (112, 75)
"""The number of tiles side by side, and their width and height in pixels."""

SOFTWARE, DESCRIPTION = 0x0131, 0x010E
"""The EXIF tags by which `jaxstyle.files.load_settings` reads the names."""


def list_styles() -> list[str]:
    """List paintings, and nets without the smaller ones."""
    nets = [name for name in shipped_styles() if not re.search(r"-\d+$", name)]
    return [*shipped_paintings(), *nets]


def main() -> int:
    """Paint the photo in all styles, and write the sheet."""
    names = list_styles()
    options = [option for name in names for option in ("--style", name)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jaxstyle", "stylize", str(PHOTO), "--quiet"]
        subprocess.run([*command, *options, "-o", folder], check=True)
        rows = -(-len(names) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * TILE[0], rows * TILE[1]))
        for index, name in enumerate(names):
            row, column = divmod(index, COLUMNS)
            with Image.open(Path(folder, f"{PHOTO.stem}.{name}.jpg")) as picture:
                tile = ImageOps.fit(picture, TILE, Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * TILE[0], row * TILE[1]))
    exif = Image.Exif()
    exif[SOFTWARE] = "jaxstyle"
    exif[DESCRIPTION] = json.dumps({"columns": COLUMNS, "names": names})
    sheet.save(SHEET, quality=68, method=6, exif=exif)
    print(f"{SHEET}: {len(names)} styles, {SHEET.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
