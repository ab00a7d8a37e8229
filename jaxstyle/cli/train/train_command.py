"""``jaxstyle train``: paintings and photos in, a net out."""

import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxstyle.cli.runtime import (
    NotFiniteError,
    explain_lack_of_memory,
    use_compilation_cache,
)
from jaxstyle.cli.train import processes
from jaxstyle.cli.train.processes import failing_together, is_first, say
from jaxstyle.cli.train.train_options import NO_CACHE, SETTINGS, TrainOptions
from jaxstyle.cli.train.training_inputs import (
    CHECKPOINTS,
    PLOT,
    Inputs,
    check_arguments,
    choose_settings,
    load_inputs,
    make_folder,
    make_record,
)
from jaxstyle.cli.train.training_programs import (
    cache_photos,
    cache_shapes,
    compile_programs,
    init_state,
    make_problem,
    state_shapes,
)
from jaxstyle.cli.train.training_run import Run, open_session, save, train
from jaxstyle.files import run_log
from jaxstyle.files.atomic import atomic_path
from jaxstyle.files.checkpoints import find_checkpoints, load_checkpoint
from jaxstyle.files.figures import plot_losses
from jaxstyle.files.param_files import load_header
from jaxstyle.scaling.sharding import Placement, place, put_replicated
from jaxstyle.training.loop import Problem, State
from jaxstyle.training.recipes import TrainConfig


def run(arguments: TrainOptions) -> int:
    """Train a net, or continue training; return the exit code."""
    processes.join_processes(arguments)
    with failing_together():
        settings = choose_settings(arguments)
        if is_first():
            check_arguments(arguments)
    what = f"--batch {settings.batch} at --size {settings.size}"
    lacking = explain_lack_of_memory(
        what=what, advice="use a smaller --batch or --size"
    )
    with lacking, processes.leaving_when_lost():
        return train_net(arguments, settings)


def train_net(arguments: TrainOptions, settings: TrainConfig) -> int:
    """Read the files, restore, compile, and train; return the exit code."""
    folder = Path(arguments.output)
    with failing_together():
        placement = place(settings.batch)
        inputs = load_inputs(arguments, settings)
        if is_first():
            make_folder(folder)
    processes.check_alike(inputs.configuration)
    use_compilation_cache()
    problem = make_problem(settings.loss, inputs.params, inputs.styles)
    with failing_together():
        start = find_start(arguments, settings, inputs)
    state, finished = processes.share(start)
    if finished:
        if is_first():
            result = folder / inputs.kind.result
            print(f"{result}: nothing to do, {state.step} steps are made")
        return 0
    if arguments.resume:
        say(arguments, f"going on from step {state.step}")
    state, problem = put_replicated((state, problem), placement)
    return drive(prepare(arguments, settings, inputs, placement, problem, state), state)


def find_start(
    arguments: TrainOptions, settings: TrainConfig, inputs: Inputs
) -> tuple[State, bool]:
    """Find the state to start from, and whether training is finished.

    That of the first process counts. It names checkpoints that are damaged.
    """
    folder = Path(arguments.output)
    like = state_shapes(settings, inputs.start, inputs.examples)
    resumes = arguments.resume and find_checkpoints(folder / CHECKPOINTS)
    if not (resumes and is_first()):
        init = jax.jit(partial(init_state, settings))
        key = jax.random.key(arguments.seed)
        return init(key, inputs.start, inputs.examples), False
    state = load_checkpoint(
        folder / CHECKPOINTS,
        lambda _: like,
        inputs.configuration,
        say=lambda line: print(f"jaxstyle train: {line}", file=sys.stderr),
    )
    step, result = int(state.step), folder / inputs.kind.result
    if step < settings.steps or not result.exists():
        return state, False
    _, metadata = load_header(result)
    return state, metadata.get("steps") == json.dumps(step)


def prepare(
    arguments: TrainOptions,
    settings: TrainConfig,
    inputs: Inputs,
    placement: Placement,
    problem: Problem,
    state: State,
) -> Run:
    """Compile, and read all photos into memory if they are to be cached."""
    photos, held_out = inputs.photos, len(inputs.held_out)
    say(
        arguments,
        f"training on {len(photos):,} photos of {photos.name}; {held_out} others are "
        "held out",
    )
    shape = f"{settings.batch}x{settings.size}x{settings.size}"
    devices = processes.describe_devices(placement)
    say(arguments, f"compiling for {shape} pixels on {devices} ...")
    started = time.perf_counter()
    shapes = cached = None
    if arguments.data_cache != NO_CACHE:
        shapes = cache_shapes(settings, len(inputs.photos))
    programs = compile_programs(
        settings, state, problem, placement, shapes, inputs.kind
    )
    say(arguments, f"compiled in {time.perf_counter() - started:.1f} s")
    if shapes is not None:
        with failing_together():
            cached = cache_photos(arguments, inputs, shapes, programs.step, placement)
    return Run(arguments, settings, inputs, placement, problem, programs, cached)


def drive(run: Run, state: State) -> int:
    """Train to the end, to an interrupt or to what is not finite, and save."""
    if int(state.step) == 0:
        save(run, state)  # from here on there is something to resume
    record = make_record(run.arguments, run.settings, run.inputs)
    if is_first():
        with atomic_path(run.folder / SETTINGS) as temporary:
            settings = {**record, "directory": str(Path.cwd())}
            temporary.write_text(json.dumps(settings, indent=2) + "\n")
    try:
        say(
            run.arguments,
            "Ctrl-C stops after the step under way and saves all; go on with: jaxstyle "
            f"train --resume {run.folder}",
        )
        with open_session(run, state) as session:
            state = train(run, state, session)
    except NotFiniteError as error:
        if is_first():
            last = find_checkpoints(run.folder / CHECKPOINTS)[-1]
            message = f"{error}; the last checkpoint is of step {last}"
            print(f"jaxstyle train: error: {message}", file=sys.stderr)
        return 1
    step, steps = int(state.step), run.settings.steps
    result = run.folder / run.inputs.kind.result
    if is_first():
        losses = save_results(run, state, record)
        print(f"{result}: {step} steps, {describe_losses(losses, step)}")
    if report := run.inputs.report.summary():
        print(f"{run.inputs.photos.name}: {report}")
    if step == steps:
        say(run.arguments, f"next: {run.inputs.kind.advice.format(result)}")
        return 0
    if is_first():
        print(
            f"interrupted after step {step} of {steps}; go on with: jaxstyle train "
            f"--resume {run.folder}",
            file=sys.stderr,
        )
    return 130


def describe_losses(losses: Mapping[str, float], step: int) -> str:
    """Tell the last losses, and the step of that on held-out photos if it is older."""
    text = f"loss {losses['loss']:.5g}" if "loss" in losses else ""
    if "validation_loss" in losses:
        measured = int(losses["validation_step"])
        older = f" at step {measured}" if measured != step else ""
        text += f", validation loss {losses['validation_loss']:.5g}{older}"
    return text.removeprefix(", ")


def save_results(run: Run, state: State, record: dict[str, Any]) -> dict[str, float]:
    """Write the net with its record, and the plot of losses; return the last ones."""
    metrics = run_log.read_metrics(run.folder / run_log.METRICS)
    losses: dict[str, float] = {}
    for line in metrics:
        losses |= {key: line[key] for key in line if key in ("loss", "validation_loss")}
        if "validation_loss" in line:
            losses["validation_step"] = line["step"]
    result = {
        "steps": int(state.step),
        "losses": losses,
        "data_report": run.inputs.report.summary(),
    }
    metadata = {key: json.dumps(value) for key, value in {**record, **result}.items()}
    params = jax.tree.map(np.asarray, dict(state.params))
    kind = run.inputs.kind
    kind.save(params, run.folder / kind.result, metadata=metadata)
    if find_spec("matplotlib") is None:
        say(run.arguments, "no plot of losses: pip install 'jaxstyle[plots]'")
    else:
        plot_losses(metrics, run.folder / PLOT)
    return losses
