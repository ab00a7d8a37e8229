from .downloads import cache_folder
from .figures import make_sheet
from .image_files import load_image, load_settings, save_image
from .param_files import digest_params, load_params, save_params
from .style_files import (
    find_style,
    load_style,
    load_style_file,
    save_style,
    shipped_styles,
)
from .vgg_files import Origin, load_vgg, save_vgg

__all__ = [
    "Origin",
    "cache_folder",
    "digest_params",
    "find_style",
    "load_image",
    "load_params",
    "load_settings",
    "load_style",
    "load_style_file",
    "load_vgg",
    "make_sheet",
    "save_image",
    "save_params",
    "save_style",
    "save_vgg",
    "shipped_styles",
]
