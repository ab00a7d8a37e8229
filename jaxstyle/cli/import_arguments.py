"""The arguments of ``jaxstyle import``."""

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "import",
        help="turn a net from PyTorch into a style file",
        description="Turn a PyTorch checkpoint of a transform net into a style file. "
        "Known are pytorch/examples' TransformerNet and the seed implementation's "
        "TransformNet, of any width. No code in the checkpoint is executed.",
    )
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="NET.pth",
        help="what torch.save wrote of a state dict, or the same as .safetensors",
    )
    add(
        "-o",
        "--output",
        metavar="STYLE.safetensors",
        required=True,
        help="the style file to write, which stylize takes",
    )
