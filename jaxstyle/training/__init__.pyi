from .loop import (
    State,
    Step,
    evaluate,
    init_state,
    make_problem,
    make_step,
    measure_stylized,
    run_steps,
    stability_loss,
)
from .photo_cache import take_batch
from .recipes import TRAINING_PRESETS, TrainConfig

__all__ = [
    "TRAINING_PRESETS",
    "State",
    "Step",
    "TrainConfig",
    "evaluate",
    "init_state",
    "make_problem",
    "make_step",
    "measure_stylized",
    "run_steps",
    "stability_loss",
    "take_batch",
]
