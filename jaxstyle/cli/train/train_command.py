"""``jaxstyle train``: paintings and photos in, a net out."""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.cli.runtime import (
    NotFiniteError,
    explain_lack_of_memory,
    make_say,
    use_compilation_cache,
)
from jaxstyle.cli.train.processes import (
    check_alike,
    describe_devices,
    failing_together,
    is_first,
    join_processes,
    leaving_when_lost,
    share,
)
from jaxstyle.cli.train.train_options import NO_CACHE, TrainOptions
from jaxstyle.cli.train.training_inputs import (
    Inputs,
    cache_photos,
    load_inputs,
    make_record,
)
from jaxstyle.cli.train.training_programs import (
    CachedPhotos,
    Programs,
    cache_shapes,
    compile_programs,
    init_state,
    make_problem,
    state_shapes,
)
from jaxstyle.cli.train.training_run import (
    Run,
    open_session,
    save,
    train,
)
from jaxstyle.cli.train.training_settings import (
    CHECKPOINTS,
    PLOT,
    SETTINGS,
    STYLE,
    check_arguments,
    choose_settings,
    make_folder,
)
from jaxstyle.files import run_log
from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.files.figures import plot_losses
from jaxstyle.files.style_files import load_style_file, save_style
from jaxstyle.scaling.sharding import Placement, place, put_replicated
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig


def run(arguments: TrainOptions) -> int:
    """Train a net, or continue training; return the exit code."""
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
        state, finished = find_start(arguments, settings, inputs)
    state, finished = share((state, finished))
    if finished:
        if is_first():
            print(f"{folder / STYLE}: nothing to do, {state.step} steps are made")
        return 0
    if arguments.resume:
        make_say(quiet=quiet)(f"going on from step {state.step}")
    state, problem = put_replicated((state, problem), placement)
    programs, cached = prepare(
        arguments, settings, inputs, state, problem, placement, quiet=quiet
    )
    run = Run(arguments, settings, inputs, placement, problem, programs, cached)
    return drive(run, state, quiet=quiet)


def find_start(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> tuple[State, bool]:
    """Find the state to start from, and whether training is finished.

    That of the first process counts.
    """
    if not (arguments.resume and is_first()):
        key = jax.random.key(arguments.seed)
        return jax.jit(partial(init_state, settings, inputs.start))(key), False
    folder = Path(arguments.output)
    state = restore(folder, settings, inputs)
    return state, int(state.step) >= settings.steps and has_results(folder, state)


def restore(folder: Path, settings: TrainConfig, inputs: Inputs) -> State:
    """Read the last checkpoint that is not damaged, and name the damaged ones."""
    like = state_shapes(settings, inputs.start)
    return load_checkpoint(
        folder / CHECKPOINTS,
        lambda _: like,
        inputs.configuration,
        say=lambda line: print(f"jaxstyle train: {line}", file=sys.stderr),
    )


def prepare(
    arguments: TrainOptions,
    settings: TrainConfig,
    inputs: Inputs,
    state: State,
    problem: Problem,
    placement: Placement,
    *,
    quiet: bool,
) -> tuple[Programs, CachedPhotos | None]:
    """Compile, and read all photos into memory if they are to be cached."""
    say = make_say(quiet=quiet)
    shape = f"{settings.batch}x{settings.size}x{settings.size}"
    say(f"compiling for {shape} pixels on {describe_devices(placement)} ...")
    started = time.perf_counter()
    cached = arguments.data_cache != NO_CACHE
    shapes = cache_shapes(settings, len(inputs.photos)) if cached else None
    programs = compile_programs(settings, state, problem, placement, shapes)
    say(f"compiled in {time.perf_counter() - started:.1f} s")
    if shapes is None:
        return programs, None
    with failing_together():
        photos = cache_photos(
            inputs,
            shapes,
            programs.step,
            placement,
            seed=arguments.seed,
            quiet=quiet,
        )
    return programs, photos


def drive(run: Run, state: State, *, quiet: bool) -> int:
    """Train to the end, to an interrupt or to what is not finite, and save."""
    if int(state.step) == 0:
        save(run, state)  # from here on there is something to resume
    record = make_record(run.arguments, run.settings, run.inputs)
    if is_first():
        with atomic_path(run.folder / SETTINGS) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
    try:
        with open_session(run, state, quiet=quiet) as session:
            state = train(run, state, session)
    except NotFiniteError as error:
        return _report_not_finite(error, run.folder)
    step, steps = int(state.step), run.settings.steps
    if is_first():
        losses = save_results(run, state, record)
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
    """Name the checkpoint to resume from; return 1."""
    if is_first():
        last = find_checkpoints(folder / CHECKPOINTS)[-1]
        message = f"{error}; the last checkpoint is of step {last}"
        print(f"jaxstyle train: error: {message}", file=sys.stderr)
    return 1


# --- results ------------------------------------------------------------------------


def save_results(run: Run, state: State, record: dict[str, Any]) -> dict[str, float]:
    """Write the plot of the losses, and the net with its record.

    Returns:
        The last losses by name.
    """
    metrics = run_log.read_metrics(run.folder / run_log.METRICS)
    plot_losses(metrics, run.folder / PLOT)
    losses: dict[str, float] = {}
    for line in metrics:
        losses |= {key: line[key] for key in line if key in ("loss", "validation_loss")}
    result = {
        "steps": int(state.step),
        "losses": losses,
        "data_report": run.inputs.report.summary(),
    }
    metadata = {key: json.dumps(value) for key, value in {**record, **result}.items()}
    params = jax.tree.map(np.asarray, dict(state.params))
    save_style(params, run.folder / STYLE, metadata=metadata)
    return losses


def has_results(folder: Path, state: State) -> bool:
    """Tell whether the net of a state is written."""
    path = folder / STYLE
    if not path.exists():
        return False
    _, metadata = load_style_file(path)
    return metadata.get("steps") == json.dumps(int(state.step))
