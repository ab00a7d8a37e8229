"""The training split of COCO 2014 and 2017, prepared without TensorFlow.

TFDS's own builder downloads and extracts all splits, 37 GiB for 2014, and needs
TensorFlow. This subclass uses only the training split, reads images from inside the zip
file, and writes the same records in the same order; any user of TFDS can read them.
"""

import contextlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing, utils
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.object_detection.coco import AnnotationType, Coco, CocoConfig
from tqdm import tqdm

from jaxstyle.data.sources import TRAIN_ONLY
from jaxstyle.data.tfds_records import readable
from jaxstyle.files.downloads import Checksum, download, missing_bytes

ROOT = "http://images.cocodataset.org/"
"""The address of COCO."""


class TrainOnlyCoco(tfds.core.ShardBasedBuilder, Coco, skip_registration=True):  # type: ignore[misc, call-arg]
    """COCO's training split.

    It writes its shards itself, since TFDS's generator-based builders sort more than
    1 GB in files that only TensorFlow opens; here the order is known beforehand.
    """

    name = "coco"
    quiet = False
    BUILDER_CONFIGS = [  # noqa: RUF012  # as TFDS wants it
        CocoConfig(
            name=TRAIN_ONLY[f"coco/{config.name}"].removeprefix("coco/"),
            description=f"The training split of COCO {config.name}.",
            splits=[split for split in config.splits if split.name == "train"],
        )
        for config in Coco.BUILDER_CONFIGS
        if f"coco/{config.name}" in TRAIN_ONLY
    ]

    @utils.classproperty  # type: ignore[untyped-decorator]
    @classmethod
    def url_infos(cls) -> Any:
        """Look up the sizes and checksums that TFDS lists for COCO, by address."""
        return Coco.url_infos

    def _info(self) -> Any:
        features = tfds.features
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of the COCO data set with their objects.",
            homepage="http://cocodataset.org/#home",
            features=features.FeaturesDict(
                {
                    "image": features.Image(encoding_format="jpeg"),
                    "image/filename": features.Text(),
                    "image/id": np.int64,
                    "objects": features.Sequence(
                        {
                            "id": np.int64,
                            "area": np.int64,
                            "bbox": features.BBoxFeature(),
                            "label": features.ClassLabel(num_classes=80),
                            "is_crowd": np.bool_,
                        }
                    ),
                }
            ),
        )

    def _shard_iterators_per_split(self, dl_manager: Any) -> Mapping[str, Any]:
        images, annotations = dl_manager.download(list(urls(self.builder_config)))
        (split,) = self.builder_config.splits
        examples = self._read_examples(Path(annotations), split)
        with zipfile.ZipFile(images) as archive:
            size = sum(member.file_size for member in archive.infolist())
        number = shard_utils.ShardConfig().get_number_shards(size, len(examples))
        ends = shard_utils.get_shard_boundaries(len(examples), number)
        bar = tqdm(
            desc="preparing",
            total=len(examples),
            unit=" images",
            disable=self.quiet or None,
        )
        parts = [
            examples[begin:end] for begin, end in zip([0, *ends], ends, strict=False)
        ]
        read = partial(_read_images, Path(images), split.images, bar=bar)
        return {split.name: [partial(read, part) for part in parts]}

    def _read_examples(self, annotations: Path, split: Any) -> list[Any]:
        """Read all examples except their images, in the order of TFDS."""
        with tempfile.TemporaryDirectory(dir=self.data_dir) as folder:
            _extract_annotations(annotations, split.images, Path(folder))
            examples = list(
                self._generate_examples(
                    image_dir="",
                    annotation_dir=folder,
                    split_name=split.images,
                    annotation_type=AnnotationType.BBOXES,
                    panoptic_dir=None,
                )
            )
        hasher = hashing.Hasher(split.name)
        return sorted(examples, key=lambda example: hasher.hash_key(example[0]))


def _extract_annotations(archive: Path, split: str, folder: Path) -> None:
    """Write a split's annotations without outlines, which take the most memory."""
    member = f"annotations/instances_{split}.json"

    def without_outline(thing: dict[str, Any]) -> dict[str, Any]:
        thing.pop("segmentation", None)
        return thing

    with zipfile.ZipFile(archive) as files, files.open(member) as file:
        content = json.load(file, object_hook=without_outline)
    path = folder / member
    path.parent.mkdir()
    path.write_text(json.dumps(content))


def _read_images(
    archive: Path, split: str, examples: Sequence[Any], *, bar: Any
) -> Iterator[Any]:
    """Yield examples with their images; close the bar when it is full."""
    with zipfile.ZipFile(archive) as images:
        for key, example in examples:
            image = io.BytesIO(images.read(f"{split}/{key}"))
            yield key, example | {"image": image}
            bar.update()
    if bar.n == bar.total:
        bar.close()


def urls(config: Any) -> Sequence[str]:
    """Make the addresses of a configuration's images and annotations."""
    (split,) = config.splits
    return (
        f"{ROOT}zips/{split.images}.zip",
        f"{ROOT}annotations/{split.annotations}.zip",
    )


def is_coco(name: str) -> bool:
    """Recognize a data set whose training split can be built here."""
    config, _, version = name.partition(":")
    versions = {"", *(str(config.version) for config in TrainOnlyCoco.BUILDER_CONFIGS)}
    return config in TRAIN_ONLY and version in versions


# --- preparation --------------------------------------------------------------------


class Archive(NamedTuple):
    """A file that COCO publishes, and its local path."""

    url: str
    path: Path
    size: int
    sha256: str


def prepare_coco(
    name: str, data_dir: Path, *, say: Callable[[str], None], quiet: bool = False
) -> Path:
    """Download, check and prepare COCO's training split; return its folder.

    ``name`` is ``coco/2014`` or ``coco/2017``. The zip files are kept, or found, in
    ``downloads/manual`` of ``data_dir``, which is created if missing. After a failure,
    the next call resumes the download. ``say`` receives lines for the user beforehand;
    ``quiet`` hides the progress bars.
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
        folder = Path(builder.data_dir)
        for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):
            shutil.rmtree(leftover)
        archives = [
            Archive(url, kept / info.filename, int(info.size), info.checksum)
            for url in urls(builder.builder_config)
            for info in [TrainOnlyCoco.url_infos[url]]
        ]
        say(check_room(name, archives, data_dir))
        for archive in archives:
            if not archive.path.exists():
                checksum = Checksum("sha256", archive.sha256)
                download(archive.url, archive.path, checksum=checksum, quiet=quiet)
        say(f"checking the zip files in {kept} and preparing the records ...")
        _build(builder, kept)
    say(f"the zip files in {kept} are not needed any more")
    return folder


def check_room(name: str, archives: Sequence[Archive], folder: Path) -> str:
    """Describe the download and the disk space that it needs, in one line."""
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


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a folder; the system releases the lock of a killed process."""
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows: of two processes, the second one fails
        yield
        return
    with (folder / ".jaxstyle.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another process is preparing data in {folder}; wait until it is done"
            ) from error
        yield
