from .flax_net import TransformNet as TransformNet
from .mixtures import mix_styles as mix_styles
from .networks import NETWORKS as NETWORKS, Network as Network
from .padded import stylize_sharded as stylize_sharded
from .tiled import stylize_tiled as stylize_tiled
from .transform_net import init_net as init_net, stylize as stylize
