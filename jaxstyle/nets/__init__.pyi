from .mixtures import mix_styles, stack_styles
from .networks import NETWORKS, Network
from .padded import stylize_sharded
from .tiled import stylize_tiled
from .transform_net import init_net, stylize

__all__ = [
    "NETWORKS",
    "Network",
    "init_net",
    "mix_styles",
    "stack_styles",
    "stylize",
    "stylize_sharded",
    "stylize_tiled",
]
