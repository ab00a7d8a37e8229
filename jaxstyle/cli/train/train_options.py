"""The options of ``jaxstyle train``: the net's settings, data, and the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxstyle.cli.options import PRESET, Options, find_options
from jaxstyle.files.json_files import parse_object
from jaxstyle.losses.config import option, seed_number
from jaxstyle.training.recipes import TRAINING_PRESETS, TrainConfig

SETTINGS = "settings.json"
"""The file in the folder of a run that tells how it was started."""

NO_CACHE = "none"
"""The choice of ``--data-cache`` by which photos are read as they are needed."""

DATA_DIR_HELP = (
    "where data sets are kept (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)"
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """The options of ``jaxstyle train``."""

    styles: Sequence[str] = option(
        (),
        "the painting, required except with --resume DIR (default: that of the run); "
        "several make a net of many styles, which predicts nets for "
        "other paintings too, or by --blend a net of their blend",
        name="style",
        metavar="IMAGE",
        nargs="+",
    )
    output: str = option(
        "",
        "the folder of the run: the net, checkpoints, metrics, pictures; required "
        "except with --resume DIR (default: that)",
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
    config: TrainConfig = field(
        default=TRAINING_PRESETS["default"], metadata={"presets": TRAINING_PRESETS}
    )
    seed: int = option(0, "of the net and of the crops", parse=seed_number)
    validation: int = option(
        32, "how many photos are held out to measure the loss on", group="run"
    )
    validate_every: int | None = option(
        None,
        "measure the loss on them every N steps, besides at the start and the end "
        "(default: a twentieth of the steps, at least 500)",
    )
    picture_every: int | None = option(
        None,
        "write a sheet of pictures every N steps, besides in the first minute and at "
        "the end (default: a tenth of the steps)",
    )
    checkpoint_every: int | None = option(
        None,
        "write a checkpoint every N steps, besides every few minutes and at the end "
        "(default: none)",
    )
    resume: bool = option(
        False,
        "continue from the last checkpoint in the folder of the run; --resume DIR "
        "alone is enough, whose settings are known",
        nargs="?",
        metavar="DIR",
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

    @classmethod
    def complete(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the options that the run in the folder of ``--resume DIR`` has."""
        folder = given.get("resume")
        if isinstance(folder, str):
            return {**_read_given(Path(folder)), **given, "resume": True}
        required = {"--style": "style", "-o": "output"}
        if missing := [flag for flag, name in required.items() if name not in given]:
            raise ValueError(
                f"the following are required: {', '.join(missing)}; or --resume DIR "
                "alone, to go on with a run"
            )
        return given


def _read_given(folder: Path) -> dict[str, Any]:
    """Read the options that a run was started with; a ValueError if there is none."""
    path = folder / SETTINGS
    try:
        record = parse_object(path.read_bytes())
        recorded, place = record["arguments"], Path(record["directory"])
        known = {PRESET, *(each.name for each in find_options(TrainOptions))}
        known.discard("quiet")  # which is of a command, not of a run
        given = {
            key: value
            for key, value in recorded.items()
            if key in known and value is not None
        }
        given["style"] = [_find(x, place) for x in recorded["styles"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"cannot go on with a run in {folder}: {path} is missing, damaged, or of "
            "another version of jaxstyle; give --style, -o and all that it had, and "
            "--resume"
        ) from error
    moved = {key: _find(given[key], place) for key in FILES if key in given}
    return {**given, **moved, "output": str(folder)}


FILES = ("data", "data_dir", "init", "vgg")
"""The options that may name files, besides paintings."""


def _find(name: str, place: Path) -> str:
    """Find a file that was named in a working directory, if it is there alone."""
    there = place / name
    return str(there) if there.exists() and not Path(name).exists() else name
