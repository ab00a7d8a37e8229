from .batches import make_batches, validation_batches
from .sources import Record, Source, hold_out, open_source

__all__ = [
    "Record",
    "Source",
    "hold_out",
    "make_batches",
    "open_source",
    "validation_batches",
]
