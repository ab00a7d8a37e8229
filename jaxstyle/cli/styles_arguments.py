"""The arguments of ``jaxstyle styles``."""

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "styles",
        help="list the styles that ship, or tell all about one",
        description="List the styles that ship with the package, or tell all about "
        "one. Sizes are in megabytes; the loss, with its content and style parts, is "
        "that on photos held out from training.",
    )
    parser.add_argument(
        "style",
        metavar="NAME|FILE",
        nargs="?",
        help="a style that ships, what jaxstyle train or import has made, or "
        "hf:USER/REPO[@REVISION] on the Hugging Face hub",
    )
