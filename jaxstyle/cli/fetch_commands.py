"""``jaxstyle weights`` and ``data``: download VGG networks and photos to train on."""

from pathlib import Path

from jaxstyle.cli.commands import DataOptions, WeightsOptions
from jaxstyle.cli.runtime import make_say
from jaxstyle.data.coco import is_coco, prepare_coco
from jaxstyle.data.sources import find_tfds, is_tfds_name
from jaxstyle.data.tfds_records import open_tfds, prepare_tfds
from jaxstyle.files.published_vgg import download_vgg


def run_weights(options: WeightsOptions) -> int:
    """Download, check and convert a network; return the exit code."""
    path = download_vgg(options.network, url=options.url)
    print(f"{options.network} is ready: {path}")
    return 0


def run_data(options: DataOptions) -> int:
    """Prepare a data set unless it is there already; return the exit code."""
    name, data_dir = options.name, options.data_dir
    if not is_tfds_name(name):
        raise ValueError(
            f"expected a name such as coco/2014 or coco/2014:1.1.0, got {name!r}"
        )
    folder, state = find_tfds(name, data_dir=data_dir), "is there already"
    if folder is None:
        say = make_say(quiet=options.quiet)
        prepare = prepare_coco if is_coco(name) else prepare_tfds
        where = Path(data_dir or default_data_dir())
        folder, state = prepare(name, where, say=say, quiet=options.quiet), "is ready"
    images = len(open_tfds(folder, split="train"))
    print(f"{name} {state}: {images} images for training in {folder}")
    return 0


def default_data_dir() -> str:
    """Look up where TFDS keeps its data sets."""
    from tensorflow_datasets.core import constants

    return str(constants.DATA_DIR)
