from .mixtures import mix_styles, stack_styles
from .sharded import stylize_divided
from .tiled import stylize_tiled
from .transform_net import init_net, stylize

__all__ = [
    "init_net",
    "mix_styles",
    "stack_styles",
    "stylize",
    "stylize_divided",
    "stylize_tiled",
]
