from .optimizers import adam, lbfgs
from .presets import PRESETS, OptimizeConfig
from .pyramid import optimize_image, pyramid_sizes
from .steps import (
    Keeper,
    State,
    init_state,
    keep_average,
    keep_best,
    make_step,
    run_steps,
)

__all__ = [
    "PRESETS",
    "Keeper",
    "OptimizeConfig",
    "State",
    "adam",
    "init_state",
    "keep_average",
    "keep_best",
    "lbfgs",
    "make_step",
    "optimize_image",
    "pyramid_sizes",
    "run_steps",
]
