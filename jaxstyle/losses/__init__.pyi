from .config import LossConfig
from .extractor import Extractor
from .objective import Execution, Objective, Weights
from .perceptual import Problem, perceptual_loss
from .style import (
    STYLE_LOSSES,
    StyleLoss,
    exact_wasserstein_loss,
    gram_loss,
    mean_loss,
    mean_std_loss,
    wasserstein_loss,
)
from .targets import Targets, make_targets
from .terms import (
    Moments,
    absolute_variation,
    content_loss,
    gram_matrix,
    isotropic_variation,
    moments,
    style_loss,
    total_variation,
)

__all__ = [
    "STYLE_LOSSES",
    "Execution",
    "Extractor",
    "LossConfig",
    "Moments",
    "Objective",
    "Problem",
    "StyleLoss",
    "Targets",
    "Weights",
    "absolute_variation",
    "content_loss",
    "exact_wasserstein_loss",
    "gram_loss",
    "gram_matrix",
    "isotropic_variation",
    "make_targets",
    "mean_loss",
    "mean_std_loss",
    "moments",
    "perceptual_loss",
    "style_loss",
    "total_variation",
    "wasserstein_loss",
]
