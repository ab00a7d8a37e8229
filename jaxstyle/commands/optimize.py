"""``jaxstyle optimize``: files in, a picture out, with progress on the way."""

import argparse
from collections.abc import Sequence

import numpy as np

from jaxstyle.checkpoints import find_checkpoints
from jaxstyle.commands.optimize_inputs import digest, load_inputs
from jaxstyle.commands.optimize_job import CHECKPOINTS, Job
from jaxstyle.commands.optimize_outputs import check_outputs, save_sweep, unfinished
from jaxstyle.commands.optimize_programs import make_compile
from jaxstyle.commands.optimize_run import optimize
from jaxstyle.commands.optimize_settings import (
    choose_settings,
    find_variants,
    make_method,
    make_weights,
)
from jaxstyle.commands.runtime import explain_lack_of_memory, use_compilation_cache
from jaxstyle.commands.settings import check_blend
from jaxstyle.presets import Preset
from jaxstyle.pyramid import split_steps

Arguments = argparse.Namespace


def run(arguments: Arguments) -> int:
    """Make the picture, or those of a sweep; return the exit code."""
    settings, variants = choose_settings(arguments), find_variants(arguments)
    check_arguments(arguments, variants, steps=settings.steps)
    what = f"--size {arguments.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one, or --tile"):
        job = make_job(arguments, settings)
        if variants:
            return sweep(arguments, variants, job)
        return optimize(arguments, settings, job).code


def check_arguments(
    arguments: Arguments, variants: Sequence[Arguments], *, steps: int
) -> None:
    """Raise a ValueError unless the files can be written and the counts agree."""
    check_blend(arguments.blend, arguments.styles)
    check_sweep(arguments)
    for each in (arguments, *variants):
        check_outputs(each, steps=steps)
    if len({variant.output for variant in variants}) < len(variants):
        raise ValueError("two values of --sweep would have the same name")
    check_unfinished(variants or [arguments])


def check_sweep(arguments: Arguments) -> None:
    """Raise a ValueError unless there is a sheet for a sweep, and nothing else."""
    names = [name for name, _ in arguments.sweep or ()]
    if len(names) > 2:
        raise ValueError(
            f"a sheet has two sides, rows and columns: got --sweep {len(names)} times"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"--sweep of {names[0]} twice: give all values to one")
    others = ("film", "sheet", "plot")
    if names and any(getattr(arguments, name) is not None for name in others):
        raise ValueError("--sweep makes a sheet alone, without --film, --sheet, --plot")


def check_unfinished(variants: Sequence[Arguments]) -> None:
    """Raise a ValueError if an interrupted run would be lost, or there is none."""
    folders = [unfinished(variant.output) for variant in variants]
    found = [path for path in folders if find_checkpoints(path / CHECKPOINTS)]
    if found and not variants[0].resume:
        raise ValueError(
            f"{found[0]} holds an interrupted run; go on with it by --resume, or "
            "delete the folder"
        )
    if variants[0].resume and not found:
        raise ValueError(f"nothing to resume: there is no checkpoint in {folders[0]}")


def make_job(arguments: Arguments, settings: Preset) -> Job:
    """Read the files and get ready to compile."""
    method = make_method(
        settings, learning_rate=arguments.learning_rate, tile=arguments.tile
    )
    inputs = load_inputs(arguments, settings)
    use_compilation_cache()
    weights = make_weights(settings, strength=arguments.strength)
    counts = split_steps(settings.steps, len(inputs.sizes), finest=settings.finest)
    ends = np.cumsum(counts)
    return Job(
        inputs,
        method,
        tuple(int(end) for end in ends),
        make_compile(inputs, method, weights, blend=arguments.blend),
        digest(inputs),
    )


def sweep(arguments: Arguments, variants: Sequence[Arguments], job: Job) -> int:
    """Make a picture for every combination of values, and a sheet of them all."""
    pictures = []
    for variant in variants:
        outcome = optimize(variant, choose_settings(variant), job)
        if outcome.code != 0:
            return outcome.code
        pictures.append(outcome.picture)
    save_sweep(arguments.output, arguments.sweep, pictures)
    print(f"{arguments.output}: {len(pictures)} pictures")
    return 0
