"""A training is the same on one device, on eight, and in several processes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from process_runs import (
    finish,
    started,
    train_apart,
    train_together,
    virtual_devices,
    wait_for,
)
from training_runs import (
    Finished,
    checkpoints,
    lines,
    make_nets_small,
    save_data,
    train,
)

from jaxstyle.scaling.sharding import place

STEPS = 12

RUN = (
    *("--batch", "8", "--quiet", "--steps", str(STEPS), "--learning-rate", "1e-6"),
    *("--validate-every", "6", "--picture-every", "1000", "--checkpoint-every", "4"),
)
"""A rate at which the losses stay comparable: larger steps make more of rounding than
these tiny nets' sums differ by."""

LONG = (*RUN[:4], "100000", *RUN[5:])
"""The same for so many steps that something else ends it."""

GRADIENTS = """
import jax, numpy as np, optax, jaxstyle
from jaxstyle import training
from jaxstyle.kernels import convolutions
from jaxstyle.scaling.sharding import place, put_replicated

convolutions.by_blocks = convolutions.directly
vgg = jaxstyle.vgg.normalize(jaxstyle.vgg.truncate(jaxstyle.load_vgg(), ["relu1_2"]))
key = jax.random.key(1)
painting = jax.random.uniform(key, (24, 24, 3))
photos = np.asarray(jax.random.randint(key, (16, 16, 16, 3), 0, 256, "uint8"))
weights = jaxstyle.Weights({"relu1_2": 1.0}, {"relu1_1": 10.0})
problem = training.make_problem(vgg, [painting], weights)
optimizer = optax.sgd(1.0)
state = training.init_state(jaxstyle.nets.init_net(key, width=2), optimizer)
step = training.make_step(optimizer)


def gradient(new):
    pairs = zip(jax.tree.leaves(new.params), jax.tree.leaves(state.params))
    return np.concatenate([np.ravel(np.asarray(a) - np.asarray(b)) for a, b in pairs])


alone = jax.jit(step)
mean = np.mean(
    [gradient(alone(state, photos[i : i + 2], problem)[0]) for i in range(0, 16, 2)], 0
)
placement = place(16)
whole, divided = placement.replicated, placement.batches
shared = jax.jit(step, in_shardings=(whole, divided, whole), out_shardings=whole)
start, problem = put_replicated((state, problem), placement)
new, _ = shared(start, jax.device_put(photos, divided), problem)
error = np.linalg.norm(gradient(new) - mean) / np.linalg.norm(mean)
print(placement.devices, float(error))
"""
"""Compares the gradient of 8 devices with the mean of the same pairs' on one."""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Go to a folder with paintings and photos."""
    made = tmp_path_factory.mktemp("data")
    save_data(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        make_nets_small(patch)
        yield made


@pytest.fixture(scope="module")
def alone(folder: Path) -> Path:
    """The training in one process, on one device."""
    assert train("-o", "alone", *RUN).code == 0
    return folder / "alone"


def check_curve(folder: Path, alone: Path) -> None:
    """Assert that a training has the losses of the one on a single device."""
    got, expected = lines(folder), lines(alone)
    assert [line["step"] for line in got] == [line["step"] for line in expected]
    for name in ("loss", "validation_loss"):
        losses, wanted = (
            np.array([line[name] for line in run if name in line])
            for run in (got, expected)
        )
        np.testing.assert_allclose(losses, wanted, rtol=3e-5)
        assert len(set(wanted)) > 2


def test_a_gradient_is_the_sum_of_the_devices(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS],
        env=virtual_devices(8),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    devices, error = done.stdout.splitlines()[-1].split()
    assert devices == "8"
    assert 0 < float(error) < 1e-5


def test_eight_devices_train_like_one(folder: Path, alone: Path) -> None:
    done = train_apart("-o", "eight", *RUN, devices=8)
    assert done.code == 0
    check_curve(folder / "eight", alone)


def test_processes_train_like_one(folder: Path, alone: Path) -> None:
    done = train_together("-o", "four", *RUN, processes=4)
    assert [each.code for each in done] == [0] * 4
    first, *others = done
    result, report = first.out.splitlines()
    assert result.startswith(f"four/style.safetensors: {STEPS} steps, loss ")
    assert report.startswith("photos: ")
    assert all("four/" not in each.out for each in others)
    check_curve(folder / "four", alone)
    assert checkpoints(folder / "four") == [4, 8, 12]


def test_a_run_goes_on_with_other_processes_and_devices(
    folder: Path, alone: Path
) -> None:
    command = ("-o", "moved", *(option for option in RUN if option != "--quiet"))
    begun = train_together(*command, "--steps", "6", processes=2, devices=2)
    assert [each.code for each in begun] == [0, 0]
    assert " pixels on 4 devices, cpu ...\n" in begun[0].err
    assert begun[1].err == ""
    done = train_apart(*command, "--resume", devices=6)
    assert done.code == 0
    # A batch of 8 cannot be divided among 6 devices, nor among 4 of them.
    assert "on 2 of 6 devices, cpu (the batch is no multiple of 6)" in done.err
    check_curve(folder / "moved", alone)


def test_a_run_that_lost_a_process_goes_on(folder: Path) -> None:
    command = ("-o", "lost", *LONG)
    with started(*command, processes=2) as running:
        wait_for(folder / "lost" / "checkpoints" / "8", running)
        running[1].kill()
        survivor, killed = finish(running)
    assert killed.code == -signal.SIGKILL
    assert survivor.code == 1
    assert survivor.err.splitlines()[-1] == (
        "jaxstyle train: error: another process is lost; start all of them again with "
        "--resume"
    )
    last = checkpoints(folder / "lost")[-1]
    with started(*command, "--resume", processes=2) as running:
        wait_for(folder / "lost" / "checkpoints" / str(last + 8), running)
        running[1].send_signal(signal.SIGTERM)
        done = finish(running)
    assert [each.code for each in done] == [130, 130]
    (line,) = done[0].err.splitlines()
    step = int(line.split()[3])
    assert line == (
        f"interrupted after step {step} of 100000; go on with: jaxstyle train --resume "
        "lost"
    )
    assert done[1].err == ""
    assert step == checkpoints(folder / "lost")[-1] >= last + 8
    assert [x["step"] for x in lines(folder / "lost") if "loss" in x] == [
        *range(1, step + 1)
    ]


def test_eight_devices_of_two_processes_train_like_one_on_photos_in_memory(
    folder: Path,
) -> None:
    command = (*RUN, "--data-cache", "device")
    assert train("-o", "cached", *command).code == 0
    done = train_together("-o", "cached8", *command, processes=2, devices=4)
    assert [each.code for each in done] == [0, 0]
    assert done[1].err == ""
    check_curve(folder / "cached8", folder / "cached")
    assert checkpoints(folder / "cached8") == [4, 8, 12]


def last_lines(done: list[Finished]) -> list[str]:
    return [each.err.splitlines()[-1] for each in done]


def test_what_is_wrong_in_one_process_ends_all(folder: Path) -> None:
    done = train_together(
        *("-o", "wrong", *RUN),
        processes=2,
        own=[(), ("--style", "missing.png")],
    )
    assert [each.code for each in done] == [2, 2]
    mine, theirs = last_lines(done)
    assert mine == "jaxstyle train: error: process 1 failed; see its output"
    assert "missing.png" in theirs
    assert list((folder / "wrong").iterdir()) == []


def test_processes_must_have_the_same_settings(folder: Path) -> None:
    done = train_together(
        *("-o", "other", *RUN), processes=2, own=[(), ("--seed", "1")]
    )
    assert [each.code for each in done] == [2, 2]
    assert set(last_lines(done)) == {
        "jaxstyle train: error: process 1 has other settings, paintings or photos "
        "than process 0"
    }


def test_processes_must_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.process_count", lambda: 3)
    with pytest.raises(ValueError, match="a batch of 8 cannot be divided among 3 pro"):
        place(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-processes", "2"), "--coordinator HOST:PORT, --num-processes and "),
        (
            ("--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"),
            "--process-id 2 is not from 0 to 1",
        ),
    ],
)
def test_processes_that_do_not_go_together_are_one_line(
    options: tuple[str, ...], message: str, folder: Path
) -> None:
    check_refused(train("-o", "none", *RUN, *options), message, folder)


def test_processes_that_cannot_be_joined_are_one_line(folder: Path) -> None:
    done = train_apart("-o", "none", *RUN, "--coordinator", "auto")
    check_refused(done, "cannot join the other processes: ", folder)


def check_refused(done: Finished, message: str, folder: Path) -> None:
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"jaxstyle train: error: {message}")
    assert not (folder / "none").exists()
