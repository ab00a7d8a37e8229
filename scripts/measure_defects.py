"""Count the known defects of trained nets, and print them as tables.

    python scripts/measure_defects.py --photos FOLDER --paintings FOLDER [STYLE ...]

The photos are center squares of those that the training has held out. `defects` and
`checkerboards` say how the measures are computed. What is in brackets is the same
measure of the photos, or of the painting as the training saw it, whichever the header
names. Solid colors stand for the worst of six, which is named.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import checkerboards
import defects
import jax
import numpy as np
from defects import Picture
from jaxtyping import Float
from trained_nets import (
    Net,
    add_arguments,
    load_nets,
    load_photos,
    positive_int,
    print_table,
)

from jaxstyle import load_image, stylize

Photos: TypeAlias = Float[np.ndarray, "n size size 3"]
Stylize: TypeAlias = Callable[[Picture], Picture]
Cells: TypeAlias = dict[str, str]
"""A row of a table: what is in it by column."""

SOLIDS: Mapping[str, tuple[float, float, float]] = {
    "black": (0, 0, 0),
    "white": (1, 1, 1),
    "gray": (0.5, 0.5, 0.5),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
}
"""The colors of images without any detail."""

SOLID_SIDE = 256

MARGIN = 2 * defects.BORDER
"""What is cut from each side where a border is not to count."""


def measure_photos(
    pictures: Photos, photos: Photos, paintings: Sequence[Picture]
) -> Cells:
    """Measure what a net makes of photos."""
    palette = defects.make_palette(paintings)
    nothing = np.zeros_like(photos[0])
    spots = [
        defects.spot_density(picture, photo, palette)
        for picture, photo in zip(pictures, photos, strict=True)
    ]
    in_photos = [defects.spot_density(photo, nothing, palette) for photo in photos]
    cells = {
        "finite": _say_whether_finite(pictures),
        "spots per megapixel (photos)": _with(_mean(spots), _mean(in_photos)),
    }
    for period in (2, 4):
        measure = partial(checkerboards.checkerboard, period=period)
        found, usual = (_mean(map(measure, images)) for images in (pictures, photos))
        cells[f"period {period}, dB (photos)"] = _with(found, usual)
    step, usual = (
        _mean(map(defects.border_step, images)) for images in (pictures, photos)
    )
    cells["border less the photos', % (photos)"] = _with(step - usual, usual)
    return cells


def measure_flat_regions(
    pictures: Photos, photos: Photos, paintings: Sequence[Picture]
) -> Cells:
    """Measure what a net makes of the flat regions of photos."""
    pairs = list(zip(pictures, photos, strict=True))
    colors = np.concatenate([defects.flat_colors(*pair) for pair in pairs])
    textures = np.concatenate([defects.flat_textures(*pair) for pair in pairs])
    cast = defects.off_palette(colors, defects.make_palette(paintings))
    of_paintings = [defects.texture(painting).ravel() for painting in paintings]
    flattest = np.sort(np.concatenate(of_paintings))
    usual = _mean(flattest[: max(1, len(flattest) // 4)])
    return {
        "flat: off palette, %": _show(100 * _mean(cast)),
        "flat: texture, % (painting's flattest quarter)": _with(
            100 * _mean(textures), 100 * usual
        ),
    }


def measure_large(stylize: Stylize, photo: Picture, *, size: int) -> Cells:
    """Measure what a net makes of a photo that is made large."""
    small, large = stylize(photo), stylize(_enlarge(photo, size))
    blown, usual = (100 * _mean(defects.blown_out(x)) for x in (large, small))
    return {
        f"finite at {size} px": _say_whether_finite(large),
        f"blown out at {size} px, % (at {len(photo)})": _with(blown, usual),
    }


def measure_solids(stylize: Stylize, paintings: Sequence[Picture]) -> Cells:
    """Measure what a net makes of solid colors."""
    palette = defects.make_palette(paintings)
    shape = (SOLID_SIDE, SOLID_SIDE, 3)
    solids = {
        name: stylize(np.full(shape, color, np.float32))
        for name, color in SOLIDS.items()
    }
    inside = {
        name: picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
        for name, picture in solids.items()
    }
    usual = _mean(map(defects.deviation, paintings))
    return {
        "finite": _say_whether_finite(np.stack(list(solids.values()))),
        "off palette, %": _worst(
            lambda x: 100 * float(defects.off_palette(x.mean((0, 1)), palette)), inside
        ),
        "texture, % (painting)": (
            f"{_worst(defects.deviation, inside)} ({_show(usual)})"
        ),
        "border, %": _worst(defects.border_step, solids),
        "lopsided, %": _worst(defects.lopsidedness, solids),
    }


def measure_net(net: Net, photos: Photos, *, large: int) -> tuple[Cells, Cells]:
    """Measure a net on photos and on solid colors."""
    program = jax.jit(stylize)

    def paint(image: Picture) -> Picture:
        picture: Picture = np.clip(program(net.params, image), 0, 1)
        return picture

    paintings = [
        load_image(path, longest_side=net.settings.style_size) for path in net.paintings
    ]
    pictures = np.stack([paint(photo) for photo in photos])
    name = {"style": net.name, "photos": str(len(photos))}
    return (
        name
        | measure_photos(pictures, photos, paintings)
        | measure_flat_regions(pictures, photos, paintings)
        | measure_large(paint, photos[0], size=large),
        {"solid colors": net.name} | measure_solids(paint, paintings),
    )


def check_size(size: int) -> None:
    """Raise a ValueError unless photos are large enough for all measures."""
    if size < checkerboards.BLOCK:
        raise ValueError(f"--size must be {checkerboards.BLOCK} or more, got {size}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description="Count the defects of trained nets.")
    add_arguments(parser, count=24, size=384)
    parser.add_argument(
        "--large",
        type=positive_int,
        default=2048,
        metavar="PIXELS",
        help="the side to which one photo is enlarged (default: 2048)",
    )
    arguments = parser.parse_args(argv)
    measured = []
    try:
        check_size(arguments.size)
        for net in load_nets(arguments):
            photos = load_photos(net, arguments) / np.float32(255)
            measured.append(measure_net(net, photos, large=arguments.large))
    except (OSError, ValueError) as error:
        print(f"measure_defects: error: {error}", file=sys.stderr)
        return 2
    for table in zip(*measured, strict=True):
        print_table(table)
        print()
    return 0


def _worst(measure: Callable[[Picture], float], pictures: Mapping[str, Picture]) -> str:
    """Return the measure furthest from 0, and what it is of."""
    found = {name: measure(picture) for name, picture in pictures.items()}
    name = max(found, key=lambda name: abs(found[name]))
    return f"{name} {_show(found[name])}"


def _enlarge(photo: Picture, size: int) -> Picture:
    from PIL import Image

    picture = Image.fromarray(np.rint(255 * photo).astype(np.uint8))
    large = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(large, np.float32) / 255


def _mean(values: Iterable[float] | np.ndarray) -> float:
    """Return the mean; that of nothing is not a number."""
    array = np.array(list(values))
    return float(array.mean()) if array.size else np.nan


def _say_whether_finite(pictures: np.ndarray) -> str:
    return "yes" if np.isfinite(pictures).all() else "no"


def _with(value: float, reference: float) -> str:
    return f"{_show(value)} ({_show(reference)})"


def _show(value: float) -> str:
    return f"{value:.1f}"


if __name__ == "__main__":
    sys.exit(main())
