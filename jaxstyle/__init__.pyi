from . import convert, data, files, losses, nets, optimize, scaling, training, vgg
from .files.image_files import load_image, save_image
from .files.style_files import load_style, save_style
from .files.vgg_files import load_vgg
from .losses.objective import Weights
from .nets.transform_net import stylize
from .optimize.pyramid import optimize_image

__all__ = [
    "Weights",
    "convert",
    "data",
    "files",
    "load_image",
    "load_style",
    "load_vgg",
    "losses",
    "nets",
    "optimize",
    "optimize_image",
    "save_image",
    "save_style",
    "scaling",
    "stylize",
    "training",
    "vgg",
]
