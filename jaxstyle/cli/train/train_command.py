"""``jaxstyle train``: paintings and photos in, a net out."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax

from jaxstyle.cli.options import describe_config, describe_options
from jaxstyle.cli.runtime import (
    explain_lack_of_memory,
    make_say,
    use_compilation_cache,
    versions,
)
from jaxstyle.cli.train.device_cache import Album, album_shapes, cache_photos
from jaxstyle.cli.train.processes import (
    check_alike,
    failing_together,
    is_first,
    join_processes,
    leaving_when_lost,
    share,
)
from jaxstyle.cli.train.train_options import NO_CACHE, TrainOptions
from jaxstyle.cli.train.training_inputs import Inputs, load_inputs
from jaxstyle.cli.train.training_programs import (
    Programs,
    compile_programs,
    init_state,
    make_problem,
    state_shapes,
)
from jaxstyle.cli.train.training_results import has_results, save_json, save_results
from jaxstyle.cli.train.training_run import (
    Every,
    NotFiniteError,
    Run,
    open_session,
    save,
    train,
)
from jaxstyle.cli.train.training_settings import (
    CHECKPOINTS,
    SETTINGS,
    STYLE,
    check_arguments,
    choose_settings,
    make_folder,
)
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.scaling.sharding import Placement, place, put_replicated
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig


def run(arguments: TrainOptions) -> int:
    """Train a net, or go on training; return the exit code."""
    join_processes(arguments)
    with failing_together():
        settings = choose_settings(arguments)
        if is_first():
            check_arguments(arguments)
    what = f"--batch {settings.batch} at --size {settings.size}"
    advice = "use a smaller --batch or --size"
    with explain_lack_of_memory(what=what, advice=advice), leaving_when_lost():
        return train_net(arguments, settings)


def train_net(arguments: TrainOptions, settings: TrainConfig) -> int:
    """Read the files, restore, compile, and train; return the exit code."""
    quiet = arguments.quiet or not is_first()
    say = make_say(quiet=quiet)
    folder = Path(arguments.output)
    with failing_together():
        placement = place(settings.batch)
        inputs = load_inputs(arguments, settings)
        if is_first():
            make_folder(folder)
    check_alike(inputs.configuration)
    use_compilation_cache()
    problem = make_problem(settings.loss, inputs.params, inputs.styles)
    with failing_together():
        state, made = find_start(arguments, settings, inputs)
    state, made = share((state, made))
    if made:
        if is_first():
            print(f"{folder / STYLE}: nothing to do, {state.step} steps are made")
        return 0
    if arguments.resume:
        say(f"going on from step {state.step}")
    state, problem = put_replicated((state, problem), placement)
    programs, album = prepare(
        arguments, settings, inputs, state, problem, placement, quiet=quiet
    )
    run = Run(
        folder=folder,
        inputs=inputs,
        problem=problem,
        programs=programs,
        album=album,
        every=Every(
            validate=arguments.validate_every,
            picture=arguments.picture_every,
            checkpoint=arguments.checkpoint_every,
        ),
        settings=settings,
        placement=placement,
        seed=arguments.seed,
        record=make_record(arguments, settings, inputs),
    )
    return drive(run, state, quiet=quiet)


def prepare(
    arguments: TrainOptions,
    settings: TrainConfig,
    inputs: Inputs,
    state: State,
    problem: Problem,
    placement: Placement,
    *,
    quiet: bool,
) -> tuple[Programs, Album | None]:
    """Compile, and read all photos into memory if they are to be there."""
    say = make_say(quiet=quiet)
    shape = f"{settings.batch}x{settings.size}x{settings.size}"
    say(f"compiling for {shape} pixels on {describe_devices(placement)} ...")
    started = time.perf_counter()
    cached = arguments.data_cache != NO_CACHE
    shapes = album_shapes(settings, inputs.photos) if cached else None
    programs = compile_programs(settings, state, problem, placement, shapes)
    say(f"compiled in {time.perf_counter() - started:.1f} s")
    if shapes is None:
        return programs, None
    with failing_together():
        album = cache_photos(
            inputs.photos,
            shapes,
            programs.step,
            seed=arguments.seed,
            placement=placement,
            report=inputs.report,
            quiet=quiet,
        )
    return programs, album


def find_start(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> tuple[State, bool]:
    """Return where to start, and whether all is made; what counts is the first's."""
    if not (arguments.resume and is_first()):
        key = jax.random.key(arguments.seed)
        return jax.jit(partial(init_state, settings, inputs.start))(key), False
    folder = Path(arguments.output)
    state = restore(folder, settings, inputs)
    return state, int(state.step) >= settings.steps and has_results(folder, state)


def describe_devices(placement: Placement) -> str:
    """Return how many devices of what kind are used, and of how many."""
    kind = str(jax.devices()[0].device_kind)
    used, found = placement.devices, jax.device_count()
    if found == 1:
        return kind
    if used == found:
        return f"{used} devices, {kind}"
    return f"{used} of {found} devices, {kind} (the batch is no multiple of {found})"


def restore(folder: Path, settings: TrainConfig, inputs: Inputs) -> State:
    """Return the state of the last good checkpoint, and tell of those that are not."""
    like, configuration = state_shapes(settings, inputs.start), inputs.configuration
    restored = load_checkpoint(folder / CHECKPOINTS, lambda _: like, configuration)
    for line in restored.notes:
        print(f"jaxstyle train: {line}", file=sys.stderr)
    return restored.state


def make_record(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> dict[str, Any]:
    """Return what is to be known about a net."""
    photos = inputs.photos
    return {
        "arguments": describe_options(arguments),
        "settings": describe_config(settings),
        "data": {"name": photos.name, "fingerprint": photos.fingerprint},
        "start": inputs.configuration["init"],
        "versions": versions(),
    }


def drive(run: Run, state: State, *, quiet: bool) -> int:
    """Train to the end, to an interrupt or to what is not finite, and save."""
    if int(state.step) == 0:
        save(run, state)  # from here on there is something to go on from
    if is_first():
        save_json(run.record, run.folder / SETTINGS)
    try:
        with open_session(run, state, quiet=quiet) as session:
            state = train(run, state, session)
    except NotFiniteError as error:
        return _report_not_finite(error, run.folder)
    step, steps = int(state.step), run.settings.steps
    if is_first():
        losses = save_results(run.folder, run.inputs, state, run.record)
        shown = [f"{name.replace('_', ' ')} {x:.5g}" for name, x in losses.items()]
        print(f"{run.folder / STYLE}: {', '.join([f'{step} steps', *sorted(shown)])}")
    if report := run.inputs.report.summary():
        print(f"{run.inputs.photos.name}: {report}")
    if step == steps:
        return 0
    if is_first():
        print(
            f"interrupted after step {step} of {steps}; go on with --resume",
            file=sys.stderr,
        )
    return 130


def _report_not_finite(error: NotFiniteError, folder: Path) -> int:
    """Say what there is to go on from; return 1."""
    if not is_first():
        return 1
    last = find_checkpoints(folder / CHECKPOINTS)[-1]
    message = f"{error}; the last checkpoint is of step {last}"
    print(f"jaxstyle train: error: {message}", file=sys.stderr)
    return 1
