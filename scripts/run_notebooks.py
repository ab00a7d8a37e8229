"""Run the demonstration notebooks and keep their outputs in them.

    python scripts/run_notebooks.py [NOTEBOOK ...]

Without a notebook, all that are in this folder are run, which takes some seven minutes
on two CPU cores. The libraries are those of the ``test`` extra. No times are kept, so
that a notebook that is run again changes in its pictures only.
"""

import ast
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

FOLDER = Path(__file__).resolve().parent

PARAMETERS = "parameters"
"""The tag of the cell that holds all there is to choose."""

EXECUTED = "executed"
"""Where a notebook says, in its metadata, of which code its outputs are."""

LONGEST = 3600
"""How many seconds a cell may take."""


def main(paths: list[Path]) -> None:
    """Run notebooks, each in place."""
    for path in paths or find_notebooks():
        notebook = nbformat.read(path, as_version=4)
        execute(notebook)
        notebook.metadata[EXECUTED] = digest_code(notebook)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def find_notebooks() -> list[Path]:
    """Return the notebooks that are in this folder."""
    return sorted(FOLDER.glob("*.ipynb"))


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest_code(notebook: Any) -> str:
    """Return 16 digits that differ for notebooks with other code."""
    digest = hashlib.sha256()
    for cell in code_cells(notebook):
        digest.update(f"{cell.source}\n\n".encode())
    return digest.hexdigest()[:16]


def execute(notebook: Any) -> None:
    """Run all cells as Jupyter does, in this folder, and put their outputs in place.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed.
    """
    NotebookClient(
        notebook,
        timeout=LONGEST,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(FOLDER)}},
        extra_arguments=["--log-level=ERROR"],  # no advice on how to start kernels
    ).execute()


def choose(notebook: Any, parameters: Mapping[str, Any]) -> None:
    """Give other values to constants of the cell that is tagged `PARAMETERS`.

    They are assigned in a cell of their own, which is put below that one.

    Raises:
        ValueError: that cell has no such constant.
    """
    tagged = [
        PARAMETERS in cell.metadata.get("tags", ()) for cell in notebook.cells
    ].index(True)
    known = assigned_names(notebook.cells[tagged].source)
    if unknown := [name for name in parameters if name not in known]:
        raise ValueError(
            f"no constant {', '.join(unknown)} in the cell {PARAMETERS}; it has "
            f"{', '.join(known)}"
        )
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    cell = new_code_cell("\n".join(lines))
    notebook.cells.insert(tagged + 1, cell)


def assigned_names(source: str) -> list[str]:
    """Return the names that a cell assigns to."""
    return [
        node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
