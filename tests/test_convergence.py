"""How far L-BFGS gets, against what PyTorch's reached with as many evaluations."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "benchmark_convergence.py"

# What the script printed for torch.optim.LBFGS (PyTorch 2.13): the loss of the preset
# "seed" at 256 px after 100 and after 300 evaluations.
TORCH = (93.293, 58.817)


def test_lbfgs_gets_further_than_torch() -> None:
    # A process of its own: the suite's compiler options make slow programs.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    output = subprocess.run(
        [sys.executable, SCRIPT, "--only", "lbfgs"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    *_, at_100, at_300 = (
        float(cell) for cell in output.splitlines()[-1].split("|")[2:-1]
    )
    assert at_100 < TORCH[0]
    assert at_300 < TORCH[1]
