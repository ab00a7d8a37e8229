"""Checkpoints come back bit for bit, or say what is wrong in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from full_disk import small_files

from jaxstyle.files import checkpoints
from jaxstyle.files.checkpoints import (
    KEPT,
    find_checkpoints,
    find_differences,
    load_checkpoint,
    save_checkpoint,
)
from jaxstyle.scaling import memory
from jaxstyle.training.loop import State

CONFIGURATION: dict[str, Any] = {"batch": 4, "style": {"relu1_2": 1e5}, "blend": None}

OPTIMIZER = optax.adam(optax.exponential_decay(1e-3, 10, 0.5, staircase=True))


def state(step: int, *, width: int = 3) -> State:
    """Return a state with odd values."""
    values = jax.random.normal(jax.random.key(step), (width, 5))
    params = {"a": {"kernel": values * 1e-30}, "b": values[0] / 3, "c": values[0, 0]}
    optimizer_state = jax.tree.map(lambda x: x - 7, OPTIMIZER.init(params))
    return State(params, optimizer_state, jnp.int32(step))


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(folder, state(step), CONFIGURATION)


def load(folder: Path, say: Callable[[str], object] = str, **changes: Any) -> State:
    configuration = CONFIGURATION | changes
    return load_checkpoint(folder, lambda _: state(0), configuration, say=say)


def assert_same(got: State, expected: State) -> None:
    def compare(one: jax.Array, other: jax.Array) -> None:
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()

    jax.tree.map(compare, got, expected)  # raises where the structures differ


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that does not exist."""
    return tmp_path / "run" / "checkpoints"


# --- there and back -----------------------------------------------------------------


def test_a_state_comes_back_bit_for_bit(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(folder, 1)
    notes: list[str] = []
    assert_same(load(folder, notes.append), state(1))
    assert notes == []
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_not_utf_8_is_a_folder_like_any(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"run-\xff") / "checkpoints"
    save(folder, 1, 2)
    assert find_checkpoints(folder) == [1, 2]
    assert_same(load(folder), state(2))


def test_a_restored_state_may_be_donated(folder: Path) -> None:
    save(folder, 1)
    restored = load(folder)
    double = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2, tree), donate_argnums=0)
    assert_same(double(restored), jax.tree.map(lambda x: x * 2, state(1)))


def test_the_newest_are_kept(folder: Path) -> None:
    save(folder, 2, 9, 11, 100)
    assert find_checkpoints(folder) == [9, 11, 100]
    assert len(list(folder.iterdir())) == KEPT == 3
    assert_same(load(folder), state(100))


def test_a_checkpoint_of_the_same_step_is_replaced(folder: Path) -> None:
    changed = state(5)._replace(params=jax.tree.map(jnp.ones_like, state(5).params))
    save_checkpoint(folder, changed, CONFIGURATION)
    save(folder, 5)
    assert_same(load(folder), state(5))


def test_a_checkpoint_that_memory_does_not_suffice_for_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, 1)
    monkeypatch.setattr(memory, "free_host_memory", lambda: 100)
    with pytest.raises(
        ValueError, match=r"step 2 in .*: needs 0\.0 GB, but only 0\.0 GB is"
    ):
        save(folder, 2)
    assert find_checkpoints(folder) == [1]


def test_an_orbax_user_finds_the_tree(folder: Path) -> None:
    import orbax.checkpoint as ocp

    save(folder, 3)
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(
            folder / "3" / "default", jax.tree.map(jnp.zeros_like, state(0))
        )
    assert_same(found, state(3))


# --- configurations -----------------------------------------------------------------


def test_all_differences_are_named(folder: Path) -> None:
    save(folder, 1)
    other: dict[str, Any] = {
        "batch": 8,
        "style": {"relu1_2": 5.0, "relu2_2": 1.0},
        "norm": "batch",
    }
    with pytest.raises(ValueError, match="of another configuration") as refused:
        load(folder, **other)
    assert str(refused.value) == (
        f"the checkpoints in {folder} are of another configuration: batch 4 -> 8, "
        "norm None -> batch, style relu1_2 100000.0 -> 5.0, style relu2_2 None -> 1.0"
    )
    assert find_checkpoints(folder) == [1]


def test_equal_configurations_do_not_differ() -> None:
    through_json = json.loads(json.dumps(CONFIGURATION))
    assert list(find_differences(through_json, CONFIGURATION)) == []


def test_another_configuration_may_be_of_another_structure(folder: Path) -> None:
    save(folder, 1)
    with pytest.raises(ValueError, match=r"width None -> 64$"):
        load_checkpoint(
            folder,
            lambda _: state(0, width=64),
            {**CONFIGURATION, "width": 64},
            say=print,
        )


# --- damage -------------------------------------------------------------------------


def files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("damage", [shorten, flip, Path.unlink])
def test_any_damaged_file_leads_to_the_checkpoint_before(
    folder: Path, capfd: pytest.CaptureFixture[str], damage: Any
) -> None:
    save(folder, 1, 2)
    kept = {path: path.read_bytes() for path in files(folder / "2")}
    sizes = {path.stat().st_size for path in kept}
    assert max(sizes) > 1000
    for path, content in kept.items():
        if not content:
            continue
        damage(path)
        notes: list[str] = []
        assert_same(load(folder, notes.append), state(1))
        if path.name != checkpoints.MANIFEST:
            (note,) = notes
            name = path.relative_to(folder / "2")
            expected = f"the checkpoint of step 2 is damaged: {name} is not what was"
            assert note.startswith(expected)
        path.write_bytes(content)
    assert_same(load(folder), state(2))
    assert capfd.readouterr() == ("", "")


def test_a_flipped_bit_of_the_manifest_is_no_other_configuration(folder: Path) -> None:
    save(folder, 1, 2)
    manifest = folder / "2" / checkpoints.MANIFEST
    whole = manifest.read_bytes()
    start = whole.index(b'"configuration"')
    for place in range(start, whole.index(b"files"), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        manifest.write_bytes(damaged)
        notes: list[str] = []
        assert_same(load(folder, notes.append), state(1))
        assert notes[0].startswith("the checkpoint of step 2 is damaged: ")


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "1", "null", '"x"', "{}", "[" * 10**5, "\xff", '{"files": {}}'),
        '{"configuration": [], "files": {}}',
        '{"configuration": {}, "files": []}',
        '{"configuration": {}, "files": {"x": 1}, "digest": []}',
    ],
)
def test_a_manifest_of_another_shape_is_damaged(folder: Path, content: str) -> None:
    save(folder, 1, 2)
    (folder / "2" / checkpoints.MANIFEST).write_text(content)
    notes: list[str] = []
    assert_same(load(folder, notes.append), state(1))
    assert len(notes) == 1
    assert len(notes[0]) < 200


def test_a_damaged_checkpoint_is_replaced_in_time(folder: Path) -> None:
    save(folder, 1, 2)
    shorten(files(folder / "2")[-1])
    save(folder, 2)
    notes: list[str] = []
    assert_same(load(folder, notes.append), state(2))
    assert notes == []


def test_when_all_are_damaged_each_is_named(folder: Path) -> None:
    save(folder, 1, 2)
    for step in "12":
        (folder / step / checkpoints.MANIFEST).write_text("{")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read") as refused:
        load(folder)
    message = str(refused.value)
    assert "the checkpoint of step 1 is damaged" in message
    assert "the checkpoint of step 2 is damaged" in message
    assert len(message.splitlines()) == 1


def test_what_a_crash_leaves_is_no_checkpoint(folder: Path) -> None:
    save(folder, 1)
    (folder / "2.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    save(folder, 3)
    (folder / "3" / checkpoints.MANIFEST).unlink()
    assert find_checkpoints(folder) == [1]
    assert_same(load(folder), state(1))
    save(folder, 3)
    assert find_checkpoints(folder) == [1, 3]
    assert sorted(path.name for path in folder.iterdir()) == ["1", "3"]


def test_without_a_checkpoint_the_folder_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"^there is no checkpoint in {folder}$"):
        load(folder)


# --- writing fails ------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_loses_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(folder, 1)
    refusal = pytest.raises(ValueError, match="cannot write the checkpoint")
    with refusal as refused, small_files(100):
        save(folder, 2)
    assert str(refused.value) == (
        f"cannot write the checkpoint of step 2 in {folder}: File too large"
    )
    assert capfd.readouterr() == ("", "")
    assert_same(load(folder), state(1))


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path) -> None:
    folder.parent.write_text("a file in the way")
    with pytest.raises(ValueError, match=r"step 2 in .*: Not a directory$"):
        save(folder, 2)
