from .layers import layer_names
from .network import features
from .params import normalize, prepare_for_cpu, truncate

__all__ = [
    "features",
    "layer_names",
    "normalize",
    "prepare_for_cpu",
    "truncate",
]
