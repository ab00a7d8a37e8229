"""The demonstration notebooks: kept with their outputs, and still right when run."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell
from PIL import Image
from run_notebooks import (
    EXECUTED,
    choose,
    code_cells,
    digest_code,
    execute,
    find_notebooks,
)

import jaxstyle
from jaxstyle.losses.config import weigh_shallow

LARGEST = 600_000
"""How many bytes a notebook may have."""

SMALL: Mapping[str, Mapping[str, Any]] = {
    "optimize_step_by_step": {
        "SIZE": 48,
        "COARSEST": 24,
        "LOOKS": (1, 6, 9),
        "BALANCES": (100, 0.1),
    },
    "stylize_and_train": {
        "SIZE": 64,
        "WIDTH": 8,
        "CROP": 32,
        "BATCH": 1,
        "LOOKS": (2, 10),
    },
}
"""What makes each notebook small and fast."""

NOTEBOOKS = {path.stem: path for path in find_notebooks()}

every_notebook = pytest.mark.parametrize("name", SMALL)


def load(name: str) -> Any:
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbformat.validate(notebook)
    return notebook


def run_small(name: str, **wanted: str) -> tuple[Any, dict[str, Any]]:
    """Run a notebook with small numbers; return it, and what expressions are then."""
    notebook = load(name)
    choose(notebook, SMALL[name])
    pairs = ", ".join(f"{key!r}: {expression}" for key, expression in wanted.items())
    report = f"import json\nprint(json.dumps({{{pairs}}}))"
    notebook.cells.append(new_code_cell(report))
    execute(notebook)
    (printed,) = notebook.cells[-1].outputs
    return notebook, json.loads(printed.text)


def outline(notebook: Any) -> dict[str, list[str]]:
    """Return the kinds of the outputs of each cell, by the cell's name."""
    return {
        cell.id: [kind for output in cell.outputs for kind in kinds(output)]
        for cell in code_cells(notebook)
    }


def kinds(output: Any) -> list[str]:
    return [output.name] if output.output_type == "stream" else sorted(output.data)


def pictures(notebook: Any) -> Iterator[np.ndarray]:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if jpeg := output.get("data", {}).get("image/jpeg"):
                yield np.asarray(Image.open(BytesIO(b64decode(jpeg))))


def texts(value: Any) -> Iterator[str]:
    """Yield all strings in a notebook but its pictures."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not key.startswith("image/"):
                yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def check_like_kept(notebook: Any, name: str) -> None:
    """Check that every cell has outputs like those that are kept, and none is blank."""
    found, kept = outline(notebook), outline(load(name))
    assert {cell: found[cell] for cell in kept} == kept
    assert all(picture.std() > 10 for picture in pictures(notebook))


# --- as they are kept ---------------------------------------------------------------


def test_these_are_the_notebooks() -> None:
    assert set(NOTEBOOKS) == set(SMALL)


@every_notebook
def test_every_cell_was_run_in_order(name: str) -> None:
    counts = [cell.execution_count for cell in code_cells(load(name))]
    assert counts == list(range(1, len(counts) + 1))


@every_notebook
def test_outputs_are_those_of_the_code(name: str) -> None:
    notebook = load(name)
    assert notebook.metadata[EXECUTED] == digest_code(notebook), (
        "run it again: python scripts/run_notebooks.py"
    )


@every_notebook
def test_outputs_are_pictures_and_plain_words(name: str) -> None:
    """No errors, no warnings, no progress bars."""
    notebook = load(name)
    found = {kind for cell in outline(notebook).values() for kind in cell}
    assert found == {"stdout", "image/jpeg", "text/plain"}
    shown = list(pictures(notebook))
    assert len(shown) >= 7
    assert all(picture.std() > 10 for picture in shown)


@every_notebook
def test_no_path_of_a_machine_is_in_a_notebook(name: str) -> None:
    for text in texts(load(name)):
        assert not re.search(r"(?<![\w.:/])/\w+/|~/|[A-Z]:\\|file:", text)


@every_notebook
def test_a_notebook_is_small(name: str) -> None:
    assert NOTEBOOKS[name].stat().st_size < LARGEST


@every_notebook
def test_only_public_names_are_used(name: str) -> None:
    code = "\n".join(cell.source for cell in code_cells(load(name)))
    assert set(re.findall(r"\bjaxstyle\.(\w+)", code)) <= set(jaxstyle.__all__)


# --- when they are run --------------------------------------------------------------


def test_an_unknown_constant_is_named() -> None:
    notebook = load("optimize_step_by_step")
    with pytest.raises(ValueError, match="no constant STEPS in the cell parameters"):
        choose(notebook, {"STEPS": 1})


def test_other_code_has_another_digest() -> None:
    notebook = load("optimize_step_by_step")
    before = digest_code(notebook)
    choose(notebook, {"SIZE": 48})
    assert digest_code(notebook) != before


@pytest.mark.slow
def test_style_optimization_step_by_step() -> None:
    name = "optimize_step_by_step"
    notebook, found = run_small(
        name,
        losses="losses['loss'].tolist()",
        first_content="float(losses['content'][0])",
        size="[*painted.shape]",
        content="[float(run(start._replace(image=keeper.picture(end.kept)), problem, 1)"
        "[1]['content'][0]) for end in ends.values()]",
    )
    check_like_kept(notebook, name)
    assert found["first_content"] < 1e-6
    assert len(found["losses"]) == 9
    assert min(found["losses"]) < 0.5 * found["losses"][0]
    assert found["size"] == [32, 48, 3]
    assert 0 < found["content"][0] < 0.5 * found["content"][1]


@pytest.mark.slow
def test_stylizing_and_training() -> None:
    name = "stylize_and_train"
    notebook, found = run_small(
        name,
        losses="[float(first), float(last)]",
        same="float(abs(between[0] - picture).max())",
        change="[float(abs(x - picture).mean()) for x in between]",
        alone="float(abs(stylized[1] - stylize(net, photos[1])).max())",
        near="float(influence.max())",
        far="float(influence[0, 0])",
        weights="[weights.content, weights.style]",
    )
    check_like_kept(notebook, name)
    assert found["losses"][1] < 0.9 * found["losses"][0]
    assert found["same"] < 1e-3
    assert found["change"] == sorted(found["change"])
    assert found["change"][-1] > 0.02
    assert found["alone"] < 1e-3
    assert 0 < found["far"] < 0.1 * found["near"]
    content, style = found["weights"]
    assert content == {"relu3_3": 0.25}
    assert style == pytest.approx(weigh_shallow(style), rel=0.02)
