"""Every reader returns, or refuses mutated files in one line.

``scripts/fuzz.py`` tries more of them, with limits of time and memory.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
from fuzz_targets import TARGETS, Target, mutate

COUNT = 100
"""The mutated files for each reader."""

FEWER = {"tfrecord": 15, "array_record": 15, "decoder.safetensors": 10}
"""Those of slower readers."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_files_are_read_or_refused_in_one_line(
    tmp_path: Path, target: Target
) -> None:
    seeds = target.seeds(tmp_path)
    path = tmp_path / target.name
    outcomes = set()
    for number in range(FEWER.get(target.name, COUNT)):
        rng = np.random.default_rng([number])
        content = mutate(seeds[number % len(seeds)], rng, seeds)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = refusal(target, path)
        assert reason is None or "\n" not in reason
        outcomes.add(reason is None)
    assert False in outcomes or target.name in ("metadata", "metrics.jsonl", "card.md")


def refusal(target: Target, path: Path) -> str | None:
    try:
        target.read(path)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whole_files_are_read(tmp_path: Path, target: Target) -> None:
    if target.name == "checkpoint.pth":
        pytest.skip("the files are too small to be whole")
    seeds = target.seeds(tmp_path)
    for seed in seeds if "." not in target.name else seeds[:1]:
        (tmp_path / target.name).write_bytes(seed)
        target.read(tmp_path / target.name)
