from .layers import layer_names as layer_names
from .network import VGG as VGG, features as features
from .params import (
    measure_mean_activations as measure_mean_activations,
    normalize as normalize,
    prepare_for_cpu as prepare_for_cpu,
    truncate as truncate,
)
