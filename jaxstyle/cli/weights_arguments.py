"""The arguments of ``jaxstyle weights``."""

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "weights",
        help="download a VGG network",
        description="Download a VGG network that Keras publishes, check it, and keep "
        "it where --vgg NAME finds it.",
    )
    parser.add_argument("network", metavar="NAME", help="vgg16 or vgg19")
    parser.add_argument("--url", help="fetch the same file from elsewhere")
