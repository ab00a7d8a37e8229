from .image_files import load_image, load_settings, save_image
from .pretrained import load_vgg
from .style_files import load_style, save_style

__all__ = [
    "load_image",
    "load_settings",
    "load_style",
    "load_vgg",
    "save_image",
    "save_style",
]
