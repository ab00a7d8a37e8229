from .layers import layer_names
from .network import VGG, features
from .params import measure_mean_activations, normalize, prepare_for_cpu, truncate

__all__ = [
    "VGG",
    "features",
    "layer_names",
    "measure_mean_activations",
    "normalize",
    "prepare_for_cpu",
    "truncate",
]
