from .config import LossConfig as LossConfig
from .extractor import Execution as Execution, Extractor as Extractor
from .multiscale import Multiscale as Multiscale
from .objective import Objective as Objective, Weights as Weights
from .perceptual import Problem as Problem, perceptual_loss as perceptual_loss
from .style import (
    STYLE_LOSSES as STYLE_LOSSES,
    StyleLoss as StyleLoss,
    exact_wasserstein_loss as exact_wasserstein_loss,
    gram_loss as gram_loss,
    mean_loss as mean_loss,
    mean_std_loss as mean_std_loss,
    wasserstein_loss as wasserstein_loss,
)
from .targets import Targets as Targets, make_targets as make_targets
from .terms import (
    Moments as Moments,
    absolute_variation as absolute_variation,
    content_loss as content_loss,
    gram_matrix as gram_matrix,
    isotropic_variation as isotropic_variation,
    moments as moments,
    style_loss as style_loss,
    total_variation as total_variation,
)
