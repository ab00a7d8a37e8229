"""COCO as it is published, small, on a server from which it can be prepared."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import run
from record_samples import FileServer

COCO = Path(__file__).parents[2] / "shared" / "coco128"
"""128 images of COCO's training split of 2017, with their annotations."""

needs_coco = pytest.mark.skipif(
    not COCO.exists(), reason="the images of coco128 lie beside the repository only"
)

YEARS = (2014, 2017)


def coco_images(year: int, count: int) -> dict[str, bytes]:
    """Return the first images of coco128 by the names that they have in a year."""
    prefix = "COCO_train2014_" if year == 2014 else ""
    paths = sorted((COCO / "train2017").iterdir())[:count]
    return {prefix + path.name: path.read_bytes() for path in paths}


def write_coco(folder: Path, year: int, *, count: int = 128) -> dict[str, bytes]:
    """Write the zip files of a year's training split; return the images by name."""
    images = coco_images(year, count)
    content = json.loads((COCO / "instances_train2017.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"{image['id']:012d}.jpg"
        if year == 2014:
            image["file_name"] = "COCO_train2014_" + image["file_name"]
    content["images"] = [i for i in content["images"] if i["file_name"] in images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [
        a for a in content["annotations"] if a["image_id"] in kept
    ]
    with zipfile.ZipFile(folder / f"train{year}.zip", "w") as archive:
        for name, data in images.items():
            archive.writestr(f"train{year}/{name}", data)
    path = folder / f"annotations_trainval{year}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"annotations/instances_train{year}.json", json.dumps(content))
    return images


class Published:
    """A server with the zip files of some of COCO, which the builder expects there."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        from tensorflow_datasets.core.download import checksums

        self.server = server
        self.images = {year: write_coco(folder, year, count=40) for year in YEARS}
        self.infos = {}
        for path in folder.iterdir():
            kind = "annotations" if "annotations" in path.name else "zips"
            server.files[f"{kind}/{path.name}"] = path.read_bytes()
            url = server.url(f"{kind}/{path.name}")
            self.infos[url] = checksums.compute_url_info(path)

    @property
    def asked(self) -> list[tuple[str, str | None]]:
        """What was asked of the server: file names and ranges."""
        return [(path.rpartition("/")[2], part) for path, part in self.server.requests]

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Let the builder expect these files, at this server."""
        from tensorflow_datasets.object_detection.coco import Coco

        from jaxstyle.data import coco

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("no_proxy", "127.0.0.1")
            patch.setattr(coco, "ROOT", self.server.url(""))
            patch.setattr(Coco, "url_infos", self.infos)
            yield


def data(name: str, data_dir: Path, *options: str) -> int:
    """Run ``jaxstyle data`` in this process and return its exit code."""
    return run(["data", name, "--data-dir", data_dir, *options])
