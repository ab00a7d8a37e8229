"""The arguments of ``jaxstyle export``."""

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "export",
        help="turn a style into a file for JAX alone, for PyTorch or for ONNX",
        description="Turn a style into a file that runs without this package: "
        ".stablehlo, a program for jax.export.deserialize, for images of any size on "
        "CPU, CUDA and TPU; .onnx, the same for ONNX runtimes (pip install onnx); "
        ".pytorch.safetensors, a state dict for TransformerNet of pytorch/examples, "
        "which takes nets of width 32; safetensors.torch.load_file reads it.",
    )
    add = parser.add_argument
    add(
        "style",
        metavar="STYLE",
        help="a style that ships, what jaxstyle train or import has made, "
        "hf:USER/REPO[@REVISION] on the Hugging Face hub, or a mixture as jaxstyle "
        "stylize takes it",
    )
    add(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="the file to write; its suffix chooses the format",
    )
