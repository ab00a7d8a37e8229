"""What the processes of one training agree on. Alone, a process agrees with itself."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding

from jaxstyle.cli.runtime import Interrupts, make_say
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.scaling.sharding import Placement

LOST = re.compile("(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN):")
"""What the runtime's errors start with when a connection breaks; some come as
ValueErrors."""

AUTO = "auto"
"""Instead of a coordinator: whatever started the processes tells them."""


def join_processes(arguments: TrainOptions) -> None:
    """Connect this process with the others, if any; a ValueError if that fails."""
    where, count = arguments.coordinator, arguments.num_processes
    index = arguments.process_id
    given = [value is not None for value in (where, count, index)]
    if not any(given):
        return
    if where == AUTO and not any(given[1:]):
        connect = jax.distributed.initialize
    else:
        if count is None or index is None or where is None:
            raise ValueError(
                "--coordinator HOST:PORT, --num-processes and --process-id go together"
            )
        if not 0 <= index < count:
            raise ValueError(f"--process-id {index} is not from 0 to {count - 1}")
        connect = partial(jax.distributed.initialize, where, count, index)
    # Its handler of SIGTERM would be in the way of `catch_interrupts`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        connect()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"cannot join the other processes: {error}") from error


def is_first() -> bool:
    """Test whether this is the process that writes the files."""
    return jax.process_index() == 0


def is_quiet(arguments: TrainOptions) -> bool:
    """Test whether this process shows no progress."""
    return arguments.quiet or not is_first()


def say(arguments: TrainOptions, line: str) -> None:
    """Print progress to standard error, unless this process is quiet."""
    make_say(quiet=is_quiet(arguments))(line)


@contextmanager
def failing_together() -> Iterator[None]:
    """End all processes when one raises a ValueError or an OSError, by a ValueError."""
    wrong: ValueError | OSError | None = None
    try:
        yield
    except (ValueError, OSError) as error:
        wrong = error
    failed = np.flatnonzero(_gather(np.array([wrong is not None])))
    if wrong is not None:
        raise wrong
    if failed.size:
        raise ValueError(f"process {failed[0]} failed; see its output")


def check_alike(configuration: Mapping[str, Any]) -> None:
    """Raise a ValueError if processes would not compute the same."""
    text = json.dumps(configuration, sort_keys=True).encode()
    digest = np.frombuffer(hashlib.sha256(text).digest(), np.uint32)
    digests = _gather(digest).reshape(-1, len(digest))
    different = np.flatnonzero((digests != digests[0]).any(axis=1))
    if different.size:
        raise ValueError(
            f"process {different[0]} has other settings, paintings or photos than "
            "process 0"
        )


def share(tree: Any) -> Any:
    """Send a tree of arrays from the first process to all, as numpy's."""
    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def agree_on_steps(
    interrupts: Interrupts, requested: int, placement: Placement
) -> Callable[[], int]:
    """Begin to agree on how many steps to make at once; the result asks for the answer.

    It is the least that a process requests, and 0 if one is to stop. A single process
    answers for the time when it is asked. Several exchange what they know now: so the
    answer is there before the steps that are started next are made, and asking for it
    does not let the devices wait.
    """
    if jax.process_count() == 1:
        return lambda: 0 if interrupts.received else requested
    here = len(placement.batches.mesh.local_devices)
    mine = np.full(here, 0 if interrupts.received else requested, np.int32)
    requests = jax.make_array_from_process_local_data(placement.batches, mine)
    return partial(int, _minimum(requests, placement.replicated))


def describe_devices(placement: Placement) -> str:
    """Name how many devices are used, and their kind."""
    kind = str(jax.devices()[0].device_kind)
    used, found = placement.devices, jax.device_count()
    if found == 1:
        return kind
    if used == found:
        return f"{used} devices, {kind}"
    return f"{used} of {found} devices, {kind} (the batch is no multiple of {found})"


@contextmanager
def leaving_when_lost() -> Iterator[None]:
    """End this process at once, with one line, when another one is lost."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if jax.process_count() == 1 or not LOST.match(str(error)):
            raise
        print(
            "jaxstyle train: error: another process is lost; start all of them again "
            "with --resume",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # without waiting for the lost process, as JAX would for minutes


@partial(jax.jit, static_argnums=1)
def _minimum(requests: jax.Array, replicated: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(jnp.min(requests), replicated)


def _gather(values: np.ndarray) -> np.ndarray:
    """Gather the values of all processes, in their order."""
    return np.asarray(multihost_utils.process_allgather(values))
