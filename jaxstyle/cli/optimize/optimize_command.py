"""``jaxstyle optimize``: files in, a picture out, with progress on the way."""

from collections.abc import Sequence

from jaxstyle.cli.interrupts import catch_interrupts
from jaxstyle.cli.optimize.job import (
    CHECKPOINTS,
    Picture,
    describe,
    load_pictures,
    make_job,
    make_run,
)
from jaxstyle.cli.optimize.ledger import LEDGER
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.optimize_settings import Method, make_method
from jaxstyle.cli.optimize.picture_outputs import check_outputs, unfinished
from jaxstyle.cli.optimize.picture_run import optimize
from jaxstyle.cli.optimize.scale_programs import prepare
from jaxstyle.cli.optimize.scene_inputs import digest
from jaxstyle.cli.optimize.sweep import sweep
from jaxstyle.cli.optimize.variants import check_sweep, find_variants
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


def run(arguments: OptimizeOptions) -> int:
    """Make the picture, or those of a sweep; return the exit code."""
    config = arguments.config
    check_sweep(arguments)
    variants = find_variants(arguments)
    check_arguments(arguments, variants)
    strategies = list_strategies(arguments.devices, arguments.tile, longest=config.size)
    use_compilation_cache()
    what = f"--size {config.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one, or --tile"):
        params = load_params(config.loss)
        pictures = load_pictures(variants or [arguments], params)

        def make(strategy: Strategy) -> int:
            method = make_method(config, mesh=strategy.mesh, tile=strategy.tile)
            prepared = prepare(params, strategy.mesh)
            make = sweep if variants else make_one
            return make(arguments, pictures, method, prepared)

        try:
            return make_that_fits(strategies, make, make_say(quiet=arguments.quiet))
        except TooLargeError as error:
            raise ValueError(advise(error, config)) from error


def advise(error: TooLargeError, config: OptimizeConfig) -> str:
    """Return which size would fit, about.

    What is needed grows with the number of pixels, and less at first.
    """
    size = config.size
    fits = f"about --size {int(size * (error.free / error.needed) ** 0.5)} would fit"
    more = f", more with --history {SHORT}" if config.optimizer == "lbfgs" else ""
    return f"not enough memory for --size {size}: {error}; {fits}{more}"


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


def make_one(
    arguments: OptimizeOptions,
    pictures: Sequence[Picture],
    method: Method,
    params: network.Params,
) -> int:
    """Make one picture; return the exit code."""
    (picture,) = pictures
    job = make_job(arguments, method, picture.inputs, params)
    about = describe(arguments)
    run = make_run(
        arguments,
        pictures,
        job,
        folder=unfinished(arguments.output),
        configuration=about | {"images and network": digest(picture.inputs)},
    )
    with catch_interrupts() as interrupts:
        (code,) = optimize(run, interrupts)
    return code
