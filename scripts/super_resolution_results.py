"""What became of super-resolution nets: pictures, measures, and a sheet."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import flax.linen as nn
import jax
import numpy as np
from checkerboards import checkerboard
from image_quality import psnr, ssim
from jaxtyping import Float
from super_resolution import (
    LAYER,
    Images,
    Losses,
    Params,
    enlarge,
    feature_loss,
    shrink,
)

import jaxstyle
from jaxstyle.files import make_sheet

JUDGE = "relu4_3"
"""A layer that no net is trained on, and which is compared as VGG was trained."""

MEASURES = ("PSNR, dB", "SSIM", LAYER, JUDGE)
"""What is told of a picture beside its original."""

PERIODS = (2, 4)
"""Of the grids that are looked for, in pixels."""

Photos: TypeAlias = Float[np.ndarray, "n h w 3"]


def make_pictures(
    net: nn.Module, trained: Mapping[str, Params], originals: Photos
) -> dict[str, Photos]:
    """Return what becomes of small versions of photos, by name, within [0, 1]."""
    apply = jax.jit(lambda params, small: net.apply({"params": params}, small))
    small = [jax.jit(shrink)(photo[None]) for photo in originals]
    pictures = {"bicubic": [jax.jit(enlarge)(each) for each in small]}
    for name, params in trained.items():
        pictures[f"{name} loss"] = [apply(params, each) for each in small]
    return {
        name: np.clip(np.concatenate(each), 0, 1) for name, each in pictures.items()
    }


def measure(
    vgg: Params, pictures: Mapping[str, Photos], originals: Photos
) -> dict[str, dict[str, float]]:
    """Return several measures of pictures, as means over them, by the pictures' name.

    Of the originals themselves there are only those that compare with nothing.
    """
    program = jax.jit(compare)
    table = {}
    for name, images in pictures.items():
        found = [
            program(vgg, image[None], original[None])
            for image, original in zip(images, originals, strict=True)
        ]
        table[name] = {
            measure: float(np.mean([each[measure] for each in found]))
            for measure in MEASURES
        } | measure_grids(images)
    return table | {"original": measure_grids(originals)}


def compare(vgg: Params, images: Images, originals: Images) -> dict[str, Losses]:
    """Return the `MEASURES` of images beside their originals."""
    found = (
        psnr(images, originals),
        ssim(images, originals),
        feature_loss(vgg, images, originals),
        feature_loss(vgg, images, originals, layer=JUDGE, pooling="max"),
    )
    return dict(zip(MEASURES, found, strict=True))


def measure_grids(images: Photos) -> dict[str, float]:
    """Return how far grids rise above what is around them, as means over images."""
    return {
        f"grid of {period} px, dB": float(
            np.mean([checkerboard(image, period=period) for image in images])
        )
        for period in PERIODS
    }


def make_rows(table: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    """Return the rows of a table to print, by column, with gaps where nothing is."""
    columns = next(iter(table.values()))
    return [
        {"": name} | {key: f"{row[key]:.3f}" if key in row else "" for key in columns}
        for name, row in table.items()
    ]


def save_sheet(pictures: Mapping[str, Photos], path: Path) -> None:
    """Write a row of pictures for each photo, in the order of their names."""
    rows = list(zip(*pictures.values(), strict=True))
    jaxstyle.save_image(make_sheet(rows, column_labels=list(pictures)), path)
