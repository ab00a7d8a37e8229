"""Data sets downloaded and prepared for training, in files that need no TensorFlow."""

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from jaxstyle.data.coco import TrainOnlyCoco, urls
from jaxstyle.data.tfds_records import TRAIN_ONLY
from jaxstyle.files.downloads import Checksum, download, missing_bytes


class Archive(NamedTuple):
    """A file that COCO publishes, and where it is kept."""

    url: str
    path: Path
    size: int
    sha256: str


def prepare_coco(
    name: str, data_dir: Path, *, say: Callable[[str], None], quiet: bool = False
) -> Path:
    """Download, check and prepare COCO's training split; return its folder.

    The zip files are kept, or found, in ``downloads/manual`` of ``data_dir``. When
    anything breaks off, the next call goes on with what has been downloaded.

    Args:
        name: ``coco/2014`` or ``coco/2017``.
        data_dir: the folder of TFDS data sets; it is made if there is none.
        say: takes what the user should know beforehand.
        quiet: whether to show no progress.

    Raises:
        ValueError: the disk is too small, a download fails, a zip file is not the
            published one, the records cannot be written, or another process is
            preparing data there.
    """
    config = TRAIN_ONLY[name.partition(":")[0]].removeprefix("coco/")
    data_dir = data_dir.expanduser()
    kept = data_dir / "downloads" / "manual"
    kept.mkdir(parents=True, exist_ok=True)
    with _alone(kept.parent):
        builder = TrainOnlyCoco(
            config=config, data_dir=data_dir, file_format="array_record"
        )
        builder.quiet = quiet
        _remove_leftovers(Path(builder.data_dir))
        archives = list(_archives(builder.builder_config, kept))
        say(check_room(name, archives, data_dir))
        for archive in archives:
            if not archive.path.exists():
                checksum = Checksum("sha256", archive.sha256)
                download(archive.url, archive.path, checksum=checksum, quiet=quiet)
        say(f"checking the zip files in {kept} and preparing the records ...")
        _build(builder, kept)
    say(f"the zip files in {kept} are not needed any more")
    return Path(builder.data_dir)


def check_room(name: str, archives: Sequence[Archive], folder: Path) -> str:
    """Return what will be downloaded and what it needs of the disk, in one line.

    Raises:
        ValueError: the disk has not enough room.
    """
    missing = sum(missing_bytes(archive.path, archive.size) for archive in archives)
    records = sum(archive.size for archive in archives)  # about as much as the zips
    free = shutil.disk_usage(folder).free
    what = (
        f"{name}: {readable(missing)} to download, {readable(missing + records)} "
        f"needed of the disk in {folder}, {readable(free)} free"
    )
    if free < missing + records:
        raise ValueError(f"not enough room for {what}; use another --data-dir")
    return what


def readable(size: int) -> str:
    """Return a number of bytes as people write it."""
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.0f} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"


def _archives(config: Any, folder: Path) -> Iterator[Archive]:
    for url in urls(config):
        info = TrainOnlyCoco.url_infos[url]
        yield Archive(url, folder / info.filename, int(info.size), info.checksum)


def _build(builder: Any, kept: Path) -> None:
    tfds.disable_progress_bar()  # the builder shows its own
    options = tfds.download.DownloadConfig(manual_dir=kept, try_download_gcs=False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS says what `say` said
            builder.download_and_prepare(
                download_dir=kept.parent, download_config=options
            )
    except NonMatchingChecksumError as error:
        raise ValueError(
            f"a zip file in {kept} is not the published one; remove it and try again: "
            f"{error}"
        ) from error
    except Exception as error:  # of many types: a full disk alone gives several
        raise ValueError(
            f"cannot write the records to {builder.data_dir}: {error}; the zip files "
            "are kept, try again"
        ) from error


def _remove_leftovers(folder: Path) -> None:
    """Remove what interrupted preparations of the same data have left behind."""
    for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):
        shutil.rmtree(leftover)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, which the system releases if the process is killed."""
    import fcntl

    with (folder / ".jaxstyle.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another process is preparing data in {folder}; wait until it is done"
            ) from error
        yield


def prepare_tfds(
    name: str, data_dir: Path, *, say: Callable[[str], None], quiet: bool = False
) -> Path:
    """Prepare a data set as TFDS does, in files that are read without TensorFlow.

    Args:
        name: any name that TFDS knows.
        data_dir: the folder of TFDS data sets.
        say: takes what the user should know beforehand.
        quiet: whether to show no progress.

    Returns:
        The folder of the data set.

    Raises:
        ValueError: TFDS knows no such data set, or it cannot prepare it, for instance
            because that needs TensorFlow.
    """
    if quiet:
        tfds.disable_progress_bar()
    try:
        # TFDS prints how to install TensorFlow when it is missing.
        with contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(
                name, data_dir=data_dir.expanduser(), file_format="array_record"
            )
            size = sum(info.size for info in (builder.url_infos or {}).values())
            say(
                f"{name}: TFDS lists {readable(size)} of downloads for all of its "
                f"configurations; the records go to {builder.data_dir}"
            )
            builder.download_and_prepare()
    except registered.DatasetNotFoundError as error:
        raise ValueError(f"TFDS knows no data set {name}") from error
    except Exception as error:  # of many types: TFDS adds what it was doing
        reason = " ".join(str(error).split())
        if isinstance(error, ImportError) and "tensorflow" in reason:
            reason = (
                "that needs TensorFlow, which is not installed; install it, or prepare "
                "the data elsewhere, since reading them does not need it"
            )
        raise ValueError(f"TFDS cannot prepare {name}: {reason}") from error
    return Path(builder.data_dir)
