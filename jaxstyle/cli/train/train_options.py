"""The options of ``jaxstyle train``: the net's settings, data, and the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxstyle.cli.options import Options
from jaxstyle.losses.config import REQUIRED, option, seed_number
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainConfig

NO_CACHE = "none"
"""The choice of ``--data-cache`` by which photos are read as they are needed."""

DATA_DIR_HELP = (
    "where data sets are kept (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)"
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """The options of ``jaxstyle train``."""

    styles: Sequence[str] = option(
        REQUIRED,
        "the painting; several make a net of many styles, which predicts nets for "
        "other paintings too, or by --blend a net of their blend",
        name="style",
        metavar="IMAGE",
        nargs="+",
    )
    output: str = option(
        REQUIRED,
        "the folder of the run: the net, checkpoints, metrics, pictures",
        short="-o",
        metavar="DIR",
    )
    data: str = option(
        "coco/2014",
        "a folder of photos, or a data set that jaxstyle data has prepared",
        metavar="DATA",
    )
    data_dir: str | None = option(None, DATA_DIR_HELP, metavar="DIR")
    data_cache: str = option(
        NO_CACHE,
        "device: read all photos once, into the memory of each device, and train as "
        "fast as it can. Of each a square of 9/8 of --size is kept, its shorter side "
        "whole; batches are crops of it, mirrored or not. Without the cache crops come "
        "from anywhere in the photo, and those of 256 pixels from half to all of its "
        "shorter side",
        choices=(NO_CACHE, "device"),
    )
    init: str | None = option(
        None,
        "start from the net of another style, shipped, a file or "
        "hf:USER/REPO[@REVISION], which takes far fewer steps than a new net; or from "
        "a net of many styles",
        metavar="STYLE",
    )
    config: TrainConfig = field(
        default=TRAINING_PRESETS["default"], metadata={"presets": TRAINING_PRESETS}
    )
    seed: int = option(0, "of the net and of the crops", parse=seed_number)
    validation: int = option(
        32, "how many photos are held out to measure the loss on", group="run"
    )
    validate_every: int = option(
        500, "measure the loss on them every N steps, and at the end"
    )
    picture_every: int = option(
        500, "write a sheet of pictures every N steps, and at the end"
    )
    checkpoint_every: int = option(
        500, "write a checkpoint every N steps, and at the end"
    )
    resume: bool = option(
        False, "continue from the last checkpoint in the folder of the run"
    )
    quiet: bool = option(False, "show no progress")
    coordinator: str | None = option(
        None,
        "the address of the first process; auto in a Slurm, Open MPI or Kubernetes job "
        "or on a TPU pod, which provide all three. Training uses all devices of a "
        "process, which share the batch. To use the devices of several machines, start "
        "it on each with the same data and options; the first one writes the files",
        metavar="HOST:PORT",
        group="several processes",
    )
    num_processes: int | None = option(None, "how many processes there are")
    process_id: int | None = option(
        None, "which of them this is, from 0", metavar="I", parse=int
    )
