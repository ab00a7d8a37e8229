"""The pictures of a sweep, as many side by side as memory allows, and their sheet.

Pictures of the same sizes are a group, which is made by the same programs, in batches.
"""

import hashlib
import math
import shutil
import sys
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxstyle.cli.interrupts import Interrupts, catch_interrupts
from jaxstyle.cli.optimize.job import Job, Picture, describe, make_job, make_run
from jaxstyle.cli.optimize.ledger import Ledger, are_made, load_ledger, save_ledger
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.optimize_settings import Method
from jaxstyle.cli.optimize.picture_outputs import save_sweep, unfinished
from jaxstyle.cli.optimize.picture_run import optimize
from jaxstyle.cli.optimize.results import DONE, INTERRUPTED
from jaxstyle.cli.optimize.scene_inputs import Inputs, digest
from jaxstyle.scaling.memory import TooLargeError
from jaxstyle.vgg import network

ON_CPU = 1
"""The most lanes on a CPU: there they take memory, and save no time."""

DIVIDED = 1
"""The most lanes of pictures that several devices divide."""


class Sweep(NamedTuple):
    """What stays the same while the pictures of a sweep are made.

    Attributes:
        arguments: those of the command.
        method: what is compiled for.
        params: the network on the device.
        groups: the pictures, by the sizes of all that they are made from.
        folder: is there until all pictures are made.
    """

    arguments: OptimizeOptions
    method: Method
    params: network.Params
    groups: Sequence[Sequence[Picture]]
    folder: Path


def sweep(
    arguments: OptimizeOptions,
    pictures: Sequence[Picture],
    method: Method,
    params: network.Params,
) -> int:
    """Make a picture for every combination of values, and a sheet of them all.

    Args:
        arguments: of the command.
        pictures: what there is to make.
        method: what to compile for.
        params: the network on the device.

    Raises:
        TooLargeError: memory does not suffice.
        ValueError: the unfinished sweep to go on with is another, or damaged.
    """
    configuration = make_configuration(arguments, pictures)
    folder, ledger = unfinished(arguments.output), Ledger(configuration)
    if arguments.resume:
        ledger = load_ledger(folder, configuration)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    groups = find_groups(pictures)
    todo = Sweep(arguments, method, params, groups, folder)
    with catch_interrupts() as interrupts:
        if not make_pictures(todo, ledger, interrupts):
            return INTERRUPTED
    return finish(todo, ledger, [picture.arguments.output for picture in pictures])


def make_pictures(todo: Sweep, ledger: Ledger, interrupts: Interrupts) -> bool:
    """Make what is missing, and note it; return whether that is all."""
    for job, batch in find_batches(todo, ledger):
        if interrupts.received:
            print("interrupted between pictures; --resume goes on", file=sys.stderr)
            return False
        outputs = [picture.arguments.output for picture in batch]
        run = make_run(
            todo.arguments,
            batch,
            job,
            folder=todo.folder / Path(outputs[0]).name,
            configuration={**ledger.configuration, "pictures": outputs},
        )
        codes = optimize(run, interrupts)
        if INTERRUPTED in codes:
            return False
        ledger.codes.update(zip(outputs, codes, strict=True))
        save_ledger(todo.folder, ledger)
    return True


def find_batches(
    todo: Sweep, ledger: Ledger
) -> Iterator[tuple[Job, Sequence[Picture]]]:
    """Yield the pictures that are to be made side by side, and what they share.

    How many of each group there can be is known before the first picture is made.
    """

    def is_made(pictures: Sequence[Picture]) -> bool:
        return are_made(ledger, [picture.arguments.output for picture in pictures])

    jobs = [find_job(todo, group[0]) for group in todo.groups]
    for job, group in list(zip(jobs, todo.groups, strict=True))[len(ledger.lanes) :]:
        most = most_lanes(todo.method, len(group))
        ledger.lanes.append(find_lanes(job, len(group), most=most))
    save_ledger(todo.folder, ledger)
    for job, group, lanes in zip(jobs, todo.groups, ledger.lanes, strict=True):
        for start in range(0, len(group), lanes):
            batch = group[start : start + lanes]
            if not is_made(batch):
                yield job, batch


def find_job(todo: Sweep, picture: Picture) -> Job:
    """Return what pictures share that are of the sizes of one."""
    return make_job(todo.arguments, todo.method, picture.inputs, todo.params)


def most_lanes(method: Method, count: int) -> int:
    """Return how many of so many pictures it makes sense to make side by side."""
    if method.execution.mesh is not None:
        return DIVIDED
    return ON_CPU if jax.default_backend() == "cpu" else count


def find_lanes(job: Job, count: int, *, most: int) -> int:
    """Return how many of so many pictures to make side by side, in like batches.

    Args:
        job: what they share.
        count: of the pictures.
        most: not more than these.

    Raises:
        TooLargeError: memory does not suffice for a single one.
    """
    while True:
        lanes = math.ceil(count / math.ceil(count / most))
        try:
            # One that fails is measured by a copy of the state.
            job.programs[len(job.ends) - 1, lanes].check(states=min(lanes, 2))
        except TooLargeError as error:
            if lanes == 1:
                raise
            most = min(lanes - 1, max(1, lanes * error.free // error.needed))
        else:
            return lanes


def finish(todo: Sweep, ledger: Ledger, outputs: Sequence[str]) -> int:
    """Write the sheet of all pictures that could be made; return the exit code."""
    made = [output if ledger.codes[output] == DONE else None for output in outputs]
    if any(made):
        save_sweep(todo.arguments.output, todo.arguments.sweep, made)
        print(f"{todo.arguments.output}: {len(made) - made.count(None)} pictures")
    shutil.rmtree(todo.folder, ignore_errors=True)
    return max(ledger.codes[output] for output in outputs)


# --- what there is to make ----------------------------------------------------------


def make_configuration(
    arguments: OptimizeOptions, pictures: Sequence[Picture]
) -> dict[str, Any]:
    """Return all that shapes the numbers of a sweep."""
    inputs = {id(picture.inputs): picture.inputs for picture in pictures}
    digests = [digest(each) for each in inputs.values()]
    total = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return {
        **describe(arguments),
        "sweep": {name: list(values) for name, values in arguments.sweep},
        "images and network": total,
    }


def find_groups(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Return pictures by the sizes of all that they are made from."""
    groups: dict[Hashable, list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(find_sizes(picture.inputs), []).append(picture)
    return list(groups.values())


def find_sizes(inputs: Inputs) -> Hashable:
    """Return what is the same for pictures that the same programs make."""
    leaves, structure = jax.tree.flatten((inputs.scene, inputs.init))
    return structure, tuple(leaf.shape for leaf in leaves), inputs.sizes
