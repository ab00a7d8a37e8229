from .optimizers import (
    Keeper as Keeper,
    adam as adam,
    keep_average as keep_average,
    keep_best as keep_best,
    lbfgs as lbfgs,
)
from .presets import PRESETS as PRESETS, OptimizeConfig as OptimizeConfig
from .pyramid import optimize_image as optimize_image, pyramid_sizes as pyramid_sizes
from .steps import (
    State as State,
    init_state as init_state,
    make_step as make_step,
    run_steps as run_steps,
)
