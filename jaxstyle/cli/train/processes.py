"""What the processes of one training agree on. Alone, a process agrees with itself."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxstyle.cli.interrupts import Interrupts
from jaxstyle.cli.train.train_options import TrainOptions
from jaxstyle.scaling.sharding import Placement

LOST = re.compile("(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN):")
"""What the runtime's errors start with when a connection breaks; some come as
ValueErrors."""

AUTO = "auto"
"""Instead of a coordinator: whatever started the processes tells them."""


def join_processes(arguments: TrainOptions) -> None:
    """Connect this process with the others, if there are any.

    Raises:
        ValueError: the arguments do not say how, or the others are not there.
    """
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
    """Return whether this is the process that writes the files."""
    return jax.process_index() == 0


@contextmanager
def failing_together() -> Iterator[None]:
    """Let what is wrong in one process end all of them.

    Raises:
        ValueError: this process has gone well, but another has not.
    """
    wrong: ValueError | OSError | None = None
    try:
        yield
    except (ValueError, OSError) as error:
        wrong = error
    failed = np.flatnonzero(_gather(np.array([wrong is not None])))
    if wrong is not None:
        raise wrong
    if failed.size:
        raise ValueError(f"process {failed[0]} has failed, and says why")


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
    """Return a tree of arrays of the first process, as numpy's."""
    shared: Any = multihost_utils.broadcast_one_to_all(tree)
    return jax.tree.map(np.asarray, shared)


def ask_how_many(
    interrupts: Interrupts, wish: int, placement: Placement
) -> Callable[[], int]:
    """Return what tells how many steps to make at once, alike in all processes.

    That is the least that one of them wishes, and 0 if one is to stop. A single process
    answers for the time when it is asked. Several exchange what they know now: so the
    answer is there before the steps that are started next are made, and asking for it
    does not let the devices wait.
    """
    if jax.process_count() == 1:
        return lambda: 0 if interrupts.received else wish
    here = len(placement.batches.mesh.local_devices)
    mine = np.full(here, 0 if interrupts.received else wish, np.int32)
    wishes = jax.make_array_from_process_local_data(placement.batches, mine)
    return partial(int, _least(wishes, placement.replicated))


@contextmanager
def leaving_when_lost() -> Iterator[None]:
    """End this process at once, with one line, when another one is lost."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if jax.process_count() == 1 or not LOST.match(str(error)):
            raise
        _leave()


def _leave() -> NoReturn:
    """Exit without waiting for the lost process, as JAX would for minutes."""
    print(
        "jaxstyle train: error: another process is lost; start all of them again with "
        "--resume",
        file=sys.stderr,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@partial(jax.jit, static_argnums=1)
def _least(wishes: jax.Array, replicated: jax.sharding.NamedSharding) -> jax.Array:
    constrain: Any = jax.lax.with_sharding_constraint
    found: jax.Array = constrain(jnp.min(wishes), replicated)
    return found


def _gather(values: np.ndarray) -> np.ndarray:
    """Return the values of all processes, in their order."""
    gathered: np.ndarray = multihost_utils.process_allgather(values)
    return np.asarray(gathered)
