from .layers import layer_names
from .network import VGG, features
from .params import normalize, prepare_for_cpu, truncate

__all__ = [
    "VGG",
    "features",
    "layer_names",
    "normalize",
    "prepare_for_cpu",
    "truncate",
]
