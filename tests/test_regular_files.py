"""What is not a regular file is refused by every reader, without waiting."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jaxstyle.cli.push_command import read_card
from jaxstyle.cli.stylize.photos import Photo, PhotoError, read_photo, read_size
from jaxstyle.convert.published_vgg import read_vgg
from jaxstyle.convert.torch_nets import from_torch
from jaxstyle.data.sources import open_source
from jaxstyle.files.checkpoints import MANIFEST, load_checkpoint
from jaxstyle.files.image_files import load_image, load_settings
from jaxstyle.files.param_files import load_header, load_params
from jaxstyle.files.run_log import read_metrics
from jaxstyle.files.style_files import load_style_file
from jaxstyle.files.transport_files import load_painting
from jaxstyle.files.vgg_files import load_vgg


def read_record(path: Path) -> Any:
    return open_source(str(path.parent))[0]


def read_manifest(path: Path) -> Any:
    (path.parent / "1").mkdir()
    path.rename(path.parent / "1" / MANIFEST)
    return load_checkpoint(path.parent, lambda _: None, {}, say=print)  # type: ignore[type-var]


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "image": ("x.png", load_image),
    "settings": ("x.png", load_settings),
    "record": ("x.png", read_record),
    "parameters": ("x.safetensors", load_params),
    "header": ("x.safetensors", load_header),
    "style": ("x.safetensors", load_style_file),
    "painting": ("x.safetensors", load_painting),
    "VGG": ("x.safetensors", load_vgg),
    "ONNX": ("x.onnx", read_vgg),
    "HDF5": ("x.h5", read_vgg),
    "torchvision": ("x.pth", read_vgg),
    "PyTorch": ("x.pth", from_torch),
    "metrics": ("metrics.jsonl", read_metrics),
    "manifest": (MANIFEST, read_manifest),
    "card": ("x.md", read_card),
}

REASON = "not a (regular )?file|no such PyTorch checkpoint|no style|is no file"


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused_without_waiting(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=REASON) as refused:
        read(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_pipe_among_photos_is_one_bad_photo(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "x.png")
    photo = Photo(path, Path("x.png"), "x.png")
    assert read_size(photo, max_size=None) is None
    with pytest.raises(PhotoError, match=re.escape("x.png: it is not a regular file")):
        read_photo(photo, max_size=None, stroke_size=1, smallest_side=1)
