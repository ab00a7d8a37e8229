from .paintings import describe, mix
from .stylization import Region, stylize, stylize_tiled

__all__ = [
    "Region",
    "describe",
    "mix",
    "stylize",
    "stylize_tiled",
]
