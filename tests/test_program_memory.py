"""How many programs ``jaxstyle stylize`` keeps."""

import gc
import weakref
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxstyle.cli.loading import Style
from jaxstyle.cli.main import parse
from jaxstyle.cli.stylize.painting import Batch, Painter
from jaxstyle.cli.stylize.photos import LoadedPhoto, Photo


class Program:
    """A program that returns its images."""

    def __call__(self, params: Any, images: jax.Array, *_: Any) -> jax.Array:
        return images


def test_the_programs_of_one_shape_are_kept_for_all_styles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[weakref.ref[Program]] = []

    def compile_program(*_: Any) -> Program:
        program = Program()
        made.append(weakref.ref(program))
        return program

    monkeypatch.setattr(Painter, "_compile", compile_program)
    command = ["stylize", "x.png", "--style", "x", "-o", "out", "--quiet"]
    painter = Painter(parse(command)[1], str)
    styles = [Style(str(n), (), {"x": np.zeros(n)}) for n in (1, 2)]
    photo = Photo(Path("x.png"), Path("x.png"), "x.png")
    for side in (64, 64, 128, 192):
        images = np.zeros((1, side, 64, 3), np.float32)
        for style in styles:
            assert (
                painter(
                    style, Batch([LoadedPhoto(photo, images[0])], images, None)
                ).shape
                == images.shape
            )
        gc.collect()
        alive = sum(program() is not None for program in made)
        assert alive == len(styles)
    assert len(made) == 3 * len(styles)
