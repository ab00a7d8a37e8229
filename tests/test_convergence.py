"""How far L-BFGS gets, against what PyTorch's reached with as many evaluations."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_convergence.py"

EVALUATIONS = "30"

# What the script printed for torch.optim.LBFGS (PyTorch 2.13): the loss of the preset
# "seed" at 256 px after so many evaluations.
TORCH = 301.1


@pytest.mark.slow
def test_lbfgs_gets_further_than_torch() -> None:
    # A process of its own: the suite's compiler options make slow programs.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    run = subprocess.run(
        [sys.executable, SCRIPT, "--only", "lbfgs", "--evaluations", EVALUATIONS],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    header, *_, row = ([cell.strip() for cell in line.split("|")] for line in lines)
    reached = dict(zip(header, row, strict=False))
    assert float(reached[f"loss at {EVALUATIONS}"]) < TORCH
