"""``jaxstyle optimize``: check the options, and make a picture or a sweep."""

import sys
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from jaxstyle.cli.loss_inputs import NO_MASK, check_blend, load_params, prepare
from jaxstyle.cli.optimize import picture_outputs
from jaxstyle.cli.optimize.optimize_options import OptimizeOptions
from jaxstyle.cli.optimize.picture_run import optimize
from jaxstyle.cli.optimize.programs import Programs, make_programs
from jaxstyle.cli.optimize.scales import make_compile_options
from jaxstyle.cli.optimize.scene_inputs import Inputs, find_shapes, load_all_inputs
from jaxstyle.cli.optimize.sweep import (
    LEDGER,
    check_sweep,
    find_variants,
    finish_sweep,
    open_ledger,
)
from jaxstyle.cli.runtime import (
    catch_interrupts,
    check_kept,
    check_strategy,
    explain_lack_of_memory,
    if_slow,
    make_say,
    use_compilation_cache,
)
from jaxstyle.files.checkpoints import find_checkpoints
from jaxstyle.files.figures import check_plot_path
from jaxstyle.files.films import check_film_path
from jaxstyle.files.image_decoding import check_exists
from jaxstyle.files.image_files import check_image_path
from jaxstyle.files.web_images import local_image
from jaxstyle.scaling.memory import (
    Strategy,
    TooLargeError,
    list_strategies,
    make_that_fits,
)
from jaxstyle.vgg import network

SHORT = 5
"""A history of L-BFGS that takes little memory."""

CHECKS = {
    "preview": check_image_path,
    "film": check_film_path,
    "plot": check_plot_path,
    "sheet": check_image_path,
}
"""The other files of a picture, by option, and the checks of their paths."""


def run(arguments: OptimizeOptions) -> int:
    """Make the picture, or those of a sweep; return the exit code."""
    check_sweep(arguments)
    variants = find_variants(arguments)
    check_blend(arguments.config.loss, arguments.styles)
    check_strategy(arguments.devices, arguments.tile)
    check_files([arguments, *variants])
    check_unfinished(arguments)
    use_compilation_cache()
    what = f"--size {arguments.config.size}"
    with explain_lack_of_memory(what=what, advice="use a smaller one, or --tile"):
        params = load_params(arguments.config.loss)
        inputs = load_all_inputs(variants or [arguments], params)
        if variants:
            return sweep(arguments, variants, inputs, params)
        (run,) = make_runs(arguments, [(arguments, inputs[0])], params)
        with catch_interrupts() as interrupts:
            return optimize(run, interrupts)


def sweep(
    arguments: OptimizeOptions,
    variants: Sequence[OptimizeOptions],
    inputs: Sequence[Inputs],
    params: network.VGGParams,
) -> int:
    """Make the picture of each variant, and a sheet of all; return the exit code."""
    ledger = open_ledger(arguments, inputs)
    pictures = zip(variants, inputs, strict=True)
    missing = [picture for picture in pictures if not ledger.has(picture[0].output)]
    runs = make_runs(arguments, missing, params)
    ledger.save()
    with catch_interrupts() as interrupts:
        for run in runs:
            if interrupts.received:
                print("interrupted between pictures; --resume goes on", file=sys.stderr)
                return picture_outputs.INTERRUPTED
            code = optimize(run, interrupts)
            if code == picture_outputs.INTERRUPTED:
                return code
            ledger.codes[run.arguments.output] = code
            ledger.save()
    return finish_sweep(arguments, variants, ledger)


# --- runs that fit into memory ------------------------------------------------------


def make_runs(
    arguments: OptimizeOptions,
    pictures: Sequence[tuple[OptimizeOptions, Inputs]],
    params: network.VGGParams,
) -> list[picture_outputs.Run]:
    """Prepare the runs of pictures, by the first strategy that fits all into memory."""
    config, say = arguments.config, make_say(quiet=arguments.quiet)

    def make(strategy: Strategy) -> list[picture_outputs.Run]:
        options = make_compile_options(config, strategy)
        on_device = prepare(params, strategy.mesh)
        shared: dict[Hashable, Programs] = {}
        runs = []
        for variant, inputs in pictures:
            shapes = find_shapes(inputs)
            if new := shapes not in shared:
                shared[shapes] = make_programs(
                    inputs, variant.config, options, on_device
                )
            folder = picture_outputs.unfinished(arguments.output)
            if arguments.sweep:
                folder /= Path(variant.output).name
            runs.append(picture_outputs.Run(variant, inputs, shared[shapes], folder))
            if new:
                check_memory(runs[-1])
        return runs

    strategies = list_strategies(arguments.devices, arguments.tile, longest=config.size)
    try:
        return make_that_fits(strategies, make, say)
    except TooLargeError as error:
        # The memory needed grows with the number of pixels, and less at first.
        size = int(config.size * (error.free / error.needed) ** 0.5)
        advice = f"about --size {size} would fit"
        if config.optimizer == "lbfgs":
            advice += f", more with --history {SHORT}"
        raise ValueError(
            f"not enough memory for --size {config.size}: {error}; {advice}"
        ) from error


def check_memory(run: picture_outputs.Run) -> None:
    """Begin to compile what a run needs; raise a TooLargeError if it does not fit."""
    run.programs.compile_ahead(max(find_checkpoints(run.checkpoints), default=0))
    line, quiet = f"{run.inputs.sizes[-1]} px, compiling", run.arguments.quiet
    with (
        tqdm(bar_format="{desc}", leave=False, disable=quiet or None) as bar,
        if_slow(bar.set_description_str, line),
    ):
        run.programs.check_memory()


# --- checks before any work ---------------------------------------------------------


def check_files(pictures: Sequence[OptimizeOptions]) -> None:
    """Raise a ValueError if a file is missing, or writing one would lose another."""
    written: set[Path] = set()
    for arguments in pictures:
        for path in list_outputs(arguments):
            if path.resolve() in written:
                raise ValueError(f"two of the files to write are the same: {path}")
            written.add(path.resolve())
    for arguments in pictures:
        of_styles = [x for x in arguments.style_masks or () if x != NO_MASK]
        masks = (*(arguments.masks or ()), *of_styles)
        images = (arguments.content, *arguments.styles, *masks)
        check_kept((*images, arguments.config.init), written, what="picture")
        for image in images:
            check_exists(local_image(image))


def list_outputs(arguments: OptimizeOptions) -> Iterator[Path]:
    """Yield the files of a picture; a ValueError if one has a wrong path."""
    check_image_path(arguments.output)
    yield Path(arguments.output)
    for name, check in CHECKS.items():
        if (path := getattr(arguments, name)) is not None:
            check(path)
            yield Path(path)
    steps = arguments.config.steps
    every = arguments.save_every or steps
    yield from (
        picture_outputs.numbered(arguments.output, n)
        for n in range(every, steps, every)
    )


def check_unfinished(arguments: OptimizeOptions) -> None:
    """Raise a ValueError if an interrupted run would be lost, or there is none."""
    folder = picture_outputs.unfinished(arguments.output)
    of_one = bool(find_checkpoints(folder / picture_outputs.CHECKPOINTS))
    of_sweep = (folder / LEDGER).exists()
    if (of_one or of_sweep) and not arguments.resume:
        raise ValueError(
            f"{folder} holds an interrupted run; go on with it by --resume, or "
            "delete the folder"
        )
    begun = not of_sweep and folder.is_dir()  # and maybe killed before a checkpoint
    if arguments.resume and not (of_sweep if arguments.sweep else begun):
        what = "sweep" if arguments.sweep else "checkpoint"
        raise ValueError(f"nothing to resume: there is no {what} in {folder}")
