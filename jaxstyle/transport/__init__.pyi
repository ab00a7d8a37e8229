from .paintings import describe as describe, mix as mix
from .stylization import (
    Move as Move,
    Region as Region,
    hold as hold,
    stylize as stylize,
    stylize_sharded as stylize_sharded,
    stylize_tiled as stylize_tiled,
)

__all__: list[str]
