"""Where there are several devices, commands divide pictures among them."""

import re
import subprocess
import sys
from pathlib import Path

import on_three_devices
from process_runs import virtual_devices


def test_commands_on_three_devices() -> None:
    """All tests of tests/on_three_devices.py pass in a process that has as many."""
    path = Path(on_three_devices.__file__)
    tests = len(re.findall(r"^def test_", path.read_text(), re.MULTILINE))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", str(path)],
        env=virtual_devices(3),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= tests
