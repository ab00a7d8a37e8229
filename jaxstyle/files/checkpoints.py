"""Checkpoints of a run: its whole state by Orbax, and what shaped it.

Each is a folder named after its step. Orbax writes it whole or not at all, and drops
the oldest. A manifest that comes last makes it complete: it holds the configuration,
which says whether another run may go on from here, and a digest of every file, which
tells damage.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, SupportsInt, TypeAlias, TypeVar

import jax
import numpy as np

from jaxstyle.files.atomic import atomic_path
from jaxstyle.scaling.memory import (
    check_free,
    free_host_memory,
    return_freed_memory,
    size_in_bytes,
)

KEPT = 3
"""How many checkpoints are kept: the newest."""

MANIFEST = "manifest.json"

ORBAX_COPIES = 2
"""How many times its size a state takes while Orbax writes it: measured."""

Configuration: TypeAlias = Mapping[str, Any]
"""What shapes the numbers: nested dicts of what JSON can hold."""


class Stepped(Protocol):
    """A tree of arrays that knows how many steps it has gone through."""

    @property
    def step(self) -> SupportsInt:
        """The number of steps."""


State = TypeVar("State", bound=Stepped)


class Restored(NamedTuple, Generic[State]):
    """A state from a checkpoint, and what is wrong with newer ones."""

    state: State
    notes: list[str]


def save_checkpoint(folder: Path, state: Stepped, configuration: Configuration) -> None:
    """Write a checkpoint of a state, and drop the oldest.

    Of several processes one calls this, and holds the whole state.

    Args:
        folder: holds the checkpoints of one run; it is made if it is missing.
        state: its step is the name of the checkpoint; one of that name is replaced.
        configuration: what `load_checkpoint` compares.

    Raises:
        ValueError: the checkpoint cannot be written; those before it are kept.
    """
    import orbax.checkpoint as ocp

    step = int(state.step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        size = size_in_bytes(state)
        # Linux would end a process that takes more.
        check_free(ORBAX_COPIES * size, free_host_memory())
        _check_room(folder, size)
        with _manager(folder) as manager:
            if step in manager.all_steps():
                manager.delete(step)
            whole = jax.tree.map(np.asarray, state)
            manager.save(step, args=ocp.args.StandardSave(whole), force=True)
        _write_manifest(folder / str(step), configuration)
        return_freed_memory()
    except Exception as error:  # of many types, Orbax's and TensorStore's
        raise ValueError(
            f"cannot write the checkpoint of step {step} in {folder}: {_reason(error)}"
        ) from error


def load_checkpoint(
    folder: Path, like: Callable[[int], State], configuration: Configuration
) -> Restored[State]:
    """Read the newest checkpoint that is not damaged.

    Args:
        folder: holds the checkpoints of one run.
        like: returns for a step a state of the same structure, or its shapes.
        configuration: what the checkpoint must have been made with.

    Returns:
        The state, in arrays of the host.

    Raises:
        ValueError: there is no checkpoint, none can be read, or it is of another
            configuration; then all differences are named.
    """
    notes: list[str] = []
    for step in reversed(find_checkpoints(folder)):
        try:
            found = _read_manifest(folder / str(step))
        except (OSError, ValueError, KeyError, TypeError) as error:
            notes.append(f"the checkpoint of step {step} is damaged: {_reason(error)}")
            continue
        if differences := list(find_differences(found, configuration)):
            raise ValueError(
                f"the checkpoints in {folder} are of another configuration: "
                f"{', '.join(differences)}"
            )
        return Restored(_read_state(folder, step, like(step)), notes)
    if not notes:
        raise ValueError(f"there is no checkpoint in {folder}")
    raise ValueError(f"no checkpoint in {folder} can be read: {'; '.join(notes)}")


def find_checkpoints(folder: Path) -> list[int]:
    """Return the steps of the complete checkpoints in a folder, in order."""
    names = (path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    return sorted(int(name) for name in names if name.isdecimal())


def find_differences(
    old: Configuration, new: Configuration, prefix: str = ""
) -> Iterator[str]:
    """Yield a description of each value in which two configurations differ."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from find_differences(before, after, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key} {before} -> {after}"


# --- files --------------------------------------------------------------------------


@contextmanager
def _manager(folder: Path) -> Iterator[Any]:
    """Yield what saves and restores, with Orbax's own log silenced."""
    import orbax.checkpoint as ocp

    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    this = jax.process_index()
    options = ocp.CheckpointManagerOptions(
        max_to_keep=KEPT,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
        create=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=this, active_processes={this}
        ),
    )
    try:
        with ocp.CheckpointManager(folder.resolve(), options=options) as manager:
            yield manager
    finally:
        log.setLevel(level)


def _check_room(folder: Path, size: int) -> None:
    """Raise an OSError unless ``size`` bytes fit on the disk, within quota and limits.

    The bytes are allocated, not written. Orbax's threads would say it in hundreds of
    lines.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_state(folder: Path, step: int, like: State) -> State:
    import orbax.checkpoint as ocp

    shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
    try:
        with _manager(folder) as manager:
            restore = ocp.args.StandardRestore(shapes)
            state: State = manager.restore(step, args=restore)
    except Exception as error:  # of many types, Orbax's and TensorStore's
        raise ValueError(
            f"cannot read the checkpoint of step {step} in {folder}: {_reason(error)}"
        ) from error
    return state


def _write_manifest(checkpoint: Path, configuration: Configuration) -> None:
    manifest = {"configuration": configuration, "files": _digests(checkpoint)}
    with atomic_path(checkpoint / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest))


def _read_manifest(checkpoint: Path) -> Configuration:
    """Return the configuration of a checkpoint whose files are all as they were."""
    manifest = json.loads((checkpoint / MANIFEST).read_bytes())
    found, expected = _digests(checkpoint), manifest["files"]
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} is not what was written")
    configuration: Configuration = manifest["configuration"]
    return configuration


def _digests(folder: Path) -> dict[str, str]:
    """Return a digest of each file in a folder but the manifest, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in files
        if path.name != MANIFEST and not path.name.startswith(f".{Path(MANIFEST).stem}")
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())
