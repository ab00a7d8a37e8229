"""Make the pictures that the README shows, with the command line.

    python scripts/make_pictures.py

Everything is made of the package's example images. The pictures go to
``scripts/pictures``.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "jaxstyle" / "examples"
PICTURES = ROOT / "scripts" / "pictures"

HEIGHT = 240
"""The height of every picture in a row, in pixels."""

GAP = 8


def main() -> None:
    """Make the row at the top, and the one of several strengths."""
    PICTURES.mkdir(exist_ok=True)
    cat, painting = EXAMPLES / "chelsea.jpg", EXAMPLES / "starry_night.jpg"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        styled = optimize(cat, painting, scratch / "cat.png", size=320)
        save_row([cat, painting, styled], PICTURES / "example.jpg")
        cup, sheet = EXAMPLES / "coffee.jpg", scratch / "sheet.png"
        sweep = ("--sweep", "strength=0.2,0.5,0.8", "--steps", "40")
        optimize(cup, painting, sheet, *sweep, size=256)
        Image.open(sheet).save(PICTURES / "strength.jpg", quality=88)


def optimize(
    content: Path, style: Path, output: Path, *options: str, size: int
) -> Path:
    """Run ``jaxstyle optimize`` and return the output."""
    command = [sys.executable, "-m", "jaxstyle", "optimize", content, style]
    command += ["-o", output, "--size", str(size), *options]
    subprocess.run(list(map(str, command)), check=True)
    return output


def save_row(paths: Sequence[Path], output: Path) -> None:
    """Put pictures side by side, all of one height."""
    pictures = [scale(Image.open(path).convert("RGB")) for path in paths]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    row = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + GAP
    row.save(output, quality=88)


def scale(picture: Image.Image) -> Image.Image:
    """Scale a picture to the height of the row."""
    width = round(picture.width * HEIGHT / picture.height)
    return picture.resize((width, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
