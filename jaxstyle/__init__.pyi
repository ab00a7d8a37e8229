from .gatys import (
    Problem,
    State,
    init_state,
    make_step,
    optimize_image,
    run_steps,
)
from .image_files import load_image, load_settings, save_image
from .losses import content_loss, gram_matrix, style_loss, total_variation
from .optimizers import adam, lbfgs
from .perceptual import Targets, Weights, make_targets, perceptual_loss
from .presets import PRESETS, Preset
from .pretrained import load_vgg
from .vgg import features, layer_names, normalize, prepare_for_cpu, truncate

__all__ = [
    "PRESETS",
    "Preset",
    "Problem",
    "State",
    "Targets",
    "Weights",
    "adam",
    "content_loss",
    "features",
    "gram_matrix",
    "init_state",
    "layer_names",
    "lbfgs",
    "load_image",
    "load_settings",
    "load_vgg",
    "make_step",
    "make_targets",
    "normalize",
    "optimize_image",
    "perceptual_loss",
    "prepare_for_cpu",
    "run_steps",
    "save_image",
    "style_loss",
    "total_variation",
    "truncate",
]
