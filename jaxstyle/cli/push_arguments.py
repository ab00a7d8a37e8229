"""The arguments of ``jaxstyle push``."""

from jaxstyle.cli.argument_types import Commands


def add_parser(commands: Commands) -> None:
    """Add the command with all its arguments."""
    parser = commands.add_parser(
        "push",
        help="publish a style on the Hugging Face hub, with a model card",
        description="Publish a style on the Hugging Face hub: style.safetensors as "
        "it is, with all that it records; README.md, a model card made of that record; "
        "and example.jpg, a photo in this style. One commit puts them instead of "
        "those that are there. Needs huggingface_hub (pip install huggingface_hub) and "
        "a token: set HF_TOKEN, or log in with: hf auth login.",
    )
    add = parser.add_argument
    add(
        "style",
        metavar="NAME|FILE",
        help="a style that ships, what jaxstyle train or import has made, or "
        "hf:USER/REPO[@REVISION] on the Hugging Face hub",
    )
    add("repo", metavar="USER/REPO", help="the repository, made if there is none")
    add("--private", action="store_true", help="let nobody else see the repository")
    card = parser.add_mutually_exclusive_group()
    card.add_argument(
        "--license",
        metavar="ID",
        help="the license that the card states, such as mit or cc-by-4.0 (default: "
        "what the style records, else none)",
    )
    card.add_argument(
        "--card", metavar="FILE.md", help="a card of your own instead of that one"
    )
