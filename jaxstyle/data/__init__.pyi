from .batches import (
    make_batches as make_batches,
    validation_batches as validation_batches,
)
from .sources import (
    Record as Record,
    Source as Source,
    hold_out as hold_out,
    open_source as open_source,
)
