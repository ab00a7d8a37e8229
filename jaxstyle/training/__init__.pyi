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

__all__ = [
    "State",
    "Step",
    "evaluate",
    "init_state",
    "make_problem",
    "make_step",
    "measure_stylized",
    "run_steps",
    "stability_loss",
    "take_batch",
]
