"""The options of ``jaxstyle stylize``."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxstyle.cli.options import Options
from jaxstyle.losses.config import REQUIRED, fraction, nonnegative_float, option


@dataclass(frozen=True, kw_only=True)
class StylizeOptions(Options):
    """The options of ``jaxstyle stylize``."""

    photos: Sequence[str] = option(
        REQUIRED,
        "a photo or its http(s) address, a folder with all its subfolders, a quoted "
        "pattern such as '*.jpg', or - for standard input",
        positional=True,
        metavar="PHOTO",
        nargs="+",
    )
    styles: Sequence[str] = option(
        REQUIRED,
        "a painting: any image, its http(s) address, or a file that jaxstyle describe "
        "has made; or a net: a "
        "name that jaxstyle styles lists, a file that jaxstyle train or import has "
        "made, or hf:USER/REPO[@REVISION] on the Hugging Face hub; or a mixture, as in "
        "a.jpg+b.jpg or great-wave=3+udnie=1, of paintings, or of nets that were "
        "trained from one another, like those that ship; or all for every net that "
        "ships. May be given several times",
        name="style",
        metavar="STYLE",
        repeated=True,
    )
    output: str = option(
        REQUIRED,
        "a picture (.png, .jpg, .webp or .tif), a folder, which is made if need be, or "
        "- for standard output, as PNG",
        short="-o",
        metavar="OUT",
    )
    contact_sheet: bool = option(
        False, "make OUT one picture of the photo in all styles, with their names"
    )
    max_size: int | None = option(
        None,
        "shrink photos whose longer side is longer than this",
        metavar="PIXELS",
        group="picture",
    )
    strength: float = option(
        1.0,
        "0 is the photo, 1 the full style: of a painting the features are moved so "
        "far, with a net photo and picture are mixed pixel by pixel",
        metavar="S",
        parse=fraction,
    )
    passes: int = option(
        1,
        "stylize the picture again, N times in all: nearer to the painting, and each "
        "takes as long as the first",
    )
    stroke_size: float = option(
        1.0,
        "how large strokes are in the picture: 2 is twice as large, 0.5 half as large. "
        "At 1, photos of more than 1024 pixels are painted at 1024 and brought back to "
        "their size with their fine detail; 0 paints them at full size, where strokes "
        "are fine",
        metavar="S",
        parse=nonnegative_float,
    )
    style_size: int = option(
        512,
        "shrink images of paintings whose longer side is longer than this: smaller "
        "ones give finer strokes",
        metavar="PIXELS",
    )
    masks: Sequence[str] | None = option(
        None,
        "one for each painting, which all go into one picture: white where it belongs "
        "in the photo, gray for less; what is black in all stays as it is",
        metavar="IMAGE",
        nargs="+",
    )
    preserve_color: bool = option(
        False, "keep the photo's colors: only its brightness is stylized"
    )
    devices: int | None = option(
        None,
        "use N devices: they share batches of photos, and the rows of large ones "
        "(default: one, or all for photos too large for its memory)",
    )
    tile: int | None = option(
        None,
        "compute larger photos in tiles of that side, one after the other: the same "
        "picture, in less memory and more time (default: 512, for photos too large "
        "for memory)",
        metavar="PIXELS",
    )
    quiet: bool = option(False, "show no progress", group="run")
