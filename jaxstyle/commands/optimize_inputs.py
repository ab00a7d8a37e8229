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
from jaxstyle.image_files import check_output_path, load_image
from jaxstyle.images import Image
from jaxstyle.optimizers import OPTIMIZERS
from jaxstyle.pooling import POOLINGS
from jaxstyle.presets import PRESETS, Preset
from jaxstyle.pretrained import load_vgg

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
    "activations": (*vgg.GRANULARITIES, "raw"),
    "pooling": POOLINGS,
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
    blend, styles = arguments.blend, arguments.styles
    if blend is not None and len(blend) != len(styles):
        raise ValueError(
            f"--blend needs one number per painting: {len(styles)}, got {len(blend)}"
        )


def numbered(path: str, step: int) -> Path:
    """Put a step's number before the suffix: ``out.00050.png``."""
    return Path(path).with_suffix(f".{step:05d}{Path(path).suffix}")


def choose_settings(arguments: argparse.Namespace) -> Preset:
    """Return the preset with what the arguments replace in it.

    Raises:
        ValueError: a setting has a name that is not known.
    """
    preset = PRESETS[arguments.preset]
    given = {name: getattr(arguments, name) for name in OVERRIDES}
    chosen = replace(
        preset,
        content=_override_weights(preset.content, arguments.content_weight),
        style=_override_weights(preset.style, arguments.style_weight),
        **{name: value for name, value in given.items() if value is not None},
    )
    for setting, known in CHOICES.items():
        name = getattr(chosen, setting)
        if name not in known:
            raise ValueError(f"no {setting} {name!r}; known are {', '.join(known)}")
    return chosen


def _override_weights(
    weights: Mapping[str, float], given: float | Mapping[str, float] | None
) -> Mapping[str, float]:
    if given is None:
        return weights
    return given if isinstance(given, Mapping) else dict.fromkeys(weights, given)


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
    style_size = arguments.style_size or arguments.size
    styles = [
        jnp.asarray(load_image(path, longest_side=style_size))
        for path in arguments.styles
    ]
    init = load_init(preset.init, content, seed=arguments.seed)
    params = load_params(preset)
    check_size(arguments.content, content, params, option="--size")
    for path, style in zip(arguments.styles, styles, strict=True):
        check_size(path, style, params, option="--style-size")
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


def load_params(preset: Preset) -> vgg.Params:
    """Return the network's parameters, normalised and as deep as the layers ask."""
    layers = (*preset.content, *preset.style)
    params = vgg.truncate(load_vgg(preset.vgg), layers)
    if preset.activations == "raw":
        return params
    return vgg.normalize(params, per=preset.activations)


def check_size(path: str, image: Image, params: vgg.Params, *, option: str) -> None:
    """Raise a ValueError if an image is too small for the network's deepest layer."""
    deepest, smallest = vgg.layer_names(params)[-1], vgg.smallest_side(params)
    height, width, _ = image.shape
    if min(height, width) < smallest:
        raise ValueError(
            f"{path} at {width}x{height} pixels is too small for {deepest}, "
            f"which needs {smallest}x{smallest}; use a larger {option}"
        )
