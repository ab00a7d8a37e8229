"""The table of commands: the options of each, and the function that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.options import Options
from jaxstyle.cli.stylize.stylize_options import StylizeOptions
from jaxstyle.cli.train.train_options import DATA_DIR_HELP, TrainOptions
from jaxstyle.cli.video.video_options import VideoOptions
from jaxstyle.losses.config import REQUIRED, option

STYLE_HELP = (
    "a style that ships, what jaxstyle train or import has made, or "
    "hf:USER/REPO[@REVISION] on the Hugging Face hub"
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command.

    Attributes:
        options: the dataclass of its options.
        run: ``module:function`` within `jaxstyle.cli`, which takes the options and
            returns the exit code; imported when the command runs.
        help: one line in the list of commands.
        description: the start of the command's own help.
        epilog: its end, broken into lines; presets replace it.
    """

    options: type[Options]
    run: str
    help: str
    description: str
    epilog: str = ""


@dataclass(frozen=True, kw_only=True)
class StylesOptions(Options):
    """The options of ``jaxstyle styles``; without a style, it lists all."""

    style: str | None = option(
        None, STYLE_HELP, positional=True, metavar="NAME|FILE", nargs="?"
    )
    json: bool = option(False, "print all that is known, as JSON")


@dataclass(frozen=True, kw_only=True)
class DescribeOptions(Options):
    """The options of ``jaxstyle describe``."""

    painting: str = option(
        REQUIRED, "an image of the painting", positional=True, metavar="IMAGE"
    )
    output: str = option(
        REQUIRED,
        "the file to write, which stylize takes",
        short="-o",
        metavar="PAINTING.safetensors",
    )
    style_size: int = option(
        512,
        "shrink the image if its longer side is longer than this: smaller ones give "
        "finer strokes",
        metavar="PIXELS",
    )
    title: str | None = option(None, "of the painting, to record", metavar="TEXT")
    painter: str | None = option(None, "who painted it, to record", metavar="NAME")
    year: str | None = option(None, "when, to record", metavar="YEAR")


@dataclass(frozen=True, kw_only=True)
class PushOptions(Options):
    """The options of ``jaxstyle push``."""

    style: str = option(REQUIRED, STYLE_HELP, positional=True, metavar="NAME|FILE")
    repo: str = option(
        REQUIRED,
        "the repository, created if it does not exist",
        positional=True,
        metavar="USER/REPO",
        parse=str,
    )
    private: bool = option(False, "create a private repository")
    license: str | None = option(
        None,
        "the license that the card states, such as mit or cc-by-4.0 (default: what the "
        "style records, else none)",
        metavar="ID",
        exclusive="card",
    )
    card: str | None = option(
        None,
        "a card of your own instead of the generated one",
        metavar="FILE.md",
        exclusive="card",
    )


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Options):
    """The options of ``jaxstyle import``."""

    checkpoint: str = option(
        REQUIRED,
        "a state dict that torch.save wrote, or the same as .safetensors",
        positional=True,
        metavar="NET.pth",
    )
    output: str = option(
        REQUIRED,
        "the style file to write, which stylize takes",
        short="-o",
        metavar="STYLE.safetensors",
    )


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """The options of ``jaxstyle export``."""

    style: str = option(
        REQUIRED,
        f"{STYLE_HELP}, or a mixture as jaxstyle stylize takes it",
        positional=True,
        metavar="STYLE",
    )
    output: str = option(
        REQUIRED,
        "the file to write; its suffix chooses the format",
        short="-o",
        metavar="OUT",
    )
    style_size: int = option(
        512,
        "shrink an image of a painting if its longer side is longer than this",
        metavar="PIXELS",
    )


@dataclass(frozen=True, kw_only=True)
class WeightsOptions(Options):
    """The options of ``jaxstyle weights``."""

    network: str = option(REQUIRED, "vgg16 or vgg19", positional=True, metavar="NAME")
    url: str | None = option(None, "fetch the same file from elsewhere", metavar="URL")


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """The options of ``jaxstyle data``."""

    name: str = option(
        REQUIRED,
        "coco/2014, coco/2017, or a name that TFDS knows",
        positional=True,
        metavar="NAME",
    )
    data_dir: str | None = option(None, DATA_DIR_HELP, metavar="DIR")
    quiet: bool = option(False, "show no progress")


@dataclass(frozen=True, kw_only=True)
class AppOptions(Options):
    """The options of ``jaxstyle app``."""

    host: str = option(
        "127.0.0.1",
        "the address to serve at, at which by default only this computer is; 0.0.0.0 "
        "lets others in, without a password",
        metavar="ADDRESS",
    )
    port: int | None = option(
        None, "the port to serve at (default: the first free one from 7860 on)"
    )
    open: bool = option(False, "open the page in the browser")


COMMANDS: Mapping[str, Command] = {
    "stylize": Command(
        options=StylizeOptions,
        run="stylize.stylize_command:run",
        help="paint photos like any painting, or by a trained net, in one pass",
        description="Paint photos like any painting in one pass, by optimal transport "
        "between VGG features; or give them a style that a net was trained for "
        "(Johnson et al., 2016).",
        epilog="exit codes: 0 all done; 1 some photos could not be stylized, the "
        "others are done;\n2 bad input; 130 interrupted, what is done stays",
    ),
    "video": Command(
        options=VideoOptions,
        run="video.video_command:run",
        help="paint a video like any painting, or by a trained net, without flicker",
        description="Paint a video, a GIF or a folder of frames. In each shot the "
        "statistics of the style are held, so that what stands still does not change, "
        "and strokes move along with what they paint. Time stamps, sound and subtitles "
        "are kept. A run that was killed goes on where it stood by the same command.",
        epilog="exit codes: 0 all done; 1 the video is damaged, what could be read is "
        "done;\n2 bad input; 130 interrupted, the same command goes on",
    ),
    "optimize": Command(
        options=OptimizeOptions,
        run="optimize.optimize_command:run",
        help="turn a photo and a painting into a picture, by optimizing its pixels",
        description="Turn a photo and one or more paintings into a picture, by "
        "optimizing its pixels from coarse to fine (Gatys et al., 2016).",
    ),
    "train": Command(
        options=TrainOptions,
        run="train.train_command:run",
        help="train a net that turns any photo into a picture in one pass",
        description="Train a transform net for the style of one or more paintings "
        "(Johnson et al., 2016; Ulyanov et al., 2016).",
    ),
    "app": Command(
        options=AppOptions,
        run="app.app_command:run",
        help="paint in the browser: drop a photo, click a style",
        description="Serve a page to paint photos with in the browser, on this "
        "computer alone: drop a photo, click a style or drop a painting, and see the "
        "picture come about. Needs gradio (pip install 'jaxstyle[app]').",
    ),
    "styles": Command(
        options=StylesOptions,
        run="styles_command:run",
        help="list the styles that ship, or tell all about one",
        description="List the styles that ship with the package, or tell all about "
        "one. Sizes are in megabytes; the loss, with its content and style parts, is "
        "that on photos held out from training.",
    ),
    "describe": Command(
        options=DescribeOptions,
        run="file_commands:run_describe",
        help="keep what stylize needs of a painting in a small file",
        description="Keep what jaxstyle stylize needs to paint like a painting in a "
        "file of 0.3 MB: means and covariances of VGG features, from which the "
        "painting cannot be seen.",
    ),
    "push": Command(
        options=PushOptions,
        run="push_command:run",
        help="publish a style on the Hugging Face hub, with a model card",
        description="Publish a style on the Hugging Face hub: style.safetensors as it "
        "is, with all that it records; README.md, a model card made of that record; "
        "and example.jpg, a photo in this style. One commit replaces earlier versions "
        "of them. Needs huggingface_hub (pip install huggingface_hub) and a token: set "
        "HF_TOKEN, or log in with: hf auth login.",
    ),
    "import": Command(
        options=ImportOptions,
        run="file_commands:run_import",
        help="turn a net from PyTorch into a style file",
        description="Turn a PyTorch checkpoint of a transform net into a style file. "
        "Known are pytorch/examples' TransformerNet and the seed implementation's "
        "TransformNet, of any width. No code in the checkpoint is executed.",
    ),
    "export": Command(
        options=ExportOptions,
        run="file_commands:run_export",
        help="turn a style into a file for JAX alone, for PyTorch or for ONNX",
        description="Turn a style into a file that runs without this package: "
        ".stablehlo, a program for jax.export.deserialize, for images of any size on "
        "CPU, CUDA and TPU; .onnx, the same for ONNX runtimes (pip install onnx); "
        ".pytorch.safetensors, a state dict for TransformerNet of pytorch/examples, "
        "which takes nets of width 32; safetensors.torch.load_file reads it. "
        "A painting, or an image of one, becomes a .stablehlo file.",
    ),
    "weights": Command(
        options=WeightsOptions,
        run="file_commands:run_weights",
        help="download a VGG network",
        description="Download a VGG network that Keras publishes, check it, and keep "
        "it where --vgg NAME finds it.",
    ),
    "data": Command(
        options=DataOptions,
        run="file_commands:run_data",
        help="download and prepare a data set to train on",
        description="Download a data set and prepare it with tensorflow-datasets. Of "
        "coco/2014 and coco/2017 only the training split is kept. A second run "
        "continues where the first was stopped.",
    ),
}
"""The commands in the order of the help."""
