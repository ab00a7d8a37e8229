"""What commands share: the compilation cache, versions, messages, lack of memory."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata

import jax

from jaxstyle.files.downloads import cache_folder
from jaxstyle.scaling.memory import TooLargeError

PACKAGES = ("jaxstyle", "jax", "jaxlib", "flax", "optax", "numpy")
"""The packages whose versions shape the numbers."""

SLOW = 0.5
"""How many seconds a program must take to compile to be kept."""


def use_compilation_cache() -> None:
    """Keep compiled programs on disk, so that the next run of a size starts at once.

    JAX_COMPILATION_CACHE_DIR says where, by default the cache folder. Without a folder
    to write to, or with a damaged one, every run compiles anew.
    """
    warnings.filterwarnings("ignore", "Error .* persistent compilation cache")
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = cache_folder() / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SLOW)  # type: ignore[no-untyped-call]


def versions() -> dict[str, str]:
    """Record the versions of what shapes the numbers, and the kind of device."""
    return {name: metadata.version(name) for name in PACKAGES} | {
        "device": jax.devices()[0].device_kind
    }


@contextmanager
def explain_lack_of_memory(*, what: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory, on the host or on the device, into a ValueError."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(
            error
        ):
            raise
        reason = f": {error}" if isinstance(error, TooLargeError) else ""
        raise ValueError(f"not enough memory for {what}{reason}; {advice}") from error


def make_say(*, quiet: bool) -> Callable[[str], None]:
    """Make a function that prints progress to standard error, or nothing if quiet."""
    return (lambda _: None) if quiet else partial(print, file=sys.stderr)
