from .optimizers import adam as adam, lbfgs as lbfgs
from .presets import PRESETS as PRESETS, OptimizeConfig as OptimizeConfig
from .pyramid import optimize_image as optimize_image, pyramid_sizes as pyramid_sizes
from .steps import (
    Keeper as Keeper,
    State as State,
    init_state as init_state,
    keep_average as keep_average,
    keep_best as keep_best,
    make_step as make_step,
    run_steps as run_steps,
)
