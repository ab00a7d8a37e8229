"""What ``jaxstyle optimize`` works with: settings, images, a network."""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxstyle import vgg
from jaxstyle.commands.settings import (
    LOSS_CHOICES,
    check_blend,
    check_choices,
    check_size,
    find_overrides,
    load_params,
    load_styles,
)
from jaxstyle.image_files import check_output_path, load_image
from jaxstyle.images import Image
from jaxstyle.optimizers import OPTIMIZERS
from jaxstyle.presets import PRESETS, Preset

OVERRIDES = (
    "init",
    "steps",
    "optimizer",
    "vgg",
    "activations",
    "pooling",
    "total_variation",
)
"""The arguments that replace a preset's setting of the same name."""

CHOICES: Mapping[str, Collection[str]] = {
    "optimizer": OPTIMIZERS,
    **LOSS_CHOICES,
}
"""The names that a setting may have."""


class Inputs(NamedTuple):
    """What was read from files."""

    content: Image
    styles: list[Image]
    init: Image
    params: vgg.Params


# --- arguments ----------------------------------------------------------------------


def check_arguments(arguments: argparse.Namespace, *, steps: int) -> None:
    """Raise a ValueError unless the pictures can be written and the counts agree."""
    check_output_path(arguments.output)
    every = arguments.save_every or steps
    so_far = (numbered(arguments.output, n) for n in range(every, steps, every))
    outputs = {Path(path).resolve() for path in (arguments.output, *so_far)}
    for path in (arguments.content, *arguments.styles, arguments.init or ""):
        if Path(path).resolve() in outputs:
            raise ValueError(f"{path} is an input; writing the picture would lose it")
    check_blend(arguments.blend, arguments.styles)


def numbered(path: str, step: int) -> Path:
    """Put a step's number before the suffix: ``out.00050.png``."""
    return Path(path).with_suffix(f".{step:05d}{Path(path).suffix}")


def choose_settings(arguments: argparse.Namespace) -> Preset:
    """Return the preset with what the arguments replace in it.

    Raises:
        ValueError: a setting has a name that is not known.
    """
    preset = PRESETS[arguments.preset]
    chosen = replace(preset, **find_overrides(arguments, preset, OVERRIDES))
    check_choices(chosen, CHOICES)
    return chosen


def make_optimizer(
    name: str, learning_rate: float | None
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer by name; a ValueError if it takes no learning rate."""
    if learning_rate is None:
        return OPTIMIZERS[name]()
    if name != "adam":
        raise ValueError(f"--learning-rate is of adam only, not of {name}")
    return OPTIMIZERS[name](learning_rate=learning_rate)


# --- files --------------------------------------------------------------------------


def load_inputs(arguments: argparse.Namespace, preset: Preset) -> Inputs:
    """Read and check the images and the network."""
    content = jnp.asarray(load_image(arguments.content, longest_side=arguments.size))
    init = load_init(preset.init, content, seed=arguments.seed)
    params = load_params(preset)
    check_size(arguments.content, content, params, option="--size")
    size = arguments.style_size or arguments.size
    styles = load_styles(arguments.styles, size, params)
    return Inputs(content, styles, init, params)


def load_init(init: str, content: Image, *, seed: int) -> Image:
    """Return the content, noise, or the image in a file, scaled to the content."""
    if init == "content":
        return content
    if init == "noise":
        return jax.random.uniform(jax.random.key(seed), content.shape)
    image = jnp.asarray(load_image(init, longest_side=max(content.shape)))
    resized: Image = jax.image.resize(image, content.shape, "lanczos3")
    return resized
