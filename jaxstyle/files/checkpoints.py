"""Checkpoints of a run: its whole state, written by Orbax, and its configuration.

Each is a folder named after its step. Orbax writes it completely or not at all, and
deletes the oldest. A manifest, written last, completes it. It holds the configuration,
which must equal that of a run that resumes, and the digests of every file and of the
manifest itself: Orbax restores many damaged files without an error, and a flipped bit
in any file must make a run fall back to the checkpoint before.
"""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, SupportsInt, TypeAlias, TypeVar

import jax
import numpy as np

from jaxstyle.files.atomic import describe_error, explained
from jaxstyle.files.json_files import load_object, save_object
from jaxstyle.scaling import memory

KEPT = 3
"""The number of checkpoints that are kept, the newest."""

MANIFEST = "manifest.json"

ORBAX_COPIES = 2
"""The memory that Orbax needs to write a state, in sizes of the state (measured)."""

Configuration: TypeAlias = Mapping[str, Any]
"""Everything that affects the results: nested dicts of JSON values."""


class Stepped(Protocol):
    """A tree of arrays with a step count."""

    @property
    def step(self) -> SupportsInt:
        """The number of steps done."""


State = TypeVar("State", bound=Stepped)


def save_checkpoint(folder: Path, state: Stepped, configuration: Configuration) -> None:
    """Write a checkpoint of a state, and delete the oldest.

    ``folder`` holds the checkpoints of one run and is created if missing; a checkpoint
    of the same step is replaced. Of several processes, one calls this and holds the
    whole state. After a failure, those before it are kept.
    """
    import orbax.checkpoint as ocp

    step = int(state.step)
    with explained(f"cannot write the checkpoint of step {step} in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        size = memory.size_in_bytes(state)
        # Linux would kill a process that takes more.
        memory.check_free(ORBAX_COPIES * size, memory.free_host_memory())
        _check_room(folder, size)
        with _manager(folder) as manager:
            if step in manager.all_steps():
                manager.delete(step)
            whole = jax.tree.map(np.asarray, state)
            manager.save(step, args=ocp.args.StandardSave(whole), force=True)
        checkpoint = folder / str(step)
        manifest = {"configuration": configuration, "files": _digests(checkpoint)}
        save_object(manifest, checkpoint / MANIFEST)
        memory.return_freed_memory()


def load_checkpoint(
    folder: Path,
    like: Callable[[int], State],
    configuration: Configuration,
    *,
    say: Callable[[str], object],
) -> State:
    """Read the newest undamaged checkpoint, into arrays of the host.

    ``like`` maps a step to a state of the same structure, or to its shapes. ``say`` is
    told of newer checkpoints that are damaged. A ValueError names all differences from
    another configuration.
    """
    notes: list[str] = []
    for step in reversed(find_checkpoints(folder)):
        try:
            found = _read_manifest(folder / str(step))
        except (OSError, ValueError) as error:
            notes.append(
                f"the checkpoint of step {step} is damaged: {describe_error(error)}"
            )
            continue
        if differences := list(find_differences(found, configuration)):
            raise ValueError(
                f"the checkpoints in {folder} are of another configuration: "
                f"{', '.join(differences)}"
            )
        for note in notes:
            say(note)
        return _read_state(folder, step, like(step))
    if not notes:
        raise ValueError(f"there is no checkpoint in {folder}")
    raise ValueError(f"no checkpoint in {folder} can be read: {'; '.join(notes)}")


def find_checkpoints(folder: Path) -> list[int]:
    """List the steps of the complete checkpoints in a folder, in order."""
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
    """Open Orbax's manager of a folder, with its log silenced."""
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
        with (
            _unicode_path(folder.resolve()) as path,
            ocp.CheckpointManager(path, options=options) as manager,
        ):
            yield manager
    finally:
        log.setLevel(level)


@contextmanager
def _unicode_path(folder: Path) -> Iterator[Path]:
    """Yield a folder's path, or of a link to it if it is not UTF-8, as Orbax wants."""
    if os.fsencode(folder).decode(errors="replace") == str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="jaxstyle-") as place:
        link = Path(place, "checkpoints")
        link.symlink_to(folder, target_is_directory=True)
        yield link


def _check_room(folder: Path, size: int) -> None:
    """Raise an OSError unless ``size`` bytes fit on the disk, within quota and limits.

    Orbax's threads would report it in hundreds of lines. Nothing is written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_state(folder: Path, step: int, like: State) -> State:
    import orbax.checkpoint as ocp

    shapes = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
    with (
        explained(f"cannot read the checkpoint of step {step} in {folder}"),
        _manager(folder) as manager,
    ):
        return manager.restore(step, args=ocp.args.StandardRestore(shapes))


def _read_manifest(checkpoint: Path) -> Configuration:
    """Check the digest of every file of a checkpoint; return its configuration."""
    kinds = {"configuration": dict, "files": dict}
    manifest = load_object(checkpoint / MANIFEST, kinds)
    found, expected = _digests(checkpoint), manifest["files"]
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} is not what was written")
    return manifest["configuration"]


def _digests(checkpoint: Path) -> dict[str, str]:
    """Map the relative path of each file, except the manifest, to its digest."""
    digests = {}
    for path in checkpoint.rglob("*"):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            digests[path.relative_to(checkpoint).as_posix()] = digest.hexdigest()
    return digests
