from .conditional import (
    describe_style as describe_style,
    init_predictor as init_predictor,
    join_norms as join_norms,
    predict_norms as predict_norms,
    split_norms as split_norms,
    stylize_each as stylize_each,
)
from .flax_net import TransformNet as TransformNet
from .mixtures import mix_styles as mix_styles
from .networks import NETWORKS as NETWORKS, Network as Network
from .padded import stylize_sharded as stylize_sharded
from .tiled import stylize_tiled as stylize_tiled
from .transform_net import init_net as init_net, stylize as stylize
