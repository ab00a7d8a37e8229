"""``jaxstyle data`` for what is not COCO, and for what is wrong."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds
from command_line import run
from record_samples import encode, gradient, write_tfds

from jaxstyle.data.sources import open_source


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run the command with something wrong and return the line that says what."""
    assert run(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    return line.removeprefix("jaxstyle data: error: ")


class Birds(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """A data set that TFDS knows and that needs no TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[Any]:
        for number in range(3):
            image = encode(gradient(20 + number, 10))
            yield number, {"image": io.BytesIO(image)}


def test_other_data_sets_are_prepared_as_tfds_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "birds", "--data-dir", tmp_path, "--quiet"]) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "birds" / "1.0.0"
    assert out == f"birds is ready: 3 images for training in {folder}\n"
    assert err == ""
    source = open_source("birds", data_dir=tmp_path)
    assert {source[i].data for i in range(3)} == {
        encode(gradient(20 + number, 10)) for number in range(3)
    }


def test_the_place_is_tfds_own_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorflow_datasets.core import constants

    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path))
    write_tfds(tmp_path, "fish", [encode(gradient(20, 10))])
    assert run(["data", "fish"]) == 0
    expected = "fish is there already: 1 images for training in "
    assert capsys.readouterr() == (f"{expected}{tmp_path / 'fish' / '1.0.0'}\n", "")


def test_an_unknown_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, "no_such_data", "--data-dir", tmp_path)
    assert message == "TFDS knows no data set no_such_data"


@pytest.mark.parametrize("name", ["./photos", "a/b/c", "coco/2014:x"])
def test_what_is_no_name_is_refused(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert refusal(capsys, name) == (
        f"expected a name such as coco/2014 or coco/2014:1.1.0, got {name!r}"
    )


def test_no_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "") == "argument NAME: expected a value, got ''"


def test_a_version_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, "birds:9.9.9", "--data-dir", tmp_path)
    assert "9.9.9" in message


def test_what_needs_tensorflow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As where TensorFlow is not installed, whether it is or not.
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    message = refusal(capsys, "coco/2017_panoptic", "--data-dir", tmp_path)
    expected = "TFDS cannot prepare coco/2017_panoptic: that needs TensorFlow, which is"
    assert message.startswith(expected)


def test_a_damaged_preparation_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tfds(tmp_path, "fish", [encode(gradient(20, 10))])
    for path in folder.glob("*array_record*"):
        path.unlink()
    message = refusal(capsys, "fish", "--data-dir", tmp_path)
    assert "are incomplete: 1 of 1 files are missing" in message


def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name in ("coco/2014", "birds"):
        message = refusal(capsys, name, "--data-dir", tmp_path / "file")
        assert "Not a directory" in message
