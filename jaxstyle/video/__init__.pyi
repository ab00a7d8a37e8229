from .cuts import is_cut as is_cut
from .frames import (
    State as State,
    blend as blend,
    init_state as init_state,
    make_step as make_step,
)
from .motion import (
    Motion as Motion,
    match_flows as match_flows,
    warp as warp,
    warping_error as warping_error,
)
