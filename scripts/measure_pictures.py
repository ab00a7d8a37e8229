"""Measure how near pictures are to a painting, and how far from their photo.

    python scripts/measure_pictures.py PHOTO PAINTING PICTURE [PICTURE ...]

All are compared at the size of the photo whose longer side is --size pixels. Of the
photo's distance to the painting, the share that is left is shown for each of the layers
in percent: the Wasserstein distance of activations of VGG-16, each layer normalized.
Low layers see color and grain, high ones strokes. "content" is the squared change of
relu4_1, relative to its square in the photo. "weave" tells by how many decibels periods
of 2 and 4 pixels stand out, where a network's upsampling leaves traces.

No number replaces a look: a picture that keeps the texture of the photo, and only
recolors it, may be near to a painting.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from checkerboards import BLOCK, checkerboard
from defects import Picture
from trained_nets import positive_int, print_table

import jaxstyle
from jaxstyle.losses import STYLE_LOSSES, Moments, moments

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

CONTENT = "relu4_1"

PERIODS = (2, 4)

LEEWAY = 0.03
"""By how much proportions may differ, where a program crops to what it can compute."""

EXACT = STYLE_LOSSES["wasserstein-exact"]


@jax.jit
def analyze(
    vgg: Mapping[str, object], image: jax.Array
) -> tuple[dict[str, Moments], jax.Array]:
    """Compute the moments of all layers, and the features of the content."""
    found = jaxstyle.vgg.features(vgg, image, padding="replicate")
    return {layer: moments(found[layer]) for layer in LAYERS}, found[CONTENT]


@jax.jit
def distances(
    found: Mapping[str, Moments], painting: Mapping[str, Moments]
) -> list[jax.Array]:
    """Compute the Wasserstein distance at each layer."""
    return [
        EXACT.compare(found[layer], EXACT.make_target(painting[layer]))
        for layer in LAYERS
    ]


def measure(
    photo: Picture, painting: Picture, pictures: Mapping[str, Picture]
) -> Iterator[dict[str, str]]:
    """Yield the row of each picture, all of the size of the photo."""
    vgg = jaxstyle.vgg.truncate(jaxstyle.load_vgg(), LAYERS)
    vgg = jax.jit(jaxstyle.vgg.normalize)(vgg)
    goal, _ = analyze(vgg, painting)
    own, content = analyze(vgg, photo)
    whole = np.array(distances(own, goal))
    for name, picture in pictures.items():
        found, changed = analyze(vgg, picture)
        left = 100 * np.array(distances(found, goal)) / whole
        change = np.square(changed - content).mean() / np.square(content).mean()
        lefts = zip(LAYERS, left, strict=True)
        weaves = {period: checkerboard(picture, period=period) for period in PERIODS}
        yield {
            "picture": name,
            **{f"left % {layer}": f"{share:.1f}" for layer, share in lefts},
            "content": f"{change:.2f}",
            **{f"weave {period}": f"{x:.1f}" for period, x in weaves.items()},
        }


def load_picture(path: Path, like: Picture) -> Picture:
    """Read a picture at the size of the photo that it was made of."""
    picture = jaxstyle.load_image(path, longest_side=max(like.shape))
    if np.abs(np.divide(picture.shape, like.shape) - 1).max() > LEEWAY:
        raise ValueError(f"{path} has other proportions than the photo")
    return np.asarray(jax.image.resize(picture, like.shape, "linear"))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--size", type=positive_int, default=512, metavar="PIXELS")
    arguments = parser.parse_args(argv)
    try:
        if arguments.size < BLOCK:
            raise ValueError(f"expected a size of {BLOCK} or more")
        photo = jaxstyle.load_image(arguments.photo, longest_side=arguments.size)
        painting = jaxstyle.load_image(arguments.painting, longest_side=arguments.size)
        paths = (arguments.photo, *arguments.pictures)
        pictures = {path.name: load_picture(path, photo) for path in paths}
        print_table(measure(photo, painting, pictures))
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
