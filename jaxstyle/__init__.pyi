from . import training
from .gatys import (
    Problem,
    State,
    init_state,
    make_step,
    optimize_image,
    run_steps,
)
from .image_files import load_image, load_settings, save_image
from .losses import (
    absolute_variation,
    content_loss,
    gram_matrix,
    style_loss,
    total_variation,
)
from .optimizers import adam, lbfgs
from .perceptual import Targets, Weights, make_targets, perceptual_loss
from .presets import PRESETS, Preset
from .pretrained import load_vgg
from .style_files import load_style, save_style
from .transform_net import init_net, stylize
from .vgg import features, layer_names, normalize, prepare_for_cpu, truncate

__all__ = [
    "PRESETS",
    "Preset",
    "Problem",
    "State",
    "Targets",
    "Weights",
    "absolute_variation",
    "adam",
    "content_loss",
    "features",
    "gram_matrix",
    "init_net",
    "init_state",
    "layer_names",
    "lbfgs",
    "load_image",
    "load_settings",
    "load_style",
    "load_vgg",
    "make_step",
    "make_targets",
    "normalize",
    "optimize_image",
    "perceptual_loss",
    "prepare_for_cpu",
    "run_steps",
    "save_image",
    "save_style",
    "style_loss",
    "stylize",
    "total_variation",
    "training",
    "truncate",
]
