"""Small nets and photos for ``jaxstyle stylize``, and what it makes of them."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from command_line import contents, run
from image_samples import smooth
from PIL import Image

from jaxstyle import load_image, stylize
from jaxstyle.nets import init_net
from jaxstyle.nets.transform_net import Params

STYLE = ("--style", "wave.safetensors", "--quiet")


def make_net(seed: int) -> Params:
    """Return a net whose pictures look like their photos, but for what it adds."""
    net = init_net(jax.random.key(seed), width=2, blocks=1)
    return {**net, "conv6": {**net["conv6"], "bias": np.array([0.1, -0.1, 0.2])}}


def save_photo(name: str, height: int = 20, width: int = 36, **options: Any) -> None:
    """Write a photo, and the folder that it lies in."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(smooth(height, width) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(name, **options)


def expected(net: Params, name: str) -> np.ndarray:
    """Return what the net makes of a photo."""
    picture = jax.jit(stylize)(net, load_image(name))
    clipped: np.ndarray = np.clip(np.asarray(picture), 0, 1)
    return clipped


def assert_picture(name: str, picture: Any, *, within: float = 0.6 / 255) -> None:
    """Compare a picture with what is expected, by default up to rounding."""
    np.testing.assert_allclose(load_image(name), picture, rtol=0, atol=within)


def files(folder: str = ".") -> list[str]:
    """Return the names of all files in a folder."""
    return sorted(contents(Path(folder)))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of a run that must write nothing."""
    before = contents(Path())
    assert run(["stylize", *arguments]) == 2
    assert contents(Path()) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("jaxstyle stylize: error: ")
    return line
