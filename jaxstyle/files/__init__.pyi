from .image_files import load_image, load_settings, save_image
from .style_files import load_style, save_style
from .vgg_files import load_vgg

__all__ = [
    "load_image",
    "load_settings",
    "load_style",
    "load_vgg",
    "save_image",
    "save_style",
]
