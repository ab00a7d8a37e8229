"""The training split of COCO 2014 and 2017, prepared without TensorFlow.

TFDS's own builder downloads and extracts all splits, 37 GiB for 2014, and needs
TensorFlow for it. This one is a subclass that takes the training split alone, reads
the images where they lie in the zip file, and writes records that equal those of the
original, in the same order; any program that uses TFDS can read them.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import hashing, utils
from tensorflow_datasets.core.utils import shard_utils
from tensorflow_datasets.object_detection.coco import AnnotationType, Coco, CocoConfig
from tqdm import tqdm

from jaxstyle.data.tfds_records import TRAIN_ONLY

ROOT = "http://images.cocodataset.org/"
"""Where COCO is published."""


class TrainOnlyCoco(tfds.core.ShardBasedBuilder, Coco, skip_registration=True):  # type: ignore[misc, call-arg]
    """COCO's training split.

    It writes its shards itself. TFDS's generator-based builders sort what exceeds
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
        """Return the sizes and checksums that TFDS lists for COCO, by address."""
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
            desc="preparing", total=len(examples), unit=" images", disable=self.quiet
        )
        parts = [
            examples[begin:end] for begin, end in zip([0, *ends], ends, strict=False)
        ]
        read = partial(_read_images, Path(images), split.images, bar=bar)
        return {split.name: [partial(read, part) for part in parts]}

    def _read_examples(self, annotations: Path, split: Any) -> list[Any]:
        """Return all examples but for their images, in the order of TFDS."""
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
    """Write a split's annotations, without the outlines, which take most memory."""
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
    """Return where the images and the annotations of a configuration are."""
    (split,) = config.splits
    return (
        f"{ROOT}zips/{split.images}.zip",
        f"{ROOT}annotations/{split.annotations}.zip",
    )


def is_coco(name: str) -> bool:
    """Tell whether a data set is one whose training split can be built here."""
    config, _, version = name.partition(":")
    versions = {"", *(str(config.version) for config in TrainOnlyCoco.BUILDER_CONFIGS)}
    return config in TRAIN_ONLY and version in versions
