"""Reading PyTorch checkpoints: their layouts, and what is refused."""

import pickle
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch_writer as tw

from jaxstyle.convert import pickle_machine
from jaxstyle.convert.torch_checkpoints import load_torch_state_dict, unwrapped

LAYOUTS = pytest.mark.parametrize("layout", tw.WRITERS)


def refusal(path: Path) -> str:
    """Load a bad file and return its one-line message, which names the file."""
    with pytest.raises(ValueError, match="PyTorch checkpoint") as caught:
        load_torch_state_dict(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture
def matrix() -> np.ndarray:
    return np.arange(48, dtype=np.float32).reshape(6, 8)


@LAYOUTS
@pytest.mark.parametrize("dtype", tw.STORAGE_CLASSES)
def test_values_keep_their_type(tmp_path: Path, layout: str, dtype: str) -> None:
    array = np.array([[0, 1, 2], [3, 4, 100]]).astype(dtype)
    tw.save_arrays(tmp_path / "x.pth", {"weight": array}, layout=layout)
    loaded = load_torch_state_dict(tmp_path / "x.pth")["weight"]
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


@LAYOUTS
def test_bfloat16_is_widened_exactly(tmp_path: Path, layout: str) -> None:
    bits = np.array([0x3F80, 0xC049, 0x0001, 0x7F80], np.uint16)
    storage = tw.Storage("0", "BFloat16Storage", 4, bits.tobytes())
    entry = tw.tensor(storage, shape=(4,), strides=(1,))
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict({"w": entry}), storage)
    loaded = load_torch_state_dict(tmp_path / "x.pth")["w"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, [1, -3.140625, 2.0**-133, np.inf])


@LAYOUTS
def test_tensors_of_one_storage_are_cut_by_offset_and_strides(
    tmp_path: Path, layout: str, matrix: np.ndarray
) -> None:
    storage = tw.store("0", matrix)
    cuts = {
        "transposed": ((8, 6), (1, 8), 0, matrix.T),
        "sliced": ((2, 2), (16, 3), 10, matrix[1:5:2, 2:7:3]),
        "last": ((), (), 47, matrix[5, 7]),
        "expanded": ((3, 8), (0, 1), 8, np.tile(matrix[1], (3, 1))),
        "empty": ((0, 8), (8, 1), 48, matrix[:0]),
    }
    entries = {
        name: tw.tensor(storage, shape=shape, strides=strides, offset=offset)
        for name, (shape, strides, offset, _) in cuts.items()
    }
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict(entries), storage)
    loaded = load_torch_state_dict(tmp_path / "x.pth")
    for name, (*_, expected) in cuts.items():
        assert loaded[name].shape == expected.shape
        np.testing.assert_array_equal(loaded[name], expected)


@LAYOUTS
def test_big_endian_storages(tmp_path: Path, layout: str, matrix: np.ndarray) -> None:
    data = matrix.astype(">f4").tobytes()
    storage = tw.Storage("0", "FloatStorage", matrix.size, data)
    checkpoint = tw.ordered_dict({"w": tw.whole_tensor(storage, matrix)})
    tw.WRITERS[layout](tmp_path / "x.pth", checkpoint, storage, byteorder="big")
    np.testing.assert_array_equal(
        load_torch_state_dict(tmp_path / "x.pth")["w"], matrix
    )


@LAYOUTS
def test_only_tensors_are_returned(
    tmp_path: Path, layout: str, matrix: np.ndarray
) -> None:
    storage = tw.store("0", matrix)
    entries = {
        "weight": tw.parameter(tw.whole_tensor(storage, matrix)),
        "epoch": tw.pickled(3),
        "name": tw.pickled("net"),
        "nested": tw.ordered_dict({"deep": tw.whole_tensor(storage, matrix)}),
    }
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict(entries), storage)
    loaded = load_torch_state_dict(tmp_path / "x.pth")
    assert list(loaded) == ["weight"]
    np.testing.assert_array_equal(loaded["weight"], matrix)


@LAYOUTS
def test_a_nested_state_dict_is_meant(
    tmp_path: Path, layout: str, matrix: np.ndarray
) -> None:
    storage = tw.store("0", matrix)
    inner = tw.ordered_dict({"weight": tw.whole_tensor(storage, matrix)})
    outer = tw.ordered_dict({"epoch": tw.pickled(3), "state_dict": inner})
    tw.WRITERS[layout](tmp_path / "x.pth", outer, storage)
    assert list(load_torch_state_dict(tmp_path / "x.pth")) == ["weight"]


@LAYOUTS
@pytest.mark.parametrize("outer", ["model_state_dict", "net", "state_dict"])
def test_the_dict_with_most_tensors_is_found_at_any_depth(
    tmp_path: Path, layout: str, matrix: np.ndarray, outer: str
) -> None:
    storage = tw.store("0", matrix)
    whole = tw.whole_tensor(storage, matrix)
    optimizer = {
        "state": tw.ordered_dict(
            {str(i): tw.ordered_dict({"exp_avg": whole}) for i in range(9)}
        )
    }
    entries = {
        "epoch": tw.pickled(3),
        "optimizer": tw.ordered_dict(optimizer),
        "all": tw.ordered_dict({outer: tw.ordered_dict({"a.b": whole, "a.c": whole})}),
    }
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict(entries), storage)
    loaded = load_torch_state_dict(tmp_path / "x.pth")
    assert list(loaded) == ["a.b", "a.c"]


def test_a_state_dict_comes_with_each_part_without_its_prefix() -> None:
    array = np.zeros(1)
    state = {"a.b.c": array, "a.b.d": array, "a.e": array, "f": array}
    found = [list(part) for part in unwrapped(state)]
    assert found == [[*state], ["b.c", "b.d", "e"], ["c", "d"]]
    deep = {".".join("x" * 10_000): array}
    assert len(list(unwrapped(deep))) == 9


def nested_keys(levels: int) -> bytes:
    """A tuple that holds the one before twice: to hash it takes 2**levels steps."""
    grow = pickle.BINPUT + b"\0" + pickle.BINGET + b"\0" + pickle.TUPLE2
    return tw.pickled(()) + grow * levels


HOSTILE: dict[str, bytes] = {
    "a memo index": b"}r\xff\xff\xff\x7f",
    "a nested key": b"}" + nested_keys(40) + b"K\x01s",
    "a nested storage": tw.tuple_of(
        tw.pickled("storage"),
        tw.global_name("torch", "FloatStorage"),
        nested_keys(40),
        tw.pickled("cpu"),
        tw.pickled(1),
    )
    + pickle.BINPERSID,
    "a nested kind": tw.tuple_of(nested_keys(40), *[tw.pickled(1)] * 4)
    + pickle.BINPERSID,
    "a nested name": nested_keys(40) + tw.pickled("x") + pickle.STACK_GLOBAL,
    "a nested shape": tw.call(
        tw.global_name("torch._utils", "_rebuild_tensor_v2"),
        tw.tuple_of(tw.pickled("0"), tw.pickled(0), tw.pickled(1)),
        tw.pickled(0),
        tw.tuple_of(nested_keys(40)),
        tw.pickled((1,)),
    ),
    "a nested item": tw.call(
        tw.global_name("collections", "OrderedDict"),
        tw.tuple_of(tw.tuple_of(nested_keys(40), tw.pickled(1))),
    ),
    "a set": pickle.EMPTY_SET + pickle.MARK + nested_keys(40) + pickle.ADDITEMS,
    "a long text": pickle.BINUNICODE8 + b"\xff" * 7 + b"\x0f" + b"x",
    "long bytes": pickle.BINBYTES8 + b"\xff" * 7 + b"\x0f" + b"x",
    "no value": pickle.TUPLE3,
    "a class": tw.tuple_of() + pickle.NEWOBJ,
    "depth": pickle.EMPTY_LIST * 10**4 + pickle.APPEND * (10**4 - 1),
}
"""Fragments of pickles that take memory, or time, beyond their length."""


@LAYOUTS
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_refused_at_once(
    tmp_path: Path, layout: str, kind: str
) -> None:
    tw.WRITERS[layout](path := tmp_path / "x.pth", HOSTILE[kind])
    tracemalloc.start()
    refusal(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**26


def test_a_pickle_of_too_many_operations_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle_machine, "MOST_OPERATIONS", 100)
    tw.write_zip(path := tmp_path / "x.pth", tw.pickled([1] * 100))
    assert "more than 100 operations" in refusal(path)


@LAYOUTS
@pytest.mark.parametrize(
    ("shape", "strides", "size", "reason"),
    [
        ((10**15,), (0,), 48, "exceeds its file"),
        ((2**62, 2**62), (0, 0), 48, "exceeds its file"),
        ((10**30,), (0,), 48, "impossible size"),
        ((6, 8), (8, 1), 10**15, "truncated"),
        ((6, 8), (8, 1), 10**30, "size"),
    ],
)
def test_impossible_sizes_are_refused_before_an_array_is_made(
    tmp_path: Path,
    layout: str,
    matrix: np.ndarray,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    size: int,
    reason: str,
) -> None:
    stored = tw.store("0", matrix)
    claimed = stored._replace(size=size)
    entry = tw.tensor(claimed, shape=shape, strides=strides)
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict({"w": entry}), stored)
    assert reason in refusal(tmp_path / "x.pth")


def test_many_storages_of_one_part_of_a_file_are_refused(tmp_path: Path) -> None:
    data = np.zeros(1000, np.float32)
    storages = [tw.store(str(i), data) for i in range(50)]
    entries = {str(i): tw.whole_tensor(x, data) for i, x in enumerate(storages)}
    tw.write_zip(path := tmp_path / "x.pth", tw.ordered_dict(entries), storages[0])
    assert "of 200000 bytes of tensors it has" in refusal(path)


def test_legacy_views_of_storages(tmp_path: Path, matrix: np.ndarray) -> None:
    storage = tw.store("0", matrix)
    view = (("1", 8, 16),)
    entry = tw.tensor(storage, shape=(2, 8), strides=(8, 1), extra=view)
    too_far = tw.tensor(storage, shape=(3, 8), strides=(8, 1), extra=view)
    tw.write_legacy(tmp_path / "x.pth", tw.ordered_dict({"w": entry}), storage)
    loaded = load_torch_state_dict(tmp_path / "x.pth")["w"]
    np.testing.assert_array_equal(loaded, matrix[1:3])
    tw.write_legacy(tmp_path / "x.pth", tw.ordered_dict({"w": too_far}), storage)
    assert "beyond its storage" in refusal(tmp_path / "x.pth")


@LAYOUTS
@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("torch", "load")],
)
def test_other_names_are_refused_and_nothing_is_executed(
    tmp_path: Path, layout: str, module: str, name: str
) -> None:
    witness = tmp_path / "witness"
    command = tw.pickled(f"touch {witness}")
    attack = tw.call(tw.global_name(module, name), command)
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict({"w": attack}))
    assert f"{module}.{name}" in refusal(tmp_path / "x.pth")
    assert not witness.exists()


@pytest.mark.parametrize("position", ["magic", "keys"])
def test_every_pickle_of_a_legacy_file_is_guarded(
    tmp_path: Path, position: str
) -> None:
    witness = tmp_path / "witness"
    command = tw.pickled(f"touch {witness}")
    attack = tw.call(tw.global_name("os", "system"), command)
    path = tmp_path / "x.pth"
    tw.write_legacy(path, tw.ordered_dict({}))
    keys = pickle.dumps([], protocol=2)
    content = path.read_bytes().removesuffix(keys) if position == "keys" else b""
    path.write_bytes(content + b"\x80\x02" + attack + pickle.STOP)
    assert "os.system" in refusal(path)
    assert not witness.exists()


@LAYOUTS
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((6, 8), (8, 1), 1),
        ((7, 8), (8, 1), 0),
        ((6, 8), (9, 1), 0),
        ((6, 8), (-8, 1), 40),
        ((6, 8), (8, 1), -1),
        ((-1, 8), (8, 1), 0),
        ((6, 8), (8,), 0),
    ],
)
def test_tensors_beyond_their_storage_are_refused(
    tmp_path: Path,
    layout: str,
    matrix: np.ndarray,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
) -> None:
    storage = tw.store("0", matrix)
    entry = tw.tensor(storage, shape=shape, strides=strides, offset=offset)
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict({"w": entry}), storage)
    refusal(tmp_path / "x.pth")


@LAYOUTS
def test_storages_of_the_wrong_size_are_refused(
    tmp_path: Path, layout: str, matrix: np.ndarray
) -> None:
    storage = tw.store("0", matrix)
    checkpoint = tw.ordered_dict({"w": tw.whole_tensor(storage, matrix)})
    shorter = storage._replace(size=storage.size - 1, data=storage.data[:-4])
    tw.WRITERS[layout](tmp_path / "x.pth", checkpoint, shorter)
    assert "expected 48 elements" in refusal(tmp_path / "x.pth")


@LAYOUTS
def test_a_storage_of_two_types_is_refused(
    tmp_path: Path, layout: str, matrix: np.ndarray
) -> None:
    storage = tw.store("0", matrix)
    other = storage._replace(storage_class="IntStorage")
    entries = {
        "a": tw.whole_tensor(storage, matrix),
        "b": tw.whole_tensor(other, matrix),
    }
    tw.WRITERS[layout](tmp_path / "x.pth", tw.ordered_dict(entries), storage)
    assert "two ways" in refusal(tmp_path / "x.pth")


@LAYOUTS
@pytest.mark.parametrize("fraction", [0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_refused(
    tmp_path: Path, layout: str, matrix: np.ndarray, fraction: float
) -> None:
    path = tmp_path / "x.pth"
    tw.save_arrays(path, {"a": matrix, "b": matrix.T.copy()}, layout=layout)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    refusal(path)


def test_a_damaged_archive_is_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    path = tmp_path / "x.pth"
    tw.save_arrays(path, {"a": matrix})
    damaged = path.read_bytes().replace(matrix.tobytes()[:64], bytes(64))
    path.write_bytes(damaged)
    assert "CRC" in refusal(path)


@LAYOUTS
def test_checkpoints_without_tensors_are_refused(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "x.pth"
    tw.WRITERS[layout](path, tw.ordered_dict({"epoch": tw.pickled(3)}))
    assert "no tensors" in refusal(path)
    tw.WRITERS[layout](path, tw.pickled([1, 2]))
    assert "expected a state dict" in refusal(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    refusal(path)
    path.write_text("hello\n")
    refusal(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "torch.save" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "torch.save" in refusal(path)
    shutil.copytree(tmp_path, tmp_path / "folder")
    refusal(tmp_path / "folder")


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10**6))
    assert "torch.save" in refusal(path)
