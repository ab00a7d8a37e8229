"""``jaxstyle optimize``: files in, a picture out, with progress on the way."""

import argparse
from collections.abc import Sequence

from jaxstyle.checkpoints import find_checkpoints
from jaxstyle.commands.interrupts import catch_interrupts
from jaxstyle.commands.optimize_inputs import digest, load_inputs
from jaxstyle.commands.optimize_job import (
    CHECKPOINTS,
    describe,
    make_job,
    make_picture,
    make_run,
)
from jaxstyle.commands.optimize_ledger import LEDGER
from jaxstyle.commands.optimize_outputs import check_outputs, unfinished
from jaxstyle.commands.optimize_programs import prepare
from jaxstyle.commands.optimize_run import optimize
from jaxstyle.commands.optimize_settings import Method, choose_settings, make_method
from jaxstyle.commands.optimize_sweep import sweep
from jaxstyle.commands.optimize_variants import check_sweep, find_variants
from jaxstyle.commands.runtime import (
    explain_lack_of_memory,
    make_say,
    use_compilation_cache,
)
from jaxstyle.commands.settings import check_blend, load_params
from jaxstyle.memory import TooLargeError
from jaxstyle.presets import Preset

Arguments = argparse.Namespace

TILE = 512
"""The side of tiles where memory does not suffice for the whole picture."""


def run(arguments: Arguments) -> int:
    """Make the picture, or those of a sweep; return the exit code."""
    settings = choose_settings(arguments)
    check_sweep(arguments, settings)
    variants = find_variants(arguments)
    check_arguments(arguments, variants, settings)
    use_compilation_cache()
    what = f"--size {arguments.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one, or --tile"):
        try:
            return make(arguments, variants, settings, tile=arguments.tile)
        except TooLargeError as error:
            if arguments.tile is not None or arguments.size <= TILE:
                raise _advised(error, arguments.size) from error
            say = make_say(quiet=arguments.quiet)
            say(f"{error}: looking at the picture in tiles of {TILE} pixels")
        try:
            return make(arguments, variants, settings, tile=TILE)
        except TooLargeError as error:
            raise _advised(error, arguments.size) from error


def make(
    arguments: Arguments,
    variants: Sequence[Arguments],
    settings: Preset,
    *,
    tile: int | None,
) -> int:
    """Make the pictures, looking at them in tiles or not; return the exit code."""
    method = make_method(
        settings,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
        tile=tile,
    )
    if variants:
        return sweep(arguments, variants, method)
    return make_one(arguments, settings, method)


def _advised(error: TooLargeError, size: int) -> ValueError:
    """Return an error that tells about which size would fit.

    What is needed grows with the number of pixels, and less at first.
    """
    fits = int(size * (error.free / error.needed) ** 0.5)
    return ValueError(
        f"not enough memory for --size {size}: {error}; about --size {fits} would fit"
    )


def check_arguments(
    arguments: Arguments, variants: Sequence[Arguments], settings: Preset
) -> None:
    """Raise a ValueError unless the files can be written and the numbers agree."""
    check_blend(arguments.blend, arguments.styles)
    check_outputs([arguments, *variants], steps=settings.steps)
    check_unfinished(arguments)


def check_unfinished(arguments: Arguments) -> None:
    """Raise a ValueError if an interrupted run would be lost, or there is none."""
    folder = unfinished(arguments.output)
    of_one = bool(find_checkpoints(folder / CHECKPOINTS))
    of_sweep = (folder / LEDGER).exists()
    if (of_one or of_sweep) and not arguments.resume:
        raise ValueError(
            f"{folder} holds an interrupted run; go on with it by --resume, or "
            "delete the folder"
        )
    if arguments.resume and not (of_sweep if arguments.sweep else of_one):
        what = "sweep" if arguments.sweep else "checkpoint"
        raise ValueError(f"nothing to resume: there is no {what} in {folder}")


def make_one(arguments: Arguments, settings: Preset, method: Method) -> int:
    """Make one picture; return the exit code."""
    params = load_params(settings)
    inputs = load_inputs(arguments, settings, params)
    job = make_job(arguments, settings, method, inputs, prepare(params))
    about = describe(arguments, settings, inputs)
    run = make_run(
        arguments,
        [make_picture(arguments, settings, inputs)],
        job,
        folder=unfinished(arguments.output),
        configuration=about | {"images and network": digest(inputs)},
    )
    with catch_interrupts() as interrupts:
        (code,) = optimize(run, interrupts)
    return code
