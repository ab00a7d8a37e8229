from .conditional import (
    join_style as join_style,
    split_style as split_style,
    stylize_each as stylize_each,
)
from .flax_net import TransformNet as TransformNet
from .mixtures import mix_styles as mix_styles
from .networks import NETWORKS as NETWORKS, Network as Network
from .padded import stylize_sharded as stylize_sharded
from .prediction import (
    describe_style as describe_style,
    init_predictor as init_predictor,
    predict_style as predict_style,
)
from .tiled import stylize_tiled as stylize_tiled
from .transform_net import hold as hold, init_net as init_net, stylize as stylize
