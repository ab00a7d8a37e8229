from .loop import (
    State as State,
    Step as Step,
    evaluate as evaluate,
    init_state as init_state,
    make_problem as make_problem,
    make_step as make_step,
    measure_stylized as measure_stylized,
)
from .many_styles import (
    Aims as Aims,
    Pairs as Pairs,
    aim as aim,
    evaluate_many as evaluate_many,
    init_many as init_many,
    make_many_problem as make_many_problem,
    make_many_step as make_many_step,
    predict_net as predict_net,
)
from .photo_cache import take_batch as take_batch
from .recipes import TRAINING_PRESETS as TRAINING_PRESETS, TrainConfig as TrainConfig
