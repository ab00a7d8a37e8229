"""Make the pictures that the README and the docs show, with the command line.

    python scripts/make_pictures.py [painted] [gallery] [variants] [widths] [mixtures]
        [example] [strength]

Everything is made of the package's example images, and of the styles that ship. The
pictures go to ``docs/pictures``; without names, all are made.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from jaxstyle.files import load_image, make_sheet, shipped_styles

Picture = Float[np.ndarray, "_h _w 3"]

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "jaxstyle" / "examples"
PICTURES = ROOT / "docs" / "pictures"

ASTRONAUT, CAT, CUP = (
    EXAMPLES / f"{name}.jpg" for name in ("astronaut", "chelsea", "coffee")
)
PAINTING = EXAMPLES / "starry_night.jpg"

SIDE = 288
"""The longer side of each picture of the gallery, in pixels."""

NARROW_SIDE = 208
"""The same where five pictures stand side by side."""

WORK_SIDE = 512
"""The longer side at which photos are stylized, in pixels."""


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(MAKERS))
    wanted = parser.parse_args().names
    if unknown := set(wanted) - MAKERS.keys():
        parser.error(f"no picture {unknown.pop()}; known are {', '.join(MAKERS)}")
    PICTURES.mkdir(exist_ok=True)
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            sheet = MAKERS[name](Path(folder))
        pixels = np.rint(255 * sheet).astype(np.uint8)
        Image.fromarray(pixels).save(PICTURES / f"{name}.jpg", quality=88)


def make_painted(scratch: Path) -> Picture:
    """Return a painting, and photos that are painted like it in one pass."""
    photos = (ASTRONAUT, CAT, CUP)
    size = ("--max-size", str(WORK_SIDE))
    run("stylize", *photos, "--style", PAINTING, "-o", scratch, *size)
    pictures = [find_picture(scratch, photo=photo.stem, style="") for photo in photos]
    return make_sheet([list(map(shrink, (PAINTING, *pictures)))])


def make_gallery(scratch: Path) -> Picture:
    """Return a row for each style that ships, and a column for each photo."""
    photos = (ASTRONAUT, CAT, CUP)
    styles = [name for name in shipped_styles() if not re.search(r"-\d+$", name)]
    size = ("--max-size", str(WORK_SIDE))
    run("stylize", *photos, "--style", "all", "-o", scratch, *size)
    rows = [
        [
            shrink(find_picture(scratch, photo=photo.stem, style=style))
            for photo in photos
        ]
        for style in styles
    ]
    return make_sheet(
        [list(map(shrink, photos)), *rows], row_labels=["the photo", *styles]
    )


def find_picture(folder: Path, *, photo: str, style: str) -> Path:
    """Return the picture that ``jaxstyle stylize`` has made of a photo."""
    (path,) = (path for path in folder.rglob(f"*{photo}*") if style in str(path))
    return path


def make_variants(scratch: Path) -> Picture:
    """Return one photo in one style: three strengths, and its own colors."""
    variants = {
        "strength 0.3": ("--strength", "0.3"),
        "0.6": ("--strength", "0.6"),
        "1": (),
        "preserve-color": ("--preserve-color",),
    }
    pictures = []
    for index, options in enumerate(variants.values()):
        output = scratch / f"{index}.png"
        size = ("--max-size", str(WORK_SIDE))
        run(
            "stylize", ASTRONAUT, "--style", "the-scream", "-o", output, *size, *options
        )
        pictures.append(shrink(output))
    return make_sheet([pictures], column_labels=list(variants))


def make_widths(scratch: Path) -> Picture:
    """Return one photo in one style, by nets of three widths."""
    styles = {"width 32": "great-wave", "16": "great-wave-16", "8": "great-wave-8"}
    pictures = []
    for style in styles.values():
        output = scratch / f"{style}.png"
        size = ("--max-size", str(WORK_SIDE))
        run("stylize", ASTRONAUT, "--style", style, "-o", output, *size)
        pictures.append(shrink(output))
    return make_sheet([pictures], column_labels=list(styles))


def make_mixtures(scratch: Path) -> Picture:
    """Return one photo in two styles, and in three mixtures of both."""
    a, b = "great-wave", "starry-night"
    styles = {
        a: a,
        "3 : 1": f"{a}=3+{b}=1",
        "1 : 1": f"{a}+{b}",
        "1 : 3": f"{a}=1+{b}=3",
    }
    styles[b] = b
    wanted = [option for style in styles.values() for option in ("--style", style)]
    run("stylize", CAT, *wanted, "-o", scratch, "--max-size", str(WORK_SIDE))
    pictures = [
        load_image(scratch / f"{CAT.stem}.{style}.jpg", longest_side=NARROW_SIDE)
        for style in styles.values()
    ]
    return make_sheet([pictures], column_labels=list(styles))


def make_example(scratch: Path) -> Picture:
    """Return a photo, a painting, and what style optimization makes of them."""
    output = scratch / "cat.png"
    run("optimize", CAT, PAINTING, "-o", output, "--size", "320")
    return make_sheet([list(map(shrink, (CAT, PAINTING, output)))])


def make_strength(scratch: Path) -> Picture:
    """Return the sheet of a sweep over strengths."""
    output = scratch / "sheet.png"
    sweep = ("--sweep", "strength=0.2,0.5,0.8", "--steps", "40", "--size", "256")
    run("optimize", CUP, PAINTING, "-o", output, *sweep)
    return load_image(output)


MAKERS: Mapping[str, Callable[[Path], Picture]] = {
    "painted": make_painted,
    "gallery": make_gallery,
    "variants": make_variants,
    "widths": make_widths,
    "mixtures": make_mixtures,
    "example": make_example,
    "strength": make_strength,
}
"""What makes each picture, in a folder for what it needs on the way."""


def run(command: str, *arguments: str | Path) -> None:
    """Run a command of ``jaxstyle``."""
    line: Sequence[str] = [sys.executable, "-m", "jaxstyle", command]
    subprocess.run([*line, *map(str, arguments), "--quiet"], check=True)


def shrink(path: Path) -> Picture:
    """Return a picture of the gallery's size."""
    return load_image(path, longest_side=SIDE)


if __name__ == "__main__":
    main()
