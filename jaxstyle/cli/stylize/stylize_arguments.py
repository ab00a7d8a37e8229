"""The arguments of ``jaxstyle stylize``."""

import argparse

from jaxstyle.cli.argument_types import Commands, positive_int, share


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "stylize",
        help="give photos a style that a net was trained for, in one pass",
        description="Give photos a style that a net was trained for, in one pass "
        "(Johnson et al., 2016).",
        epilog="exit codes: 0 all done; 1 some photos could not be stylized, the "
        "others are done;\n2 bad input; 130 interrupted, what is done stays",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "photos",
        metavar="PHOTO",
        nargs="+",
        help="a photo, a folder with all its subfolders, a quoted pattern such as "
        "'*.jpg', or - for standard input",
    )
    add(
        "--style",
        metavar="STYLE",
        dest="styles",
        action="append",
        required=True,
        help="a name that jaxstyle styles lists; a file that jaxstyle train or import "
        "has made; hf:USER/REPO[@REVISION] on the Hugging Face hub; a mixture of such, "
        "as in great-wave+udnie or great-wave=3+udnie=1, if they were trained from one "
        "another, like those that ship; or all for every style that ships. May be "
        "given several times",
    )
    add(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="a picture (.png, .jpg, .webp or .tif), a folder, which is made if need "
        "be, or - for standard output, as PNG",
    )
    add(
        "--contact-sheet",
        action="store_true",
        help="make OUT one picture of the photo in all styles, with their names",
    )
    picture = parser.add_argument_group("picture")
    add = picture.add_argument
    add(
        "--max-size",
        metavar="PIXELS",
        type=positive_int,
        help="shrink photos whose longer side is longer than this",
    )
    add(
        "--strength",
        metavar="S",
        type=share,
        default=1.0,
        help="mix photo and style pixel by pixel: 0 is the photo, 1 the full style "
        "(default: 1)",
    )
    add(
        "--preserve-color",
        action="store_true",
        help="keep the photo's colors: only its brightness is stylized",
    )
    add(
        "--devices",
        metavar="N",
        type=positive_int,
        help="use N devices: they share batches of photos, and divide the rows of "
        "large ones (default: one, or all for photos that its memory does not suffice "
        "for)",
    )
    add(
        "--tile",
        metavar="PIXELS",
        type=positive_int,
        help="paint larger photos in tiles of that side, one after the other: the same "
        "picture, in less memory and more time (default: 512, for photos that memory "
        "does not suffice for)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
