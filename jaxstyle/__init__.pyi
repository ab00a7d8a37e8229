from . import training
from .divided_nets import stylize_divided
from .exports import export_net
from .gatys import (
    State,
    init_state,
    make_step,
    run_steps,
)
from .image_files import load_image, load_settings, save_image
from .keepers import Keeper, keep_average, keep_best
from .losses import (
    Moments,
    absolute_variation,
    content_loss,
    gram_matrix,
    isotropic_variation,
    moments,
    style_loss,
    total_variation,
)
from .mixtures import mix_styles, stack_styles
from .objective import Objective, Weights
from .onnx_nets import to_onnx
from .optimizers import adam, lbfgs
from .perceptual import Problem, perceptual_loss
from .presets import PRESETS, Preset
from .pretrained import load_vgg
from .pyramid import optimize_image, pyramid_sizes
from .rows import divide_images, image_shardings, join_images, make_row_mesh
from .style_files import load_style, save_style
from .style_losses import (
    STYLE_LOSSES,
    StyleLoss,
    exact_wasserstein_loss,
    gram_loss,
    mean_loss,
    mean_std_loss,
    wasserstein_loss,
)
from .targets import Targets, make_targets
from .tiled_nets import stylize_tiled
from .transform_net import init_net, stylize
from .vgg import features
from .vgg_layers import layer_names
from .vgg_params import normalize, prepare_for_cpu, truncate

__all__ = [
    "PRESETS",
    "STYLE_LOSSES",
    "Keeper",
    "Moments",
    "Objective",
    "Preset",
    "Problem",
    "State",
    "StyleLoss",
    "Targets",
    "Weights",
    "absolute_variation",
    "adam",
    "content_loss",
    "divide_images",
    "exact_wasserstein_loss",
    "export_net",
    "features",
    "gram_loss",
    "gram_matrix",
    "image_shardings",
    "init_net",
    "init_state",
    "isotropic_variation",
    "join_images",
    "keep_average",
    "keep_best",
    "layer_names",
    "lbfgs",
    "load_image",
    "load_settings",
    "load_style",
    "load_vgg",
    "make_row_mesh",
    "make_step",
    "make_targets",
    "mean_loss",
    "mean_std_loss",
    "mix_styles",
    "moments",
    "normalize",
    "optimize_image",
    "perceptual_loss",
    "prepare_for_cpu",
    "pyramid_sizes",
    "run_steps",
    "save_image",
    "save_style",
    "stack_styles",
    "style_loss",
    "stylize",
    "stylize_divided",
    "stylize_tiled",
    "to_onnx",
    "total_variation",
    "training",
    "truncate",
    "wasserstein_loss",
]
