"""``jaxstyle optimize``: files in, a picture out, with progress on the way."""

from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from jaxstyle.cli.interrupts import catch_interrupts
from jaxstyle.cli.optimize.compilation import make_compile_options, prepare
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.picture_outputs import (
    INTERRUPTED,
    check_outputs,
    unfinished,
)
from jaxstyle.cli.optimize.picture_run import optimize
from jaxstyle.cli.optimize.programs import CHECKPOINTS, Programs, Run, make_programs
from jaxstyle.cli.optimize.scene_inputs import Inputs, find_shapes, load_all_inputs
from jaxstyle.cli.optimize.sweep import (
    LEDGER,
    check_sweep,
    find_variants,
    finish_sweep,
    make_pictures,
    open_ledger,
)
from jaxstyle.cli.runtime import explain_lack_of_memory, make_say, use_compilation_cache
from jaxstyle.cli.settings import check_blend, load_params
from jaxstyle.cli.strategies import (
    Strategy,
    check_strategy,
    list_strategies,
    make_that_fits,
)
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.optimize.presets import OptimizeConfig
from jaxstyle.scaling.memory import TooLargeError
from jaxstyle.vgg import network

SHORT = 5
"""A history of L-BFGS that takes little memory."""

Picture = tuple[OptimizeOptions, Inputs]
"""The options that make a picture alone, and what it is made from."""


def run(arguments: OptimizeOptions) -> int:
    """Make the picture, or those of a sweep; return the exit code."""
    check_sweep(arguments)
    variants = find_variants(arguments)
    check_arguments(arguments, variants)
    use_compilation_cache()
    what = f"--size {arguments.config.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one, or --tile"):
        params = load_params(arguments.config.loss)
        if variants:
            return sweep(arguments, variants, params)
        return make_one(arguments, params)


def make_one(arguments: OptimizeOptions, params: network.VGGParams) -> int:
    """Make one picture; return the exit code."""
    (inputs,) = load_all_inputs([arguments], params)
    (run,) = make_runs(arguments, [(arguments, inputs)], params)
    with catch_interrupts() as interrupts:
        return optimize(run, interrupts)


def sweep(
    arguments: OptimizeOptions,
    variants: Sequence[OptimizeOptions],
    params: network.VGGParams,
) -> int:
    """Make a picture of every combination of values, and a sheet of them all.

    Args:
        arguments: of the command.
        variants: those of each picture.
        params: the network.

    Returns:
        The exit code.
    """
    inputs = load_all_inputs(variants, params)
    ledger = open_ledger(arguments, inputs)
    pictures = zip(variants, inputs, strict=True)
    missing = [picture for picture in pictures if not ledger.has(picture[0].output)]
    runs = make_runs(arguments, missing, params)
    with catch_interrupts() as interrupts:
        if not make_pictures(arguments, runs, ledger, interrupts):
            return INTERRUPTED
    return finish_sweep(arguments, variants, ledger)


# --- runs that fit into memory ------------------------------------------------------


def make_runs(
    arguments: OptimizeOptions, pictures: Sequence[Picture], params: network.VGGParams
) -> list[Run]:
    """Prepare the runs of pictures, by the first strategy that fits all into memory.

    Args:
        arguments: of the command.
        pictures: those of the same size share their programs.
        params: the network.

    Raises:
        ValueError: no strategy fits.
    """
    config = arguments.config
    strategies = list_strategies(arguments.devices, arguments.tile, longest=config.size)
    try:
        return make_that_fits(
            strategies,
            partial(make_runs_by, arguments, pictures, params),
            make_say(quiet=arguments.quiet),
        )
    except TooLargeError as error:
        raise ValueError(advise(error, config)) from error


def make_runs_by(
    arguments: OptimizeOptions,
    pictures: Sequence[Picture],
    params: network.VGGParams,
    strategy: Strategy,
) -> list[Run]:
    """Prepare the runs of pictures by one strategy.

    Raises:
        TooLargeError: a picture does not fit.
    """
    mesh, tile = strategy.mesh, strategy.tile
    options = make_compile_options(arguments.config, mesh=mesh, tile=tile)
    on_device = prepare(params, mesh)
    shared: dict[Hashable, Programs] = {}
    runs = []
    for variant, inputs in pictures:
        shapes = find_shapes(inputs)
        if new := shapes not in shared:
            shared[shapes] = make_programs(inputs, variant.config, options, on_device)
        folder = unfinished(arguments.output)
        if arguments.sweep:
            folder /= Path(variant.output).name
        runs.append(Run(variant, inputs, shared[shapes], folder))
        if new:
            check_memory(runs[-1])
    return runs


def check_memory(run: Run) -> None:
    """Check that a run fits, and begin to compile what it needs.

    Raises:
        TooLargeError: it does not fit.
    """
    last = max(find_checkpoints(run.checkpoints), default=0)
    run.programs.compile_ahead(last)
    compiling = f"{run.inputs.sizes[-1]} px, compiling"
    quiet = run.arguments.quiet
    with tqdm(bar_format=compiling, leave=False, disable=quiet):
        run.programs.check_memory()


def advise(error: TooLargeError, config: OptimizeConfig) -> str:
    """Estimate which size would fit.

    The memory needed grows with the number of pixels, and less at first.
    """
    size = config.size
    fits = f"about --size {int(size * (error.free / error.needed) ** 0.5)} would fit"
    more = f", more with --history {SHORT}" if config.optimizer == "lbfgs" else ""
    return f"not enough memory for --size {size}: {error}; {fits}{more}"


# --- checks before any work ---------------------------------------------------------


def check_arguments(
    arguments: OptimizeOptions, variants: Sequence[OptimizeOptions]
) -> None:
    """Raise a ValueError unless the files can be written and the numbers agree."""
    check_blend(arguments.config.loss.blend, arguments.styles)
    check_strategy(arguments.devices, arguments.tile)
    check_outputs([arguments, *variants], steps=arguments.config.steps)
    check_unfinished(arguments)


def check_unfinished(arguments: OptimizeOptions) -> None:
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
